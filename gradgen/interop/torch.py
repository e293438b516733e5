"""A compiled network inside PyTorch: a function or a module that autograd differentiates.

In: a `Network`. Out: what takes tensors by name and returns tensors by name. Forward and backward are the compiled
ones. Tensors are read where they lie, and outputs and gradients are handed on without a copy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd.forward_ad import unpack_dual

from gradgen.errors import GraphError
from gradgen.interop import checked_network
from gradgen.network import Network

__all__ = ["Module", "wrap"]


def wrap(net: Network) -> Callable[..., dict[str, Any]]:
    """The network as a function of tensors that autograd differentiates.

    Args:
        net: gradients are taken by what it was compiled for: all float parameters, or `wrt`.

    Returns:
        A function: arguments by name, as for `net(...)`, each a tensor on the CPU, an array or a number; outputs by
        name, tensors of the dtypes and shapes that the model declares. What is given is not copied and is part of the
        graph until its backward pass, in which PyTorch refuses a tensor that was written to. Gradients are those of
        `net.backward`: all of them are computed, and those of tensors that require none are dropped.

    The function raises:
        GraphError: a tensor requires a gradient, and the network has none by it; a gradient is differentiated again;
            or a tensor has a tangent, as in forward mode.
        BindingError, DTypeError, ShapeError: as `net(...)`.
    """
    return _Wrapped(checked_network(net, "wrap"))


class _Wrapped:
    """What `wrap` makes; it pickles, as the network does."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self._without = {x.name for x in net.interface.leaves} - {x.of for x in net.interface.fields["g"]}

    def __call__(self, /, **arguments: Any) -> dict[str, Any]:
        net = self.net
        tensors = [name for name, x in arguments.items() if isinstance(x, torch.Tensor)]
        for name in tensors:
            if unpack_dual(arguments[name]).tangent is not None:
                raise GraphError(
                    f"{name} has a tangent, and PyTorch differentiates {net.interface.name} backward only. Let the "
                    f"model compute with tangents: gg.jvp(y, {name}, v) is a tensor, an output like any other."
                )
        wanted = [name for name in tensors if arguments[name].requires_grad]
        if not wanted or not torch.is_grad_enabled():
            outputs = net(**{**arguments, **{name: arguments[name].detach() for name in wanted}})
            return {name: _tensor(x) for name, x in outputs.items()}
        for name in wanted:
            if name in self._without:
                raise GraphError(
                    f"{name} requires a gradient, and {net.interface.name} was compiled without one by it. "
                    f"Use gg.compile(..., wrt=[{name}, ...]), or give {name}.detach()."
                )
        others = {name: x for name, x in arguments.items() if name not in tensors}
        found = _Call.apply(net, others, tensors, *(arguments[name] for name in tensors))
        return dict(zip((x.name for x in net.interface.outputs), found, strict=True))


def _tensor(x: Any) -> Any:
    """An output as a tensor in the same memory; outputs without axes are NumPy's scalars."""
    return torch.from_numpy(np.asarray(x))


class _Call(torch.autograd.Function):  # type: ignore[misc]  # torch is Any where it is not installed
    """The compiled forward pass, and the compiled backward pass when autograd asks for it."""

    @staticmethod
    def forward(ctx: Any, net: Network, others: Mapping[str, Any], names: Sequence[str], *values: Any) -> Any:
        outputs, saved = net.forward(**others, **dict(zip(names, (x.detach() for x in values), strict=True)))
        ctx.save_for_backward(*values)  # of which nothing is read: autograd finds out who was written to
        ctx.net, ctx.saved, ctx.names = net, saved, names
        ctx.set_materialize_grads(False)
        depend = {x.of for x in net.interface.cotangents}
        found = {name: _tensor(x) for name, x in outputs.items()}
        ctx.mark_non_differentiable(*(x for name, x in found.items() if name not in depend))
        return tuple(found.values())

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        values = ctx.saved_tensors
        outputs = [x.name for x in ctx.net.interface.outputs]
        given = {name: c.detach() for name, c in zip(outputs, cotangents, strict=True) if c is not None}
        if not given:
            return (None,) * (3 + len(values))
        by_name = ctx.net.backward(ctx.saved, **given)
        gradients = [
            _tensor(by_name[name]) if needed else None
            for name, needed in zip(ctx.names, ctx.needs_input_grad[3:], strict=True)
        ]
        if torch.is_grad_enabled():
            gradients = _Once.apply(ctx.net.interface.name, len(gradients), *gradients, *values, *cotangents)
        return (None, None, None, *gradients)


class _Once(torch.autograd.Function):  # type: ignore[misc]  # torch is Any where it is not installed
    """Gradients that depend on what was given, by a formula that autograd does not have."""

    @staticmethod
    def forward(ctx: Any, name: str, count: int, *gradients: Any) -> Any:
        ctx.name = name
        return gradients[:count]

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        raise GraphError(
            f"PyTorch cannot differentiate the gradient of {ctx.name} again. Let the model hold it: gg.grad(loss, [x]) "
            "is a tensor, an output like any other, and has a gradient."
        )


class Module(torch.nn.Module):  # type: ignore[misc]  # torch is Any where it is not installed
    """The network as a module that owns its parameters, for PyTorch's optimisers.

    `module(x=...)` takes the inputs by name and returns the outputs by name. Parameters have the names of the model;
    what the network has no gradient by, and states, are buffers.

        module = Module(net)
        optimizer = torch.optim.Adam(module.parameters())
        module(x=x, y=y)["loss"].backward()
        optimizer.step()

    It pickles with its network, by `torch.save` and into other processes too.

    Args:
        net: sizes of parameters must be known.
        seed: of the initial values, which are those of `net.init(seed)`.

    Raises:
        GraphError: a parameter has the name of an attribute of `torch.nn.Module`.
        ShapeError: as `net.init`.
    """

    def __init__(self, net: Network, seed: int = 0) -> None:
        super().__init__()
        self._call = wrap(checked_network(net, "Module"))
        by = {x.of for x in net.interface.fields["g"]}
        initial = net.init(seed)
        self._names = list(initial)
        for name, x in initial.items():
            if hasattr(self, name):
                raise GraphError(
                    f"torch.nn.Module has an attribute {name} of its own. Rename the parameter, or use wrap(net)."
                )
            if name in by:
                self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(x)))
            else:
                self.register_buffer(name, torch.from_numpy(x))

    def forward(self, /, **inputs: Any) -> dict[str, Any]:
        """Outputs by name, tensors; the inputs are what `wrap` takes."""
        return self._call(**inputs, **{name: getattr(self, name) for name in self._names})
