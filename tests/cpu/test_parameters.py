"""Parameters as one vector and in files: the same numbers, the same memory, and what is refused, word for word."""

import io
import pickle
import re
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import gradgen as gg
from gradgen import files
from gradgen.errors import BindingError, DTypeError, FileError, GradgenError, GraphError, OptionError, ShapeError
from gradgen.network import Network
from gradgen.runtime import calls
from tests.cpu.running import unjitted
from tests.passes.test_roll import chain

ENDINGS = (".npz", ".safetensors")
DATA = {"a": np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3), "t": np.ones(4, "float32")}


@cache
def line(dtype: str = "float32") -> Network:
    """Trained by Adam: parameters of one and no axis, one called as np.savez's argument, states, a counter."""
    N = gg.size("N")
    a, t = gg.input("a", (N, 3)), gg.input("t", (N,))
    loss = gg.mean(gg.square(a @ gg.param("file", (3,)) + gg.param("bias", ()) - t))
    return unjitted(gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=0.1), name="line", dtype=dtype))


def data(dtype: str = "float32") -> dict[str, np.ndarray]:
    return {name: x.astype(dtype) for name, x in DATA.items()}


def trained(steps: int = 3) -> dict[str, np.ndarray]:
    state = line().init(seed=1)
    for _ in range(steps):
        line().step(state, **DATA)
    return state


def equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# ---------------------------------------------------------------- one vector


def test_the_views_are_the_vector() -> None:
    given = {"bias": np.float32(4), "file": np.array([1, 2, 3], "float32")}
    vector, views = line().flatten(given)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, [1, 2, 3, 4])
    assert [(name, x.shape) for name, x in views.items()] == [("file", (3,)), ("bias", ())]
    vector *= 2
    np.testing.assert_array_equal(views["file"], [2, 4, 6])
    assert views["bias"] == 8
    views["bias"][...] = -1
    assert vector[3] == -1
    np.testing.assert_array_equal(given["file"], [1, 2, 3])
    assert all(np.shares_memory(x, vector) for x in views.values())


def test_gradients_have_the_order_of_the_parameters() -> None:
    net = line("float64")
    vector, views = net.flatten({"file": np.array([0.5, -1, 2]), "bias": np.array(0.25)})
    gradient, _ = net.flatten(net.value_and_grad(**data("float64"), **views)[1])
    for k, slope in enumerate(gradient):
        ends = []
        for step in (1e-6, -1e-6):
            vector[k] += step
            ends.append(net(**data("float64"), **views)["loss"])
            vector[k] -= step
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, slope, rtol=1e-7)


