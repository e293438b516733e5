"""How a compiled network behaves towards its caller: calls in any order and thread, and what it refuses."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

import gradgen as gg
from gradgen.emit.cpu import CpuPrinter
from gradgen.errors import BindingError, DTypeError, GradgenError, GraphError, LayoutWarning, ShapeError
from gradgen.network import Network
from tests.cpu.running import Case, case, unjitted

CASE = ("mlp_naive_ce", "float32")


@pytest.fixture
def mlp() -> Case:
    return case(*CASE)


@pytest.fixture(scope="module")
def trained() -> Network:
    """A line fitted by gradient descent with momentum."""
    x, t = gg.input("x", (gg.size("N"), 2)), gg.input("t", (gg.size("N"),))
    w, bias = gg.param("w", (2,)), gg.param("bias", ())
    loss = gg.mean((x @ w + bias - t) ** 2)
    return gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.1, momentum=0.5), name="line")


def equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


# ---------------------------------------------------------------- calls


def test_a_step_of_one_sample_computes_no_value_twice() -> None:
    """The axis of one element must not hide from the updates what the loss has computed already."""
    a, w = gg.input("a", (1, 3)), gg.param("W", (4, 3))
    loss = gg.mean(gg.tanh(a @ w.T) ** 2)
    net = gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.5), name="single")
    program = net.compiled.program
    entry = next(e for e in program.entries if e.name == "step")
    called = {call.kernel for call in entry.kernel_calls}
    kernels = [kernel for kernel in program.kernels if kernel.name in called]
    assert sum(line.count("tanh_f32(") for kernel in kernels for line in CpuPrinter().lines(kernel.body)) == 1


def test_a_call_gives_the_outputs_by_name(mlp: Case) -> None:
    outputs = mlp.net(**mlp.arrays)
    assert list(outputs) == ["loss", "scores"]
    assert type(outputs["loss"]) is np.float32
    assert outputs["scores"].shape == (5, 4)
    equal(outputs, mlp.net.forward(**mlp.arrays)[0])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_forwards_then_two_backwards(mlp: Case, order: tuple[int, int]) -> None:
    inputs = [mlp.model.arrays(mlp.leaves, seed=seed) for seed in (1, 2)]
    cotangents = [{"loss": 1.0}, mlp.cotangents]
    wanted = []
    for arrays, cotangent in zip(inputs, cotangents, strict=True):
        wanted.append(mlp.net.backward(mlp.net.forward(**arrays)[1], **cotangent))
    saved = [mlp.net.forward(**arrays)[1] for arrays in inputs]
    found = {k: mlp.net.backward(saved[k], **cotangents[k]) for k in order}
    for k in order:
        equal(found[k], wanted[k])
    for k in order:  # a saved value serves any number of times
        equal(mlp.net.backward(saved[k], **cotangents[k]), wanted[k])


def test_other_calls_between_forward_and_backward(mlp: Case) -> None:
    other = mlp.model.arrays(mlp.leaves, seed=1, sizes={"B": 9})
    wanted = mlp.net.backward(mlp.net.forward(**mlp.arrays)[1], **mlp.cotangents)
    saved = mlp.net.forward(**mlp.arrays)[1]
    mlp.net(**other)
    mlp.net.value_and_grad(**mlp.model.arrays(mlp.leaves, seed=1))
    equal(mlp.net.backward(saved, **mlp.cotangents), wanted)


def test_four_threads_at_once(mlp: Case) -> None:
    inputs = [mlp.model.arrays(mlp.leaves, seed=k, sizes={"B": 2 + k % 3}) for k in range(8)]

    def work(k: int) -> dict[str, Any]:
        outputs, saved = mlp.net.forward(**inputs[k])
        gradients = mlp.net.backward(saved, loss=1.0)
        return {**outputs, **gradients, "again": mlp.net.value_and_grad(**inputs[k])[1]["X1"]}

    wanted = [work(k) for k in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(work, [k % 8 for k in range(400)])):
            equal(found, wanted[k % 8])


def test_cotangents_that_are_not_given_are_zero(mlp: Case) -> None:
    saved = mlp.net.forward(**mlp.arrays)[1]
    equal(mlp.net.backward(saved, loss=1.0), mlp.net.backward(saved, loss=1.0, scores=np.zeros((5, 4), "float32")))


def test_outputs_and_gradients_are_fresh_arrays(mlp: Case) -> None:
    first, gradients = mlp.net.value_and_grad(**mlp.arrays)
    kept = {key: np.array(x) for key, x in {**first, **gradients}.items()}
    second, others = mlp.net.value_and_grad(**mlp.model.arrays(mlp.leaves, seed=5))
    assert not np.shares_memory(first["scores"], second["scores"])
    assert not np.shares_memory(gradients["X1"], others["X1"])
    equal({**first, **gradients}, kept)


def test_read_only_arguments_are_taken_as_they_are(mlp: Case) -> None:
    frozen = {name: x.copy() for name, x in mlp.arrays.items()}
    for x in frozen.values():
        x.flags.writeable = False
    equal(mlp.net(**frozen), mlp.net(**mlp.arrays))


@pytest.mark.parametrize("name", ["a", "X2"])
def test_other_layouts_are_copied_with_a_warning_at_the_call(mlp: Case, name: str) -> None:
    arrays = {**mlp.arrays, name: np.asfortranarray(mlp.arrays[name])}
    with pytest.warns(LayoutWarning, match=f"^{name} is not C-contiguous and is copied for every call.$") as caught:
        found = mlp.net(**arrays)
    assert Path(caught[0].filename).name == "test_network.py"
    equal(found, mlp.net(**mlp.arrays))
    wide = np.zeros((5, 12), "float32")
    wide[:, ::2] = mlp.arrays["a"]
    with pytest.warns(LayoutWarning):
        equal(mlp.net(**{**mlp.arrays, "a": wide[:, ::2]}), mlp.net(**mlp.arrays))


def test_numbers_and_lists_stand_for_arrays(mlp: Case) -> None:
    lists = {name: x.tolist() for name, x in mlp.arrays.items()}
    equal(mlp.net(**lists), mlp.net(**mlp.arrays))


# ---------------------------------------------------------------- what is refused, word for word

A = np.zeros((5, 6), "float32")
CONVERT = "Compile with gg.compile(..., dtype=\"float64\"), or convert it with .astype('float32')."
NEEDED = "Needed are a, b, X1, mu1, X2, mu2."
REFUSED = [
    ({"a": A.astype("float64")}, DTypeError, f"a is float64; the model declares float32. {CONVERT}"),
    ({"b": np.zeros(5)}, DTypeError, "b is float64; the model declares int64. Convert it with .astype('int64')."),
    ({"b": [0.5] * 5}, DTypeError, "b is float64; the model declares int64. Round or cast it yourself."),
    ({"a": [[object()] * 6] * 5}, DTypeError, "a is no array of numbers (given: list). Give a NumPy array of float32."),
    ({"a": A[:, :5]}, ShapeError, "a has shape (5, 5); the model declares (B, 6), here (5, 6)."),
    ({"a": A[0]}, ShapeError, "a has 1 axes, shape (6,); the model declares (B, 6). Reshape the argument."),
    ({"a": A[:4]}, ShapeError, "b's axis 0 is 5, but the size B is 4 (a's axis 0). Give arrays that agree."),
    ({"X1": np.zeros((6, 7), "float32")}, ShapeError, "X1 has shape (6, 7); the model declares (7, 6)."),
    ({"a": None}, BindingError, f"mlp_naive_ce.forward: a missing. {NEEDED}"),
    ({"a": None, "mu2": None}, BindingError, f"mlp_naive_ce.forward: a, mu2 missing. {NEEDED}"),
    ({"c": A}, BindingError, f"mlp_naive_ce.forward: c unknown. {NEEDED}"),
    (
        {"b": np.array([0, 1, 2, 3, 4])}, BindingError,
        "b holds 4, outside 0..3 (it selects from axis 1 of u2). An index out of range is not read.",
    ),
    (
        {"b": np.array([0, 1, -1, 3, 2])}, BindingError,
        "b holds -1, outside 0..3 (it selects from axis 1 of u2). An index out of range is not read.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "words"), REFUSED)
@pytest.mark.parametrize("before", ["anew", "after a good call"])
def test_bad_arguments_are_refused(
    mlp: Case, changes: dict[str, Any], kind: type[GradgenError], words: str, before: str
) -> None:
    """Also when the call before it was right: what was checked then is not taken for granted."""
    net = mlp.plain
    if before == "after a good call":
        with np.errstate(all="ignore"):
            net(**mlp.arrays)
    arguments = {name: x for name, x in {**mlp.arrays, **changes}.items() if x is not None}
    with pytest.raises(kind) as caught:
        net(**arguments)
    assert str(caught.value) == words


def test_bad_cotangents_are_refused(mlp: Case) -> None:
    saved = mlp.plain.forward(**mlp.arrays)[1]
    with pytest.raises(BindingError) as caught:
        mlp.plain.backward(saved, losses=1.0)
    assert str(caught.value) == "backward: no float output is called losses. Those are loss, scores."
    with pytest.raises(ShapeError) as caught:
        mlp.plain.backward(saved, scores=np.ones((4, 5), "float32"))
    assert str(caught.value) == "the cotangent of scores has shape (4, 5), the output (5, 4)."


def test_what_a_network_cannot_do() -> None:
    x, w = gg.input("x", (3,)), gg.param("w", (3,))
    net = gg.compile({"y": x * w}, name="product")
    with pytest.raises(GraphError) as caught:
        net.value_and_grad(x=np.ones(3, "float32"), w=np.ones(3, "float32"))
    assert str(caught.value) == (
        "product.value_and_grad: no output is a float scalar, only y float32 (3). Add one, such as a sum or a mean, or "
        "use backward."
    )
    with pytest.raises(GraphError) as caught:
        net.step({"w": np.ones(3, "float32")}, x=np.ones(3, "float32"))
    assert str(caught.value) == "this network has no updates: gg.compile(..., updates=gg.optim.sgd(loss, lr=0.1))"
    plain = gg.compile({"y": x * 2.0}, name="double")
    outputs, saved = plain.forward(x=np.ones(3, "float32"))
    np.testing.assert_array_equal(outputs["y"], 2)
    with pytest.raises(GraphError) as caught:
        plain.backward(saved)
    assert str(caught.value) == "this network has no gradient: no output depends on a float parameter or on wrt"


# ---------------------------------------------------------------- steps


def line_data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2)).astype("float32")
    return {"x": x, "t": x @ np.array([2, -1], "float32") + np.float32(0.5)}


def test_steps_update_the_state_in_place(trained: Network) -> None:
    state, data = trained.init(seed=0), line_data()
    weights = state["w"]
    before = {name: x.copy() for name, x in data.items()}
    first = trained.step(state, **data)["loss"]
    for _ in range(100):
        last = trained.step(state, **data)["loss"]
    assert state["w"] is weights
    assert last < 1e-4 < first
    np.testing.assert_allclose(weights, [2, -1], atol=0.02)
    equal(data, before)


def test_a_step_reads_the_old_values(trained: Network) -> None:
    state, data = trained.init(seed=0), line_data()
    old = {name: x.copy() for name, x in state.items()}
    parameters = {name: old[name] for name in ("w", "bias")}
    outputs, gradients = trained.value_and_grad(**parameters, **data)
    assert trained.step(state, **data)["loss"] == outputs["loss"]
    for name, g in gradients.items():
        np.testing.assert_allclose(state[f"{name}_velocity"], g, rtol=1e-5)
        np.testing.assert_allclose(state[name], old[name] - np.float32(0.1) * g, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x.setflags(write=False), "w is read-only, and the step updates it in place. Give a writable array."),
    ],
)
def test_a_state_that_cannot_be_updated_is_refused(trained: Network, spoil: Any, words: str) -> None:
    state = trained.init(seed=0)
    spoil(state["w"])
    with pytest.raises(BindingError) as caught:
        trained.step(state, **line_data())
    assert str(caught.value) == words


# ---------------------------------------------------------------- other callers


def test_functions_are_callable_from_njit_code(mlp: Case) -> None:
    """A user's own loop, compiled, around the module's function and with its holders."""
    module, arrays = mlp.net.module, mlp.arrays
    outputs, gradients = mlp.net.value_and_grad(**arrays)
    value_and_grad = module.value_and_grad

    @njit
    def descend(a: Any, b: Any, p: Any, w: Any, out: Any, g: Any, steps: int) -> Any:
        first = value_and_grad(b=b, a=a, p=p, w=w, out=out, g=g)
        last = first
        for _ in range(steps):
            p.mu2[:] -= np.float32(0.1) * g.d_mu2
            last = value_and_grad(b=b, a=a, p=p, w=w, out=out, g=g)
        return first, last

    p = module.Params(*[arrays[name].copy() for name in module.Params._fields])
    g = module.Gradients(*[np.empty_like(arrays[name.removeprefix("d_")]) for name in module.Gradients._fields])
    out = module.Outputs(np.empty((5, 4), "float32"))
    first, last = descend(arrays["a"], arrays["b"], p, module.workspace(5), out, g, 20)
    assert first == outputs["loss"]
    assert last < first
    descend(arrays["a"], arrays["b"], p._replace(mu2=arrays["mu2"].copy()), module.workspace(5), out, g, 0)
    np.testing.assert_array_equal(g.d_X1, gradients["X1"])


WITHOUT_GRADGEN = """
import sys
sys.modules["gradgen"] = None  # an import of it fails
import numpy as np
import mlp_saved as m
arrays = dict(np.load("arrays.npz"))
p = m.Params(*[arrays[name] for name in m.Params._fields])
out = m.Outputs(np.empty((5, 4), np.float32))
loss = m.forward(b=arrays["b"], a=arrays["a"], p=p, w=m.workspace(5), out=out)
np.savez("found.npz", loss=loss, scores=out.scores)
print(*[name for name in sys.modules if name.split(".")[0] in ("gradgen", "sympy", "jinja2")])
"""


def test_a_saved_module_needs_no_gradgen(mlp: Case, tmp_path: Path) -> None:
    path = mlp.net.save(tmp_path / "mlp_saved.py")
    assert path.read_text(encoding="utf-8") == mlp.net.standalone("mlp_saved.py")
    np.savez(tmp_path / "arrays.npz", **mlp.arrays)
    command = [sys.executable, "-c", WITHOUT_GRADGEN]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["gradgen"]), done.stderr
    with np.load(tmp_path / "found.npz") as found:
        equal(dict(found), mlp.net(**mlp.arrays))


def test_initial_values_come_from_the_seed(trained: Network) -> None:
    first, second, other = trained.init(seed=0), trained.init(seed=0), trained.init(seed=1)
    assert list(first) == ["w", "bias", "w_velocity", "bias_velocity"]
    equal(first, second)
    assert all(not first[name].any() for name in ("w_velocity", "bias_velocity"))
    assert first.keys() == other.keys()


def test_explain_names_every_entry(trained: Network) -> None:
    summary, lines = (part.splitlines() for part in trained.explain().split("\n\n"))
    assert summary[0] == "line: float32, for the CPU"
    assert [line for line in lines if not line.startswith(" ")] == [f"{name}:" for name in trained._entries]
    assert len(lines) > len(trained._entries)


def test_updates_read_the_values_at_entry_in_every_shape() -> None:
    V, W = gg.param("V", (6, 4)), gg.param("W", (4, 6))
    i, j = gg.indices("i j")
    loss = gg.sum(gg.reshape(V, (24,)) ** 2)
    turned = gg.compute((i, j), W[i, j] + gg.reshape(W, (6, 4))[j, i] + gg.reshape(V, (4, 6))[i, j])
    updates = {V: V - 0.25 * gg.grad(loss, [V])[0], W: turned}
    net = gg.compile({"loss": loss}, updates=updates, name="turned")
    rng = np.random.default_rng(0)
    state = {"V": rng.standard_normal((6, 4)).astype("f"), "W": rng.standard_normal((4, 6)).astype("f")}
    v, w = state["V"].copy(), state["W"].copy()
    net.step(state)
    np.testing.assert_allclose(state["V"], 0.5 * v, rtol=1e-6)
    np.testing.assert_allclose(state["W"], w + w.reshape(6, 4).T + v.reshape(4, 6), rtol=1e-6)


# ---------------------------------------------------------------- the order of declaration


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arguments_and_gradients_come_in_the_order_of_declaration(dtype: str) -> None:
    a, b = gg.input("a", (N := gg.size("N"), 3)), gg.input("b", (N,))
    first, second = gg.param("first", (3,)), gg.param("second", ())
    outputs = {"loss": gg.sum(b * second * (a @ first)), "also": b + gg.sum(first)}
    net = gg.compile(outputs, name="declared", dtype=dtype)
    taken = {e.name: e.parameters for e in net.compiled.program.entries}
    assert [x.name for x in taken["value_and_grad"]] == ["a", "b"]
    assert [x.name for x in taken["backward"]] == ["a", "b", "d_loss", "d_also"]
    assert net.module.Gradients._fields == ("d_first", "d_second")


def test_derivatives_keep_out_of_the_way_of_the_users_names() -> None:
    """d_z, d_L and z_next are what derivatives and updates are called where nobody else is."""
    z, x = gg.param("z", (3,)), gg.input("x", (4, 3))
    d_z = gg.tanh(x * z)  # a variable, whose name would be that of its array
    d_loss = gg.tanh(x @ z)
    given, z_next = gg.input("d_x", (3,)), gg.input("z_next", (3,))
    loss = gg.sum(d_z * d_z) + gg.sum(gg.exp(d_loss) * d_loss) + gg.sum(given * z_next * z)
    slope = gg.grad(loss, z)
    outputs = {"loss": loss, "d_z": slope, "d_loss": 2 * z}
    net = unjitted(gg.compile(outputs, wrt=[z, x], loss="loss", updates={z: z - slope}, name="clashing"))
    arrays = {"z": np.ones(3), "x": np.ones((4, 3)), "d_x": np.full(3, 2.0), "z_next": np.full(3, 5.0)}
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    found, gradients = net.value_and_grad(**arrays)
    assert list(gradients) == ["z", "x"]
    np.testing.assert_allclose(gradients["z"], found["d_z"], rtol=1e-6)
    _, saved = net.forward(**arrays)
    np.testing.assert_allclose(net.backward(saved, loss=1.0, d_loss=np.ones(3))["z"], found["d_z"] + 2, rtol=1e-6)
    state = {"z": arrays["z"].copy()}
    net.step(state, **{name: value for name, value in arrays.items() if name != "z"})
    np.testing.assert_allclose(state["z"], arrays["z"] - found["d_z"], rtol=1e-6)


def test_a_reshaped_output_before_the_output_that_it_reshapes() -> None:
    a, b = gg.input("a", (3, 3)), gg.input("b", (3, 3))
    total = a + b
    net = gg.compile(
        {"flat": gg.ravel(total), "square": gg.where(total > 0.1, total, total)}, name="flat_first", dtype="float64"
    )
    out = net(a=np.ones((3, 3)), b=np.ones((3, 3)))
    np.testing.assert_array_equal(out["flat"], np.full(9, 2.0))
    np.testing.assert_array_equal(out["square"], np.full((3, 3), 2.0))


def test_a_carry_that_never_changes() -> None:
    x, w = gg.input("x", (4, 3)), gg.param("w", (3,))
    last, dots = gg.scan(lambda c, row: (c, gg.sum(c * row)), w, x)
    net = gg.compile({"loss": gg.sum(dots**2) + gg.sum(last)}, name="constant_carry", dtype="float64")
    X, W = np.random.default_rng(0).normal(size=(4, 3)), np.array([1.0, 2.0, 3.0])
    outputs, gradients = net.value_and_grad(x=X, w=W)
    assert outputs["loss"] == pytest.approx(((X @ W) ** 2).sum() + W.sum())
    np.testing.assert_allclose(gradients["w"], 2 * X.T @ (X @ W) + 1, rtol=1e-12)


def test_a_result_of_a_step_that_is_another_shape_of_an_inner_scans_results() -> None:
    M = gg.size("M")
    start, xs = gg.param("start", ()), gg.input("xs", (M,))

    def outer(c: Any, _: None) -> tuple[Any, Any]:
        last, products = gg.scan(lambda c, x: (gg.tanh(c + x), c * x), c, xs)
        return last, products.reshape((M, 1))

    _, y = gg.scan(outer, start, length=3)
    net = unjitted(gg.compile({"y": y, "loss": gg.sum(y)}, name="reshaped_stack", dtype="float64", loss="loss"))
    x, c, expected = np.array([0.5, -1.0]), 0.3, []
    for value in [*x, *x, *x]:
        expected.append(c * value)
        c = np.tanh(c + value)
    np.testing.assert_allclose(net(start=0.3, xs=x)["y"], np.reshape(expected, (3, 2, 1)), rtol=1e-14)
    (above, _), (below, _) = (net.value_and_grad(start=s, xs=x) for s in (0.3 + 1e-6, 0.3 - 1e-6))
    _, gradients = net.value_and_grad(start=0.3, xs=x)
    assert gradients["start"] == pytest.approx((above["loss"] - below["loss"]) / 2e-6, rel=1e-8)


def test_what_an_inner_scan_begins_with_is_computed_before_the_outer_one() -> None:
    """It is read by no formula of the outer loop's body, only copied to where the inner loop's states lie."""
    N = gg.size("N")
    x, w, s = gg.param("x", (N,)), gg.input("w", ()), gg.param("s", (2,))
    i, j = gg.index("i", N), gg.index("j", N)
    start = gg.compute((i, j), w / (gg.square(gg.sin(x[i])) + 0.5))

    def outer(c: Any, factor: Any) -> tuple[Any, Any]:
        last, sums = gg.scan(lambda q, _: (gg.tanh(q * 0.5 * c), gg.sum(q)), start, length=3)
        return gg.tanh(c * 0.5 + gg.sum(last) * factor + gg.sum(sums)), None

    last, _ = gg.scan(outer, w, s)
    net = unjitted(gg.compile({"y": last}, name="inner_start", dtype="float64"))
    values = {"x": np.array([0.1, 0.5, -0.3]), "w": 0.1, "s": np.array([0.02, -0.04])}
    c = values["w"]
    for factor in values["s"]:
        q = np.outer(values["w"] / (np.sin(values["x"]) ** 2 + 0.5), np.ones(3))
        sums = 0.0
        for _ in range(3):
            sums += q.sum()
            q = np.tanh(q * 0.5 * c)
        c = np.tanh(c * 0.5 + q.sum() * factor + sums)
    assert net(**values)["y"] == pytest.approx(c, rel=1e-14)
    _, gradients = net.value_and_grad(**values)
    for name, h in (("x", np.array([1e-6, 0, 0])), ("s", np.array([0, 1e-6]))):
        above, below = (net(**{**values, name: values[name] + sign * h})["y"] for sign in (1, -1))
        assert gradients[name] @ h == pytest.approx((above - below) / 2, rel=1e-6, abs=1e-15)


def test_a_tensor_that_is_read_as_it_is_and_in_another_shape() -> None:
    """The other shape is whole only behind the loop that makes it, however its own elements are read."""
    a = gg.param("a", (2, 4), dtype="float64")
    p = gg.exp(a)
    y = p + gg.reshape(p, (4, 2)).T
    net = gg.compile({"y": y, "loss": gg.sum(gg.sin(y))}, name="two_shapes", dtype="float64", loss="loss")
    values = np.random.default_rng(0).normal(size=(2, 4))
    expected = np.exp(values) + np.exp(values).reshape(4, 2).T
    found, gradients = net.value_and_grad(a=values)
    np.testing.assert_allclose(found["y"], expected, rtol=1e-14)
    d_y = np.cos(expected)
    np.testing.assert_allclose(gradients["a"], np.exp(values) * (d_y + d_y.T.reshape(2, 4)), rtol=1e-13)


def test_a_step_that_reads_an_element_of_its_carry_in_another_shape() -> None:
    """The adjoint has a copy of the state, written in every step, and reads it reshaped, where no loop moves."""
    start, w = gg.param("start", (2, 2), dtype="float64"), gg.param("w", (), dtype="float64")

    def step(c: gg.Tensor, _: None) -> tuple[gg.Tensor, gg.Tensor]:
        flat = c.reshape((4,))
        return gg.tanh(c * flat[0] * flat[3] * w + c), flat[1] * flat[2]

    last, products = gg.scan(step, start, length=3)
    loss = gg.sum(products**2) + gg.sum(last**2)
    net = unjitted(gg.compile({"loss": loss}, name="reshaped_carry", dtype="float64"))
    arrays = {"start": np.array([[0.3, 0.7], [-0.4, 0.9]]), "w": np.array(0.8)}
    _, gradients = net.value_and_grad(**arrays)
    for name, x in arrays.items():
        for at in np.ndindex(x.shape):
            ends = []
            for h in (1e-6, -1e-6):
                moved = x.copy()
                moved[at] += h
                ends.append(float(net(**{**arrays, name: moved})["loss"]))
            assert gradients[name][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-8)


def test_a_step_that_reads_another_shape_of_an_inner_scans_results() -> None:
    """The adjoint keeps what the shape is of: the shape alone is no value of a step."""
    w, xs, s = gg.param("w", (4,)), gg.input("xs", (2,)), gg.param("s", ())

    def outer(c: Any, x: Any) -> tuple[Any, Any]:
        _, pairs = gg.scan(lambda q, _: (gg.sin(q * c), gg.stack([q, c])), x * c, length=2)
        return gg.sum(gg.sin(pairs.reshape((4,)) * w)) * c, None

    last, _ = gg.scan(outer, s, xs)
    net = unjitted(gg.compile({"y": gg.sin(last)}, name="reshaped_pairs", dtype="float64"))
    values = {"w": np.array([0.3, -0.2, 0.5, 0.7]), "xs": np.array([0.4, -0.9]), "s": 0.8}
    c = values["s"]
    for x in values["xs"]:
        c = np.sin(np.array([x * c, c, np.sin(x * c * c), c]) * values["w"]).sum() * c
    assert net(**values)["y"] == pytest.approx(np.sin(c), rel=1e-14)
    _, gradients = net.value_and_grad(**values)
    for name, h in (("w", np.array([0.0, 0.0, 1e-6, 0.0])), ("w", np.array([0.0, 1e-6, 0.0, 0.0])), ("s", 1e-6)):
        above, below = (net(**{**values, name: values[name] + sign * h})["y"] for sign in (1, -1))
        assert np.sum(gradients[name] * h) == pytest.approx((above - below) / 2, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_without_steps_hands_the_gradient_of_its_last_state_to_the_first(reverse: bool) -> None:
    x, xs = gg.param("x", (2,)), gg.input("xs", (gg.size("M"),))
    last, _ = gg.scan(lambda c, t: (gg.sin(c) * t, None), x, xs, reverse=reverse)
    net = gg.compile({"y": gg.sum(last * x)}, name="no_steps", dtype="float64")
    point, data = np.array([0.3, 0.7]), np.array([1.5])
    _, none = net.value_and_grad(x=point, xs=data[:0])
    np.testing.assert_allclose(none["x"], 2 * point, rtol=1e-14)
    _, one = net.value_and_grad(x=point, xs=data)
    np.testing.assert_allclose(one["x"], 1.5 * (np.sin(point) + point * np.cos(point)), rtol=1e-14)
