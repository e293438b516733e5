"""Compiled networks inside PyTorch: gradients by autograd, modules that its optimisers train, what is refused."""

import copy
import io
import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import DTypeError, GradgenError, GraphError
from gradgen.network import Network

torch = pytest.importorskip("torch", reason="needs PyTorch")

from gradgen.interop.torch import Module, wrap  # noqa: E402  # without torch there is nothing to import


@cache
def scores() -> Network:
    """Two outputs with gradients by an input and two parameters, one of integers, and an input without a gradient."""
    N = gg.size("N")
    x, shift, label = gg.input("x", (N, 3)), gg.input("shift", ()), gg.input("label", (N,), dtype="int64")
    W, mu = gg.param("W", (4, 3)), gg.param("mu", (4,))
    u = gg.tanh(x @ W.T + mu) + shift
    loss = gg.nn.cross_entropy(u, label)
    outputs = {"loss": loss, "u": u, "best": gg.argmax(u, axis=1), "twice": 2 * shift}
    return gg.compile(outputs, wrt=[x, W, mu], loss="loss", dtype="float64", name="scores")


def given(**other: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    arrays = {"x": (5, 3), "W": (4, 3), "mu": (4,)}
    found = {name: torch.from_numpy(random.normal(size=shape)).requires_grad_() for name, shape in arrays.items()}
    return {**found, "label": torch.tensor([0, 1, 3, 2, 1]), "shift": 0.5, **other}


def same_in_torch(a: dict[str, Any]) -> dict[str, Any]:
    u = torch.tanh(a["x"] @ a["W"].T + a["mu"]) + a["shift"]
    return {"loss": torch.nn.functional.cross_entropy(u, a["label"]), "u": u, "best": u.argmax(1)}


def test_values_and_gradients_are_those_of_the_same_model_in_torch() -> None:
    ours, theirs = given(), given()
    found, expected = wrap(scores())(**ours), same_in_torch(theirs)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    for outputs in (found, expected):
        (3 * outputs["loss"] + (outputs["u"] ** 2).sum()).backward()
    for name in ("x", "W", "mu"):
        torch.testing.assert_close(ours[name].grad, theirs[name].grad)
    assert not found["best"].requires_grad
    assert found["best"].dtype == torch.int64
    assert not found["twice"].requires_grad  # no gradient is wanted of what it depends on
    assert found["loss"].shape == ()


@pytest.mark.parametrize("output", ["loss", "u"])
def test_gradients_agree_with_difference_quotients(output: str) -> None:
    a, net = given(), wrap(scores())
    assert torch.autograd.gradcheck(
        lambda x, W, mu: net(**{**a, "x": x, "W": W, "mu": mu})[output], (a["x"], a["W"], a["mu"])
    )


def test_nothing_is_copied() -> None:
    a = given()
    x = a["x"]
    outputs = wrap(scores())(**a)
    saved = outputs["u"].grad_fn.saved
    assert saved.arguments["x"].ctypes.data == x.data_ptr()
    assert saved.arguments["W"].ctypes.data == a["W"].data_ptr()


def test_one_forward_pass_serves_several_backward_passes() -> None:
    a = given()
    outputs = wrap(scores())(**a)
    first = torch.autograd.grad(outputs["loss"], [a["W"]], retain_graph=True)
    second = torch.autograd.grad(outputs["loss"], [a["W"]])
    torch.testing.assert_close(first, second)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(outputs["loss"], [a["W"]])


def test_calls_keep_apart_what_they_save() -> None:
    net, a = wrap(scores()), given()
    b = given(x=a["x"].detach().flip(0).requires_grad_())
    first, second = net(**a)["loss"], net(**b)["loss"]
    first.backward()
    second.backward()
    for arguments in (a, b):
        expected = {k: x.detach().requires_grad_() if k in ("x", "W", "mu") else x for k, x in arguments.items()}
        same_in_torch(expected)["loss"].backward()
        torch.testing.assert_close(arguments["x"].grad, expected["x"].grad)


def test_without_gradients_nothing_is_kept() -> None:
    a, net = given(), wrap(scores())
    with torch.no_grad():
        assert net(**{**a, "shift": torch.tensor(0.5, dtype=torch.float64, requires_grad=True)})["u"].grad_fn is None
    plain = {name: x.detach() if isinstance(x, torch.Tensor) else x for name, x in a.items()}
    assert net(**plain)["loss"].grad_fn is None
    torch.testing.assert_close(net(**plain)["u"], net(**a)["u"].detach())


def test_a_tensor_written_to_before_the_backward_pass_is_noticed() -> None:
    a = given()
    loss = wrap(scores())(**a)["loss"]
    with torch.no_grad():
        a["W"].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_network_that_holds_its_gradient_has_second_derivatives_in_torch() -> None:
    x = gg.input("x", (3,))
    y = gg.sum(gg.sin(x) * x**2)
    net = gg.compile({"slope": gg.grad(y, x)}, wrt=[x], dtype="float64", name="slope")
    at = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    found = torch.autograd.functional.jacobian(lambda x: wrap(net)(x=x)["slope"], at)
    torch.testing.assert_close(found, torch.autograd.functional.hessian(lambda x: (torch.sin(x) * x**2).sum(), at))


TANGENT = (
    "W has a tangent, and PyTorch differentiates scores backward only. Let the model compute with tangents: "
    "gg.jvp(y, W, v) is a tensor, an output like any other."
)


def refused(call: Any, kind: type[GradgenError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_a_second_derivative_is_refused() -> None:
    a = given()
    (slope,) = torch.autograd.grad(wrap(scores())(**a)["loss"], [a["x"]], create_graph=True)
    assert refused(lambda: slope.sum().backward(), GraphError) == (
        "PyTorch cannot differentiate the gradient of scores again. Let the model hold it: gg.grad(loss, [x]) is a "
        "tensor, an output like any other, and has a gradient."
    )


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("no_grad", [False, True])
def test_forward_mode_is_refused(requires_grad: bool, no_grad: bool) -> None:
    forward_ad = torch.autograd.forward_ad
    a = {name: x.detach() if isinstance(x, torch.Tensor) else x for name, x in given().items()}
    W = a["W"].clone().requires_grad_(requires_grad)
    with forward_ad.dual_level(), torch.set_grad_enabled(not no_grad):
        dual = forward_ad.make_dual(W, torch.ones_like(W))
        assert refused(lambda: wrap(scores())(**{**a, "W": dual}), GraphError) == TANGENT
        wrap(scores())(**{**a, "W": W})


def test_a_jacobian_by_forward_mode_is_refused() -> None:
    a = given()
    W = a["W"].detach()

    def u(W: Any) -> Any:
        return wrap(scores())(**{**a, "W": W})["u"]

    jacobian = torch.autograd.functional.jacobian
    assert refused(lambda: jacobian(u, W, strategy="forward-mode", vectorize=True), GraphError) == TANGENT
    assert refused(lambda: torch.func.jvp(u, (W,), (W,)), GraphError) == TANGENT


def test_a_gradient_that_the_network_does_not_have_is_refused() -> None:
    shift = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert refused(lambda: wrap(scores())(**given(shift=shift)), GraphError) == (
        "shift requires a gradient, and scores was compiled without one by it. Use gg.compile(..., wrt=[shift, ...]), "
        "or give shift.detach()."
    )


def test_tensors_are_checked_as_arrays_are() -> None:
    assert refused(lambda: wrap(scores())(**given(label=torch.zeros(5))), DTypeError) == (
        "label is float32; the model declares int64. Convert it to int64."
    )
    x = torch.zeros(5, 3, requires_grad=True)
    wrap(scores())(**given(x=x))["loss"].backward()
    assert x.grad.dtype == torch.float32


# ---------------------------------------------------------------- modules


@cache
def regression() -> Network:
    N = gg.size("N")
    x, y = gg.input("x", (N, 2)), gg.input("y", (N,))
    h = gg.tanh(gg.nn.Linear(2, 16, name="fc1")(x))
    u = gg.nn.Linear(16, 1, name="fc2")(h)[:, 0]
    scale = gg.state("scale", ())
    return gg.compile({"loss": gg.mean((u - y) ** 2) * (1 + scale), "u": u}, name="regression")


def test_a_module_is_trained_by_an_optimiser_of_torch() -> None:
    net = regression()
    module = Module(net, seed=3)
    initial = net.init(3)
    assert sorted(name for name, _ in module.named_parameters()) == ["fc1_bias", "fc1_weight", "fc2_bias", "fc2_weight"]
    assert [name for name, _ in module.named_buffers()] == ["scale"]
    for name, x in module.state_dict().items():
        np.testing.assert_array_equal(x.numpy(), initial[name])
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(64, 2)).astype("float32"))
    y = x[:, 0] * x[:, 1]
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-2)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = module(x=x, y=y)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_a_module_is_part_of_others() -> None:
    inner = Module(gg.compile({"y": gg.sin(gg.input("x", (4, 3)) @ gg.param("W", (3, 2)))}, name="inner"))
    outer = torch.nn.ModuleDict({"inner": inner, "head": torch.nn.Linear(2, 1)})
    assert sorted(outer.state_dict()) == ["head.bias", "head.weight", "inner.W"]
    outer["head"](outer["inner"](x=torch.ones(4, 3))["y"]).sum().backward()
    assert all(p.grad is not None for p in outer.parameters())
    other = torch.nn.ModuleDict({"inner": Module(regression()), "head": torch.nn.Linear(2, 1)})
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(outer.state_dict())