def test_equal_layers_lie_together_and_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the first call, which goes through Numba, nor by those that follow."""
    net, x = chain(6), np.ones((1, 128), "float32")
    _, views = net.flatten({name: value.copy() for name, value in net.init().items()})
    assert list(views) == [f"W{k}" for k in range(6)] + [f"mu{k}" for k in range(6)]
    found: list[Any] = []

    def one_array(rows: Any) -> Any:
        found.append(calls_one_array(rows))
        return found[-1]

    calls_one_array = calls.one_array
    monkeypatch.setattr(calls, "one_array", one_array)
    first, _ = net.value_and_grad(x=x, **views)
    whole_w, whole_mu = found
    assert np.shares_memory(whole_w, views["W5"])
    assert np.shares_memory(whole_mu, views["mu5"])
    for _ in range(2):
        net.value_and_grad(x=x, **views)
    direct = len(found)
    views["W5"][...] = 0
    assert net.value_and_grad(x=x, **views)[0]["loss"] != first["loss"]
    assert len(found) == direct <= 4
    before = views["mu5"].copy()
    net.step(views, x=x)  # which refuses to copy
    assert (views["mu5"] != before).any()


def test_only_what_gradients_are_taken_by_is_in_the_vector() -> None:
    x, w, v = gg.input("x", (2,)), gg.param("w", (2,)), gg.param("v", (2,))
    y = gg.sum(x * w * v)
    net = unjitted(gg.compile(y, wrt=[v, x], name="part"))
    given = {name: np.array([k, 1], "float32") for k, name in enumerate("xwv", start=2)}
    gradients = net.value_and_grad(**given)[1]
    vector, _ = net.flatten(gradients)
    np.testing.assert_array_equal(vector, [6, 1, 12, 1])
    np.testing.assert_array_equal(net.flatten({"x": given["x"], "v": given["v"]})[0], [4, 1, 2, 1])
    without = unjitted(gg.compile(y, wrt=[], name="none"))
    np.testing.assert_array_equal(without.flatten({"v": given["v"], "w": given["w"]})[0], [3, 1, 4, 1])


def test_sizes_may_be_open() -> None:
    n = gg.size("n")
    w = gg.param("w", (n, 2))
    net = unjitted(gg.compile(gg.sum(w * w), name="open"))
    vector, views = net.flatten({"w": [[1.0, 2], [3, 4], [5, 6]]})
    assert (vector.shape, views["w"].shape) == ((6,), (3, 2))


def test_scipy_minimises_over_the_vector() -> None:
    net, given = line("float64"), data("float64")
    vector, params = net.flatten({"file": np.zeros(3), "bias": np.zeros(())})

    def value_and_grad(x: np.ndarray) -> tuple[float, np.ndarray]:
        vector[:] = x
        outputs, gradients = net.value_and_grad(**given, **params)
        return outputs["loss"], net.flatten(gradients)[0]

    target = np.array([3.0, -1, 0, 2])
    given["t"] = given["a"] ** 3 @ target[:3] + target[3]
    vector[:] = minimize(value_and_grad, vector, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-10}).x
    columns = np.column_stack([given["a"], np.ones(4)])
    best = columns @ np.linalg.lstsq(columns, given["t"], rcond=None)[0]
    np.testing.assert_allclose(given["a"] @ params["file"] + params["bias"], best, atol=1e-7)


FLAT = {"file": np.zeros(3, "float32"), "bias": np.zeros((), "float32")}
REFUSED: list[tuple[Any, type[GradgenError], str]] = [
    ({"file": FLAT["file"]}, BindingError, "line.flatten: bias missing. Needed are file, bias."),
    (trained, BindingError, "line.flatten: adam_step, file_m, file_v, bias_m, bias_v unknown. Needed are file, bias."),
    (FLAT["file"], BindingError, "line.flatten takes a dict of arrays by name, not ndarray."),
    (
        {**FLAT, "file": np.zeros(3)}, DTypeError,
        (
            'file is float64; the model declares float32. Compile with gg.compile(..., dtype="float64"), or convert it '
            "with .astype('float32')."
        ),
    ),
    ({**FLAT, "file": np.zeros(4, "float32")}, ShapeError, "file has shape (4,); the model declares (3)."),
    (
        {**FLAT, "bias": np.zeros(1, "float32")}, ShapeError,
        "bias has 1 axes, shape (1,); the model declares (). Reshape the argument.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "words"), REFUSED)
def test_what_flatten_refuses(given: Any, kind: type[GradgenError], words: str) -> None:
    with pytest.raises(kind) as caught:
        line().flatten(given() if callable(given) else given)
    assert str(caught.value) == words


def test_a_vector_has_one_dtype_and_elements() -> None:
    w, v = gg.param("w", (2,)), gg.param("v", (2,), dtype="float64")
    mixed = gg.compile(gg.sum(w * w) + gg.sum(v), name="mixed")
    with pytest.raises(DTypeError) as caught:
        mixed.flatten(mixed.init())
    assert str(caught.value) == (
        'v is float64 and w float32; the elements of a vector have one dtype. Use gg.compile(..., dtype="float64").'
    )
    wider = mixed.compiled_with(dtype="float64")
    assert wider.flatten(wider.init())[0].dtype == np.float64
    with pytest.raises(GraphError) as caught_too:
        gg.compile(gg.input("x", ()) + 1, name="bare").flatten({})
    assert str(caught_too.value) == "bare has no float parameters to put into a vector."


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("ending", ENDINGS)
def test_training_goes_on_where_it_was_saved(tmp_path: Path, ending: str) -> None:
    state = trained()
    path = line().save_state(tmp_path / f"state{ending}", state)
    found = line().load_state(str(path))
    equal(found, state)
    assert found["adam_step"].dtype == np.int64
    assert found["adam_step"] == 3
    for _ in range(2):
        line().step(state, **DATA)
        line().step(found, **DATA)
    equal(found, state)


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_layers_are_rows_again(tmp_path: Path, ending: str) -> None:
    net, x = unjitted(chain(6)), np.ones((1, 128), "float32")
    state = net.init()
    found = net.load_state(net.save_state(tmp_path / f"chain{ending}", state))
    equal(found, state)
    net.step(found, x=x)  # which refuses separate arrays


def test_other_libraries_read_the_files(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    state = trained()
    with np.load(line().save_state(tmp_path / "state.npz", state), allow_pickle=False) as found:
        equal({name: found[name] for name in found.files}, state)
    found = load_file(line().save_state(tmp_path / "state.safetensors", state))
    equal({name: found[name] for name in state}, state)


def test_files_of_other_libraries_are_read(tmp_path: Path) -> None:
    """Compressed, in another order, big-endian, in Fortran's layout."""
    w, v = gg.param("w", (2, 3)), gg.param("v", ())
    net = unjitted(gg.compile(gg.sum(w) * v, name="product"))
    path = tmp_path / "w.npz"
    np.savez_compressed(path, v=np.array(7, ">f4"), w=np.asfortranarray(np.arange(6, dtype="float32").reshape(2, 3)))
    found = net.load_state(path)
    equal(found, {"w": np.arange(6, dtype="float32").reshape(2, 3), "v": np.array(7, "float32")})
    assert all(x.flags.c_contiguous and x.flags.writeable and x.dtype.isnative for x in found.values())


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_layout_and_dtype_is_saved_as_it_is(tmp_path: Path, ending: str) -> None:
    leaves = [gg.state(f"x{k}", (2, 3), dtype=d) for k, d in enumerate(("bool", "int32", "int64", "float32"))]
    net = unjitted(gg.compile(gg.sum(leaves[3]), updates={x: x for x in leaves}, name="kinds"))
    values = np.arange(12).reshape(3, 4)[:, ::2].T % 5
    given = {x.name: values.astype(x.dtype, order="K") for x in leaves}
    given["x3"] = np.arange(24, dtype="float32").reshape(4, 6)[::2, ::2]
    assert not any(x.flags.c_contiguous for x in given.values())
    equal(net.load_state(net.save_state(tmp_path / f"kinds{ending}", given)), given)


