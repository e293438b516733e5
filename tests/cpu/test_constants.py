"""Arrays as part of a model: `gg.constant`, and arrays and lists where tensors stand."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, DTypeError, GradgenError, GraphError, ShapeError
from gradgen.network import Network

RNG = np.random.default_rng(5)
M = RNG.standard_normal((3, 3))
X = RNG.standard_normal((4, 3))
ROW = np.array([1.0, 2.0, 3.0])
MASK = np.array([True, False, True])
PLACES = np.array([[0, 1], [1, 2]])
B = gg.size("B")
TABLE = RNG.standard_normal((70, 2))  # too long for one list in a saved module


def _twice(x: Any) -> Any:
    return gg.scan(lambda s, m: (gg.tanh(s @ m), None), x, np.stack([M, M.T]))[0]


def _entropy(u: Any, labels: list[int]) -> Any:
    return np.sum(np.log(np.exp(u).sum(1)) - u[range(len(labels)), labels])


WAYS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "add": (lambda x: x + ROW, X + ROW),
    "reflected": (lambda x: ROW - x, ROW - X),
    "list": (lambda x: [1, 2, 3] * x, X * [1, 2, 3]),
    "tuple": (lambda x: x / (1, 2, 4), X / (1, 2, 4)),
    "nested": (lambda x: x @ [[1, 0], [0, 2], [3, 0]], X @ [[1, 0], [0, 2], [3, 0]]),
    "product": (lambda x: x @ M, X @ M),
    "reflected_product": (lambda x: M @ gg.transpose(x), M @ X.T),
    "numpy_matmul": (lambda x: np.matmul(x, M), X @ M),
    "list_product": (lambda x: [[1.0, 2.0, 3.0]] @ x.T, [[1.0, 2.0, 3.0]] @ X.T),
    "compared": (lambda x: gg.where(x > [0.0, 0.5, -0.5], x, 0.0), np.where(X > [0.0, 0.5, -0.5], X, 0.0)),
    "condition": (lambda x: gg.where(MASK, x, 0.0), np.where(MASK, X, 0.0)),
    "branch": (lambda x: gg.where(x > 0, x, ROW), np.where(X > 0, X, ROW)),
    "maximum": (lambda x: gg.maximum(x, ROW), np.maximum(X, ROW)),
    "numpy_maximum": (lambda x: np.maximum(ROW, x), np.maximum(X, ROW)),
    "einsum": (lambda x: gg.einsum("bi,ij->bj", x, M), X @ M),
    "concatenate": (lambda x: gg.concatenate([x, M]), np.concatenate([X, M])),
    "places": (lambda x: x[:, [2, 0, -1]], X[:, [2, 0, -1]]),
    "places_of_two_axes": (lambda x: x[:, PLACES], X[:, PLACES]),
    "from_the_end_of_a_size": (lambda x: x[[-1, 0]], X[[-1, 0]]),
    "take": (lambda x: gg.take(x, [1, 1], axis=1), X[:, [1, 1]]),
    "rows": (lambda x: gg.take(ROW, gg.cast(x > 0, "int64"), axis=0), ROW[(X > 0).astype(int)]),
    "searchsorted": (lambda x: gg.searchsorted(ROW, x), np.searchsorted(ROW, X)),
    "scan": (_twice, np.tanh(np.tanh(X @ M) @ M.T)),
    "carried": (lambda x: gg.scan(lambda s, r: (s + r, None), np.float32(1), x[:, 0])[0], X[:, 0].sum() + 1),
    "integers_and_floats": (lambda x: gg.cast(x, "int64") * [0.5, 1.5, 2.5], X.astype(int) * [0.5, 1.5, 2.5]),
    "int32": (lambda x: gg.cast(x, "int32") * [1, 2, 3], X.astype(np.int32) * np.array([1, 2, 3], np.int32)),
    "no_places": (lambda x: x[:, []], X[:, []]),
    "places_in_tuples": (lambda x: x[(3, -1), (0, 1)], X[[3, -1], [0, 1]]),
    "places_of_few_bits": (lambda x: x.reshape(-1)[:12][np.array([-1, 7], np.int8)], X.ravel()[[-1, 7]]),
    "named_places": (lambda x: x[gg.constant([-1, 0], name="chosen")], X[[-1, 0]]),
    "a_list_of_conditions": (lambda x: gg.where(MASK.tolist(), x, [0, 1, 2]), np.where(MASK, X, [0, 1, 2])),
    "reduced": (lambda x: x * gg.mean(ROW) + gg.sum([1, 2]) + gg.max([3, 4]), X * 2 + 7),
    "compress": (lambda x: gg.compress(MASK, x, 2, axis=1), X[:, MASK]),
    "flip": (lambda x: x * gg.flip([1, 2, 3]) + gg.roll(gg.cumsum(ROW), 1), X * [3, 2, 1] + [6, 1, 3]),
    "outer": (lambda x: x * gg.diagonal(gg.outer([1, 2, 3], ROW)), X * [1, 4, 9]),
    "fortran": (lambda x: x @ np.asfortranarray(M).T[::-1], X @ M.T[::-1]),
    "big_endian": (lambda x: x + ROW.astype(">f8").astype(">f4"), X + ROW),
    "long_double": (lambda x: x + ROW.astype(np.longdouble), X + ROW),
    "a_named_number": (lambda x: x * gg.constant(9.5, name="g") + gg.constant(np.array(2)), X * 9.5 + 2),
    "losses": (lambda x: gg.nn.huber_loss(x[0], [0, 1, 0], "sum", 9.0), np.sum((X[0] - [0, 1, 0]) ** 2) / 2),
    "labels": (lambda x: gg.nn.cross_entropy(x[:2], [0, 2], reduction="sum"), _entropy(X[:2], [0, 2])),
    "convolution": (lambda x: gg.nn.conv1d(x.T, ROW[None, :, None], [1.0]), (X @ ROW)[None] + 1),
    "empty": (lambda x: x[:, :0] @ np.zeros((0, 2)), np.zeros((4, 2))),
    "by_formula": (lambda x: _formula(x), (X * TABLE[:6:2, 0] + TABLE[4, 1])),
}


def _formula(x: Any) -> Any:
    table = gg.constant(TABLE, name="numbers")
    n, i = gg.index("n", B), gg.index("i", 3)
    return gg.compute((n, i), x[n, i] * table[2 * i, 0] + table[4, 1])


@cache
def every_way(dtype: str) -> tuple[Network, dict[str, Any]]:
    x = gg.input("x", (B, 3))
    net = gg.compile({name: build(x) for name, (build, _) in WAYS.items()}, name="every_way", dtype=dtype)
    return net, net(x=X.astype(dtype))


@pytest.mark.parametrize("name", list(WAYS))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_stand_where_tensors_do(name: str, dtype: str) -> None:
    """Float64 models have the numbers as they were given, and not what float32 makes of them."""
    wanted = np.asarray(WAYS[name][1])
    found = every_way(dtype)[1][name]
    assert found.dtype == (dtype if wanted.dtype == "float64" else wanted.dtype)
    np.testing.assert_allclose(
        found, wanted, rtol=1e-14 if dtype == "float64" else 1e-5, atol=1e-6 * (dtype != "float64")
    )


def test_they_take_the_dtype_of_what_they_meet() -> None:
    """So a float64 tensor meets the numbers as they were given, in functions as at operators."""
    x = gg.input("x", (3,), dtype="float64")
    ways = {
        "sum": np.array([0.1, 0.2, 0.3]) + x,
        "concatenated": gg.concatenate([x, [0.1, 0.2, 0.3]])[3:],
        "stacked": gg.stack([x, [0.1, 0.2, 0.3]])[1],
        "summed": gg.einsum("i,i->i", x, [0.1, 0.2, 0.3]),
        "outer": gg.outer(x, [0.1, 0.2, 0.3])[0],
        "matmul": gg.matmul(x[:1], [[0.1, 0.2, 0.3]]),
        "tensordot": gg.tensordot(x[:1], [[0.1, 0.2, 0.3]], 1),
        "scattered": gg.scatter_add(x, [0, 1, 2], [0.1, 0.2, 0.3]),
    }
    out = gg.compile(ways, name="dtypes")(x=np.ones(3))
    for name, found in out.items():
        exact = np.array([0.1, 0.2, 0.3]) + (name in ("sum", "scattered"))
        np.testing.assert_array_equal(found, exact, err_msg=name)
        assert found.dtype == "float64"


@cache
def net() -> Any:
    x, w = gg.input("x", (B, 3)), gg.param("w", (3,))
    stencil = gg.constant([1.0, -2.0, 1.0], name="stencil")
    chosen = x @ M * w + (x @ M)[:, [0, 2, -1]] * stencil + TABLE.sum(0)[0]
    chosen = chosen + gg.take(TABLE, [69, -1, 0], axis=0)[:, 1]
    loss = gg.sum(chosen * chosen)
    return gg.compile({"loss": loss}, name="constants", loss="loss", updates=gg.optim.adam(loss, lr=0.1))


def loss_of(w: Any, stencil: Any = (1.0, -2.0, 1.0)) -> Any:
    y = X @ M
    return np.sum((y * w + y[:, [0, 2, 2]] * stencil + TABLE.sum(0)[0] + TABLE[[69, 69, 0], 1]) ** 2)


def test_calls_have_the_numbers() -> None:
    arrays = {"x": X.astype(np.float32), "w": ROW.astype(np.float32)}
    outputs, gradients = net().value_and_grad(**arrays)
    np.testing.assert_allclose(outputs["loss"], loss_of(ROW), rtol=1e-5)
    _, saved = net().forward(**arrays)
    np.testing.assert_allclose(net().backward(saved, loss=1.0)["w"], gradients["w"], rtol=1e-6)
    e = 1e-6
    slopes = [(loss_of(ROW + e * d) - loss_of(ROW - e * d)) / (2 * e) for d in np.eye(3)]
    np.testing.assert_allclose(gradients["w"], slopes, rtol=1e-4)
    state = net().init()
    assert set(state) == {"w", "w_m", "w_v", "adam_step"}
    first = net().step(state, x=arrays["x"])["loss"]
    np.testing.assert_allclose(first, loss_of(np.zeros(3)), rtol=1e-5)
    assert net().step(state, x=arrays["x"])["loss"] < first


def test_a_call_may_give_another_array() -> None:
    """It is held to shape and dtype as every argument is; the next call without one has the constant again."""
    arrays = {"x": X.astype(np.float32), "w": ROW.astype(np.float32)}
    for stencil in ([1.0, 1.0, 1.0], [2.0, 0.0, 0.0]):
        other = np.array(stencil, np.float32)
        np.testing.assert_allclose(net()(**arrays, stencil=other)["loss"], loss_of(ROW, stencil), rtol=1e-5)
        np.testing.assert_allclose(net()(**arrays)["loss"], loss_of(ROW), rtol=1e-5)
    with pytest.raises(ShapeError, match=r"stencil has shape \(2,\)"):
        net()(**arrays, stencil=np.ones(2, np.float32))
    with pytest.raises(BindingError, match="stencl unknown"):
        net()(**arrays, stencl=np.ones(3, np.float32))


def test_equal_ones_are_one_and_others_have_numbers() -> None:
    assert sorted(net().constants) == ["constant", "constant_2", "constant_3", "constant_4", "stencil"]
    assert "constants   stencil" in repr(net())
    assert {name: x.shape for name, x in net().constants.items()} == {
        "stencil": (3,), "constant": (3, 3), "constant_2": (3,), "constant_3": (70, 2), "constant_4": (3,),
    }  # fmt: skip


def test_the_text_does_not_hold_the_numbers() -> None:
    """So models that differ in them share one file, and each has its own."""
    x = gg.input("x", (B, 3))
    two, three = (gg.compile(x @ (k * M), name="scaled") for k in (2, 3))
    assert two.source == three.source
    given = X.astype(np.float32)
    np.testing.assert_allclose(1.5 * two(x=given)["y"], three(x=given)["y"], rtol=1e-5)


def test_names_that_others_have() -> None:
    """One that nobody has named gets out of the way of outputs, sizes and tensors."""
    x = gg.input("constant_2", (gg.size("constant_3"),))
    network = gg.compile({"constant": gg.concatenate([x, [1, 2, 3]])}, name="names")
    assert list(network.constants) == ["constant_4"]
    with gg.scope("block"):
        assert gg.constant(ROW, name="k").name == "block_k"


def test_names_follow_from_the_model() -> None:
    """Not from what was declared before it."""
    sources = []
    for k in range(2):
        first, second = (gg.constant(ROW * (n + 2)) for n in range(2))
        if k:
            first, second = second, first
        x = gg.input("x", (3,))
        sources.append(gg.compile({"y": x * [5, 6, 7] + [1, 2, 3]}, name="named").source)
        del first, second
    assert sources[0] == sources[1]


def test_nothing_that_is_given_later_changes_them() -> None:
    numbers = np.ones(3)
    x = gg.input("x", (3,))
    network = gg.compile(x * numbers, name="kept")
    numbers[:] = 7.0
    np.testing.assert_array_equal(network(x=np.ones(3, np.float32))["y"], np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        network.constants["constant"][0] = 2.0


def test_pickles_and_other_dtypes_keep_them() -> None:
    arrays = {"x": X.astype(np.float32), "w": ROW.astype(np.float32)}
    again = pickle.loads(pickle.dumps(net()))
    assert again(**arrays)["loss"] == net()(**arrays)["loss"]
    wide = net().compiled_with(dtype="float64")
    np.testing.assert_allclose(wide(x=X, w=ROW)["loss"], loss_of(ROW), rtol=1e-13)


def test_saved_modules_hold_them(tmp_path: Path) -> None:
    """In `state()`, the long ones as text; the test that they bring passes."""
    path = net().save(tmp_path / "constants_train.py")
    text = path.read_text()
    assert "s.stencil[...] = [1.0, -2.0, 1.0]" in text
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    space: dict[str, Any] = {"__name__": "saved"}
    exec(compile(text, str(path), "exec"), space)
    state = space["state"]()
    for name, x in net().constants.items():
        np.testing.assert_array_equal(getattr(state, name), x)
        assert getattr(state, name).dtype == x.dtype


def test_special_numbers_in_saved_modules(tmp_path: Path) -> None:
    x = gg.input("x", (3,))
    given = [np.array([np.nan, np.inf, -np.inf]), np.tile([True, False, True], (12, 1)), np.arange(3) + 2**40]
    y = x * given[0] + [1e30, -0.0, 1e-45] + gg.constant(np.nan, name="missing") + gg.sum(RNG.random((2, 1, 3, 1, 2)))
    y = y + gg.sum(gg.where(given[1], x, 0.0), axis=0) + gg.cast(given[2] % 7, "float32")
    network = gg.compile(y, name="special")
    path = network.save(tmp_path / "special.py")
    space: dict[str, Any] = {"__name__": "saved"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    state = space["state"]()
    for name, numbers in network.constants.items():
        assert getattr(state, name).tobytes() == numbers.tobytes()
    for command in (["check"], ["format", "--check", "--line-length", "120"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", str(path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_equal_layers_with_constants_of_their_own() -> None:
    """Their constants are rows of one array of the module, as their parameters are."""
    h = gg.input("x", (B, 3))
    matrices = RNG.standard_normal((6, 3, 3))
    for k, m in enumerate(matrices):
        h = gg.tanh(h @ m + gg.param(f"b{k}", (3,)))
    network = gg.compile({"y": h, "loss": gg.sum(h)}, name="layers", dtype="float64")
    biases = {f"b{k}": np.full(3, 0.1 * k) for k in range(6)}
    wanted = X
    for k, m in enumerate(matrices):
        wanted = np.tanh(wanted @ m + 0.1 * k)
    for _ in range(2):
        np.testing.assert_allclose(network(x=X, **network.stack(biases))["y"], wanted, rtol=1e-12)


def test_gradients_by_a_constant() -> None:
    x, c = gg.input("x", (3,)), gg.constant(ROW, name="c")
    network = gg.compile({"loss": gg.sum(c * c * x)}, name="by_constant", wrt=[c])
    gradient = network.value_and_grad(x=np.ones(3, np.float32))[1]["c"]
    np.testing.assert_allclose(gradient, 2 * ROW)


def test_gradients_by_one_of_two_equal_ones() -> None:
    """What is differentiated by stays apart."""
    x, c, d = gg.input("x", (3,)), gg.constant(ROW), gg.constant(ROW)
    loss = gg.sum(c * d * [1, 2, 3] * x)
    for wrt in ([c], [c, d]):
        gradients = gg.compile({"loss": loss}, name="equal", wrt=wrt).value_and_grad(x=np.ones(3, np.float32))[1]
        assert len(gradients) == len(wrt)
        for gradient in gradients.values():
            np.testing.assert_allclose(gradient, ROW**2)


def test_a_call_may_give_other_places() -> None:
    """Of a name; numbers from the end count so then, too, and none is read outside."""
    x, places = gg.input("x", (4,)), gg.constant([-1, 0], name="places")
    network = gg.compile(x[places], name="other_places")
    given = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(network(x=given)["y"], [3, 0])
    np.testing.assert_array_equal(network(x=given, places=np.array([1, -2]))["y"], [1, 2])
    with pytest.raises(BindingError, match="leaves axis 0 of x"):
        network(x=given, places=np.array([1, -5]))


def test_check_grad_needs_no_values_for_them() -> None:
    w = gg.param("w", (3,))
    assert gg.check_grad(gg.sum(gg.tanh(w * [1.0, 2.0, 3.0])), {"w": ROW}).ok


REFUSED: dict[str, tuple[Callable[[Any], Any], type[GradgenError], str]] = {
    "many": (lambda x: x * np.zeros((2000, 3)), ShapeError, "6,000 elements is data.*gg.input"),
    "many on purpose": (lambda x: gg.constant(np.zeros(5000)), ShapeError, "4,096 at most"),
    "several lengths": (lambda x: x * [[1, 2], [3]], ShapeError, "several lengths"),
    "shapes": (lambda x: x * [1, 2], ShapeError, "broadcast"),
    "outside": (lambda x: x[[0, 3]], ShapeError, "subscript 3 is outside axis 0"),
    "outside the end": (lambda x: x[[-4]], ShapeError, "outside axis 0"),
    "floats as places": (lambda x: x[[0.5]], DTypeError, "use integers"),
    "masks as places": (lambda x: x[MASK], DTypeError, "gg.compress"),
    "text": (lambda x: x * ["a"], DTypeError, "not list"),
    "tensors in lists": (lambda x: x * [x, 1], DTypeError, "not list"),
    "text on purpose": (lambda x: gg.constant("ab"), DTypeError, "array of numbers"),
    "complex": (lambda x: x * np.ones(3, complex), DTypeError, "not ndarray of complex128"),
    "a tensor": (lambda x: gg.constant(x), DTypeError, "is a tensor already"),
    "too large": (lambda x: gg.cast(x, "int32") * [2**40, 1, 1], DTypeError, "1099511627776, which int32 does not"),
    "beyond int64": (lambda x: gg.constant(np.array([2**63], np.uint64)), DTypeError, "808, which int64 does not"),
    "below 0": (lambda x: gg.cast(x, "uint32") + np.array([-1], np.int8), DTypeError, "-1, which uint32 does not"),
    "a fraction": (lambda x: gg.constant([1.0, 0.5], dtype="int32"), DTypeError, "0.5, which int32 does not"),
    "nan as an integer": (lambda x: gg.constant([np.nan], dtype="int64"), DTypeError, "nan, which int64 does not"),
    "a bad name": (lambda x: gg.constant([1], name="a b"), GraphError, "identifier"),
    "a bad dtype": (lambda x: gg.constant([1], dtype="int8"), DTypeError, "int8"),
    "a masked array": (
        lambda x: x * np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]),
        DTypeError,
        "MaskedArray",
    ),
    "an index of an array": (lambda x: ROW[gg.index("i", 3)], GraphError, "gg.constant"),
    "updated": (lambda x: _updated(), GraphError, "a constant, which has one value"),
}


def _updated() -> Any:
    c = gg.constant(ROW, name="c")
    return gg.compile(c * 2, updates={c: c * 2})


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_constant(name: str) -> None:
    build, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        build(gg.input("x", (3,)))