def test_a_name_that_modules_have_is_refused() -> None:
    net = gg.compile({"y": gg.sum(gg.param("training", (2,)))}, name="named")
    assert refused(lambda: Module(net), GraphError) == (
        "torch.nn.Module has an attribute training of its own. Rename the parameter, or use wrap(net)."
    )


def test_modules_and_functions_pickle() -> None:
    """By pickle, by torch.save, and as copies, which PyTorch's averages make: parameters and all."""
    w = gg.param("w", (3,), init=gg.nn.init.normal())
    net = gg.compile({"loss": gg.sum(gg.sin(w * gg.input("x", (3,))))}, name="small")
    module, x = Module(net, seed=1), torch.ones(3)
    with torch.no_grad():
        module.w += 1.0
    stored = io.BytesIO()
    torch.save(module, stored)
    stored.seek(0)
    there = [pickle.loads(pickle.dumps(module)), torch.load(stored, weights_only=False), copy.deepcopy(module)]
    module(x=x)["loss"].backward()
    for twin in there:
        assert list(twin.state_dict()) == ["w"]
        twin(x=x)["loss"].backward()
        torch.testing.assert_close(twin.w, module.w)
        torch.testing.assert_close(twin.w.grad, module.w.grad)
        assert twin.w is not module.w
    call = pickle.loads(pickle.dumps(wrap(net)))
    torch.testing.assert_close(call(x=x, w=module.w)["loss"], module(x=x)["loss"])