def test_a_writer_that_is_stopped_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = line().save_state(tmp_path / "state.npz", trained(1))

    def stop(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        line().save_state(path, trained(2))
    equal(line().load_state(path), trained(1))
    assert list(tmp_path.iterdir()) == [path]


def npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.array([None]))
    return buffer.getvalue()


def whole(ending: str, tmp_path: Path) -> bytes:
    return line().save_state(tmp_path / f"whole{ending}", trained(1)).read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, ending: str) -> None:
    content, path = whole(ending, tmp_path), tmp_path / f"cut{ending}"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FileError) as caught:
            line().load_state(path)
        assert str(caught.value) == (
            f"{path} is no whole {ending} file: cut off, damaged, or something else. Save it again."
        )


def test_a_changed_bit_is_found(tmp_path: Path) -> None:
    """Archives have checksums of their members; .safetensors files have none."""
    state = trained(1)
    content, path = bytearray(whole(".npz", tmp_path)), tmp_path / "bit.npz"
    at = content.index(state["file_m"].tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError):
        line().load_state(path)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".npz", b"PK"),
        (".npz", b"\x93NUMPY"),
        (".npz", npz(readme=b"text")),
        (".npz", npz(**{"w.npy": b"\x93NUMPY\x01\x00\x02\x00{}"})),
        (".npz", pickled()),
        (".safetensors", npz(readme=b"text")),
        (".safetensors", b"\xff" * 64),
        (".safetensors", (28).to_bytes(8, "little") + b'{"w": {"dtype": "nonsense"}}'),
    ],
)
def test_something_else_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"other{ending}"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        line().load_state(path)
    assert str(caught.value) == f"{path} is no whole {ending} file: cut off, damaged, or something else. Save it again."


