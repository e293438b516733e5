"""Arrays of other libraries as arguments: the same memory, the same numbers, messages where there is none to read."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, DTypeError
from gradgen.network import Network
from gradgen.runtime import calls


class Lent:
    """An array that nothing but DLPack can read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class Elsewhere(Lent):
    """One on a GPU."""

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("device")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


class Described:
    """An array that shows where its elements lie."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.__array_interface__ = array, array.__array_interface__


def torch_tensor(array: np.ndarray) -> Any:
    return pytest.importorskip("torch", reason="needs PyTorch").from_numpy(array)


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "torch": torch_tensor,
    "jax": jnp.asarray,
    "dlpack": Lent,
    "array_interface": Described,
    "numpy": lambda x: x,
}


@cache
def network() -> Network:
    B = gg.size("B")
    x, W, scale = gg.input("x", (B, 4)), gg.param("W", (3, 4)), gg.param("scale", ())
    shift, label = gg.input("shift", ()), gg.input("label", (B,), dtype="int32")
    u = scale * (x @ W.T) + shift
    loss = gg.nn.cross_entropy(u, label)
    return gg.compile({"loss": loss, "u": u}, updates=gg.optim.sgd(loss, lr=0.1), name="foreign")


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "x": random.normal(size=(5, 4)).astype("float32"),
        "label": np.array([0, 2, 1, 1, 0], "int32"),
        "W": random.normal(size=(3, 4)).astype("float32"),
        "scale": np.array(1.5, "float32"),
        "shift": np.array(0.25, "float32"),
    }


def address(x: Any) -> int:
    """Where the elements of an array of any kind lie."""
    if hasattr(x, "unsafe_buffer_pointer"):
        return int(x.unsafe_buffer_pointer())
    if hasattr(x, "data_ptr"):
        return int(x.data_ptr())
    return int(getattr(x, "array", x).ctypes.data)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_other_libraries_are_read_where_they_lie(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    plain = arrays()
    given = {name: KINDS[kind](x) for name, x in plain.items()}
    long_ways: list[Any] = []
    checked = calls.Caller._checked
    monkeypatch.setattr(calls.Caller, "_checked", lambda *a: long_ways.append(a) or checked(*a))
    expected, kept = net.forward(**plain)
    gradients = net.backward(kept, loss=1.0)
    for _ in range(3):
        outputs, saved = net.forward(**given)
        for name in ("x", "label", "W", "scale"):
            assert address(saved.arguments[name]) == address(given[name])
        np.testing.assert_array_equal(outputs["u"], expected["u"])
        for name, gradient in net.backward(saved, loss=KINDS[kind](np.array(1.0, "float32"))).items():
            np.testing.assert_array_equal(gradient, gradients[name])
        before = len(long_ways)
    assert len(long_ways) == before  # the calls after the first one go the short way


def test_rows_of_one_array_are_taken_as_such_whoever_holds_them() -> None:
    x = gg.input("x", (4, 8))
    for k in range(24):
        x = gg.tanh(x @ gg.param(f"W{k}", (8, 8)).T)
    net = gg.compile({"y": x}, name="deep", strict=True)  # which refuses rows that would have to be copied
    params = net.init(0)
    data = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    expected = net(x=data, **params)["y"]
    assert net.interface.stacks
    found = net(x=torch_tensor(data), **{name: torch_tensor(x) for name, x in params.items()})["y"]
    np.testing.assert_array_equal(found, expected)


def message(given: dict[str, Any], call: str = "__call__") -> str:
    with pytest.raises((DTypeError, BindingError)) as caught:
        getattr(network(), call)(**given)
    return str(caught.value)


@pytest.mark.parametrize("again", [False, True])
def test_arrays_that_cannot_be_read_are_refused(again: bool) -> None:
    """The first call and the ones after it say the same."""
    if again:
        network()(**arrays())
    plain = arrays()
    assert message({**plain, "x": Elsewhere(plain["x"])}) == (
        "x lies on another device. Copy it to the CPU first, as PyTorch's .cpu() does."
    )
    assert message({**plain, "x": Lent(plain["x"].astype("float64"))}) == (
        'x is float64; the model declares float32. Compile with gg.compile(..., dtype="float64"), or '
        "convert it to float32."
    )
    assert message({**plain, "label": jnp.zeros(5, "float32")}) == (
        "label is float32; the model declares int32. Convert it to int32."
    )
    bad = jnp.asarray(np.array([0, 2, 3, 1, 0], "int32"))
    assert message({**plain, "label": bad}).startswith("label holds 3, outside 0..2 ")
    with pytest.raises(DTypeError) as caught:
        jax.jit(lambda x: network()(**{**plain, "x": x}))(plain["x"])
    assert str(caught.value) == "x is traced by JAX and has no elements yet. Use gradgen.interop.jax.wrap(net)."


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", ["numpy", "jax"])
def test_dtypes_that_numpy_does_not_have_are_refused(kind: str, again: bool) -> None:
    if again:
        network()(**arrays())
    plain = arrays()
    bfloat16 = jnp.bfloat16.dtype
    x, shift = (KINDS[kind](plain[name].astype(bfloat16)) for name in ("x", "shift"))
    assert (
        message({**plain, "x": x}) == "x is bfloat16; the model declares float32. Convert it with .astype('float32')."
    )
    told = "shift is bfloat16; the model declares float32. Convert it with .astype('float32')."
    assert message({**plain, "shift": shift}) == told
    assert message({**plain, "shift": bfloat16.type(0.25)}) == told


@pytest.mark.parametrize("again", [False, True])
def test_a_sparse_matrix_of_jax_is_refused(again: bool) -> None:
    sparse = pytest.importorskip("jax.experimental.sparse")
    if again:
        network()(**arrays())
    plain = arrays()
    assert message({**plain, "x": sparse.BCOO.fromdense(plain["x"])}) == (
        "x is sparse (given: BCOO), and calls take arrays with all their elements. Convert it with .todense()."
    )


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("again", [False, True])
def test_tensors_that_cannot_be_read_are_refused(again: bool) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if again:
        network()(**arrays())
    plain = arrays()
    x = torch.from_numpy(plain["x"])
    assert message({**plain, "x": x.clone().requires_grad_()}) == (
        "x requires a gradient, which PyTorch would not get through this call. Give x.detach(), or call "
        "gradgen.interop.torch.wrap(net)."
    )
    assert message({**plain, "x": x.double()}) == (
        'x is float64; the model declares float32. Compile with gg.compile(..., dtype="float64"), or '
        "convert it to float32."
    )
    assert message({**plain, "x": x.to("meta")}) == (
        "x is no array of numbers (given: Tensor). Give a NumPy array of float32."
    )
    assert message({**plain, "x": x.bfloat16()}) == (
        "x is torch.bfloat16; the model declares float32. Convert it with .to(torch.float32)."
    )
    assert message({**plain, "shift": torch.tensor(0.25).bfloat16()}) == (
        "shift is torch.bfloat16; the model declares float32. Convert it with .to(torch.float32)."
    )
    for sparse in (x.to_sparse(), x.to_sparse_csr()):
        assert message({**plain, "x": sparse}) == (
            "x is sparse (given: Tensor), and calls take arrays with all their elements. Convert it with .to_dense()."
        )


def test_what_a_step_updates_is_numpys() -> None:
    given = arrays()
    state = {"W": KINDS["dlpack"](given.pop("W")), "scale": given.pop("scale")}
    for _ in range(2):
        with pytest.raises(BindingError) as caught:
            network().step(state, **given)
        assert str(caught.value) == "W is no NumPy array, and the step updates it in place. Give a NumPy array."
        network().step({**state, "W": state["W"].array}, **{**given, "x": jnp.asarray(given["x"])})