KNOWN = ' What this network has is all there: load_state(path, only="known") reads it alone.'
HINT = ' The parameters are all there: load_state(path, only="params") reads them alone.'
NEEDED = "Needed are file, bias, adam_step, file_m, file_v, bias_m, bias_v."
STATES = {name: np.zeros(3 if "file" in name else (), "float32") for name in ("file_m", "file_v", "bias_m", "bias_v")}
STATE = {**FLAT, "adam_step": np.zeros((), "int64"), **STATES}
UNFIT: list[tuple[dict[str, Any], type[GradgenError], str]] = [
    (FLAT, BindingError, f"line.{{method}}: adam_step, file_m, file_v, bias_m, bias_v missing. {NEEDED}{{hint}}"),
    ({**STATE, "other": FLAT["bias"]}, BindingError, f"line.{{method}}: other unknown. {NEEDED}{{known}}"),
    ({**STATE, "file_m": np.zeros(4, "float32")}, ShapeError, "file_m has shape (4,); the model declares (3)."),
    (
        {**STATE, "file": np.zeros((3, 1), "float32")}, ShapeError,
        "file has 2 axes, shape (3, 1); the model declares (3). Reshape the argument.",
    ),
    (
        {**STATE, "bias": np.array(2**24 + 1)}, DTypeError,
        "bias is int64; the model declares float32. {convert}float32{d}.",
    ),
    (
        {**STATE, "adam_step": np.zeros((), "float32")}, DTypeError,
        "adam_step is float32; the model declares int64. {convert}int64{d}.",
    ),
]  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("arrays", "kind", "words"), UNFIT)
def test_what_does_not_fit_the_model_is_refused(
    tmp_path: Path, arrays: dict[str, Any], kind: type[GradgenError], words: str, ending: str
) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / f"state{ending}"
    with pytest.raises(kind) as caught:
        line().save_state(path, arrays)
    assert str(caught.value) == words.format(
        method="save_state", convert="Convert it with .astype('", d="')", hint="", known=""
    )
    assert not path.exists()
    if ending == ".npz":
        path.write_bytes(npz(**{f"{name}.npy": member(x) for name, x in arrays.items()}))
    else:
        save_file(arrays, path)
    with pytest.raises(kind) as caught:
        line().load_state(path)
    wanted = words.format(method="load_state", convert="Convert it to ", d="", hint=HINT, known=KNOWN)
    assert str(caught.value) == f"{path}: {wanted}"


def member(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


def test_names_and_folders_that_cannot_be(tmp_path: Path) -> None:
    def refused(kind: type[GradgenError], words: str, path: Path) -> None:
        with pytest.raises(kind) as caught:
            line().load_state(path)
        assert str(caught.value) == words
        with pytest.raises(kind) as caught:
            line().save_state(path / "deeper" / path.name, trained(0))

    ending = "has no ending that says what it holds: use one of .npz, .safetensors."
    refused(OptionError, f"{tmp_path / 'state'} {ending}", tmp_path / "state")
    refused(OptionError, f"{tmp_path / 'state.pt'} {ending}", tmp_path / "state.pt")
    missing = tmp_path / "state.npz"
    refused(FileError, f"{missing} cannot be read: No such file or directory.", missing)


@pytest.mark.parametrize("module", ["safetensors", "safetensors.numpy"])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    path = line().save_state(tmp_path / "state.safetensors", trained(0))
    monkeypatch.setitem(sys.modules, module, None)
    if module == "safetensors":
        monkeypatch.delitem(sys.modules, "safetensors.numpy")
    for use in (lambda: line().load_state(path), lambda: line().save_state(path, trained(0))):
        with pytest.raises(OptionError) as caught:
            use()
        assert str(caught.value) == (
            "files that end in .safetensors need a package: pip install safetensors. Or use .npz."
        )


# ---------------------------------------------------------------- networks over the same parameters


def pair() -> tuple[gg.Network, gg.Network]:
    """One that trains and one that predicts, over the same weights."""
    x, w = gg.input("x", (3,)), gg.param("w", (3,), init=gg.nn.init.ones())
    y = gg.sum(w * x)
    loss = (y - 1.0) ** 2
    train = gg.compile({"loss": loss}, name="train", loss="loss", updates=gg.optim.adam(loss, lr=0.1))
    return train, gg.compile({"y": y}, name="predict", wrt=[x])


def test_networks_over_the_same_parameters_share_a_state() -> None:
    train, predict = pair()
    state = train.init()
    x = np.ones(3, np.float32)
    train.step(state, x=x)
    wanted = predict(x=x, w=state["w"])["y"]
    for given in (state, {name: value.copy() for name, value in state.items()}):
        assert predict(x=x, **given)["y"] == wanted
        assert predict(x=x, **given)["y"] == wanted
        outputs, saved = predict.forward(x=x, **given)
        assert outputs["y"] == wanted
        np.testing.assert_array_equal(predict.backward(saved, y=1.0)["x"], state["w"])
    with pytest.raises(BindingError, match=re.escape("predict.forward: v unknown. Needed are x, w.")):
        predict(x=x, v=x, **state)


def test_a_network_out_of_a_pickle_takes_the_same_state() -> None:
    train, predict = pair()
    state = train.init()
    there = pickle.loads(pickle.dumps(predict))
    x = np.ones(3, np.float32)
    assert there(x=x, **state)["y"] == predict(x=x, **state)["y"]


def test_other_networks_parameters_are_unknown() -> None:
    """That somewhere else something is called so is no reason to take it."""
    _, predict = pair()
    other = gg.compile({"z": gg.sum(gg.param("other_weight", (3,)))}, name="other")
    with pytest.raises(BindingError, match=re.escape("predict.forward: other_weight unknown. Needed are x, w.")):
        predict(x=np.ones(3), w=np.ones(3), **other.init())


def test_parameters_alone_are_read_from_a_state(tmp_path: Path) -> None:
    train, predict = pair()
    state = train.init()
    train.step(state, x=np.ones(3, np.float32))
    path = train.save_state(tmp_path / "state.npz", state)
    equal(predict.load_state(path, only="params"), {"w": state["w"]})
    equal(train.load_state(path, only="params"), {"w": state["w"]})
    equal(predict.load_state(path, only="known"), {"w": state["w"]})
    equal(train.load_state(path, only="known"), state)
    known = 'What this network has is all there: load_state(path, only="known") reads it alone.'
    with pytest.raises(BindingError, match=re.escape(f"w_m, w_v unknown. Needed are w. {known}")):
        predict.load_state(path)
    hint = 'The parameters are all there: load_state(path, only="params") reads them alone.'
    with pytest.raises(BindingError, match=re.escape(f"w_v missing. Needed are w, adam_step, w_m, w_v. {hint}")):
        train.load_state(predict.save_state(tmp_path / "weights.npz", {"w": state["w"]}))
    with pytest.raises(OptionError, match=re.escape("""load_state has only='param': give "params" or "known", or""")):
        predict.load_state(path, only="param")  # type: ignore[arg-type]
