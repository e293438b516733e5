"""A compiled network inside JAX: a function that `jit`, `grad` and `vmap` take.

In: a `Network`. Out: what takes arrays by name and returns arrays by name. JAX calls the compiled functions back, in
float64 where JAX has it, with integers of 32 bits where JAX has no others.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from gradgen.errors import GraphError, OptionError
from gradgen.graph.scalar import FLOATS
from gradgen.interop import checked_network
from gradgen.network import Network
from gradgen.runtime.bindings import bind_sizes, check_fits, check_names
from gradgen.runtime.interface import Argument, evaluate_shape

__all__ = ["wrap"]

Arrays = dict[str, Any]


def wrap(net: Network) -> Callable[..., Arrays]:
    """The network as a function of JAX's arrays that `jit`, `grad` and `vmap` take.

    Args:
        net: gradients are taken by what it was compiled for: all float parameters, or `wrt`.

    Returns:
        A function: arguments by name, as for `net(...)`; outputs by name, arrays of the dtypes and shapes that the
        model declares. A float64 network needs `jax_enable_x64`. Without it integers have 32 bits in JAX; they are
        taken for int64, and given for it. `vmap` calls the network for one element after the other. The gradient of a
        network whose only differentiable output is its loss is computed beside its value; that of any other calls
        `net.forward` once more, because JAX has no place for what it saves.

        Arrays of another dtype are taken as `net(...)` takes them where every value of theirs passes: bool, float16
        and smaller integers. Of what a trace stands for no value is known, so other integers are refused for floats,
        and large ones for small ones, which `net(...)` takes if no value is too large.

    The function raises, when it is traced:
        GraphError: a gradient by what the network has none by; or a gradient is differentiated again.
        OptionError: a float64 network while JAX has 32 bits.
        BindingError, DTypeError, ShapeError: as `net(...)`; what depends on values is an error of the callback.
    """
    bridge = _Bridge(checked_network(net, "wrap"))

    def call(**arguments: Any) -> Arrays:
        found: Arrays = bridge.call(bridge.declared(arguments))
        return found

    return call


class _Bridge:
    """The network as functions of one dict of arrays, which JAX differentiates by the rule that is given here."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.interface = net.interface
        self.leaves = {x.name: x for x in self.interface.leaves}
        self.by = [x.of for x in self.interface.fields["g"]]
        of = {x.of for x in self.interface.cotangents}
        self.depend = {x.name: x.shape for x in self.interface.outputs if x.name in of}
        entries = {x.name for x in self.interface.entries}
        self.has_loss_only = list(self.depend.values()) == [()] and "value_and_grad" in entries
        self.call = jax.custom_vjp(self.outputs)
        self.call.defvjp(self.forward, self.backward, symbolic_zeros=True)
        self.at_once = _once(self.outputs_and_gradients, self.interface.name)
        self.gradients = _once(self.gradients_of, self.interface.name)

    def declared(self, given: Mapping[str, Any]) -> Arrays:
        """The arguments as arrays of JAX, checked as far as they can be without their values."""
        optional = self.interface.optional(self.interface.entry("forward"))
        needed = [name for name in self.leaves if name not in optional]
        check_names(given, needed, f"{self.interface.name}.forward", optional)
        dtypes = {x.dtype for x in (*self.leaves.values(), *self.interface.outputs)}
        if "float64" in dtypes and not jax.config.jax_enable_x64:
            raise OptionError(
                f"{self.interface.name} is compiled for float64, and JAX has 32 bits. Call "
                'jax.config.update("jax_enable_x64", True), or use gg.compile(..., dtype="float32").'
            )
        strict = self.net.options.strict
        found = {name: _as_jax(x, given[name], strict) for name, x in self.leaves.items() if name in given}
        sizes = self.sizes(found)
        for name, array in found.items():
            check_fits(replace(self.leaves[name], dtype=str(_dtype(self.leaves[name]))), array, sizes, own=False)
        return found

    def sizes(self, given: Arrays) -> dict[str, int]:
        return bind_sizes([x for x in self.leaves.values() if x.name in given], given, self.interface.sizes)

    # ------------------------------------------------------------ what JAX traces

    def outputs(self, given: Arrays) -> Any:
        return _called(lambda given: self.net(**self.numbers(given)), self.shapes(given), given)

    def outputs_and_gradients(self, given: Arrays) -> Any:
        shapes = self.shapes(given), self.shapes_of_gradients(given)
        return _called(lambda given: self.net.value_and_grad(**self.numbers(given)), shapes, given)

    def gradients_of(self, given: Arrays, cotangents: Arrays) -> Any:
        return _called(self.both_passes, self.shapes_of_gradients(given), given, cotangents)

    def forward(self, given: Arrays) -> tuple[Arrays, Any]:
        """Outputs, and for the backward pass the gradients of the loss, or the arguments where there are others."""
        for name, x in given.items():
            if x.perturbed and name not in self.by and self.leaves[name].dtype in FLOATS:
                raise GraphError(
                    f"JAX wants a gradient by {name}, and {self.interface.name} was compiled without one. "
                    f"Use gg.compile(..., wrt=[{name}, ...]), or give jax.lax.stop_gradient({name})."
                )
        values = {name: x.value for name, x in given.items()}
        if self.has_loss_only:
            outputs, gradients = self.at_once(values)
            return outputs, {name: gradients.get(name) for name in values}
        return self.call(values), values

    def backward(self, kept: Any, cotangents: Arrays) -> tuple[Arrays]:
        """Gradients by name; None stands for zero."""
        known = {name: c for name, c in cotangents.items() if not isinstance(c, SymbolicZero) and name in self.depend}
        if not known:
            return (dict.fromkeys(kept),)
        if self.has_loss_only:
            (cotangent,) = known.values()
            return ({name: None if x is None else cotangent * x for name, x in kept.items()},)
        gradients = self.gradients(kept, known)
        return ({name: gradients.get(name) for name in kept},)

    # ------------------------------------------------------------ what JAX calls back

    def numbers(self, given: Arrays) -> Arrays:
        """Arrays of JAX as the network takes them; those without axes are numbers."""
        found = {name: np.asarray(x, self.leaves[name].dtype) for name, x in given.items()}
        return {name: x[()] if self.leaves[name].by_value else x for name, x in found.items()}

    def both_passes(self, given: Arrays, cotangents: Arrays) -> Arrays:
        _, saved = self.net.forward(**self.numbers(given))
        return self.net.backward(saved, **{name: np.asarray(c) for name, c in cotangents.items()})

    def shapes(self, given: Arrays) -> Arrays:
        sizes = self.sizes(given)
        return {x.name: _shape(x, sizes) for x in self.interface.outputs}

    def shapes_of_gradients(self, given: Arrays) -> Arrays:
        sizes = self.sizes(given)
        return {name: _shape(self.leaves[name], sizes) for name in self.by}


def _dtype(x: Argument) -> Any:
    """What JAX has for a dtype: 32 bits, unless it is told otherwise."""
    return jax.dtypes.canonicalize_dtype(x.dtype)


def _shape(x: Argument, sizes: Mapping[str, int]) -> Any:
    return jax.ShapeDtypeStruct(evaluate_shape(x.shape, sizes), _dtype(x))


def _as_jax(x: Argument, value: Any, strict: bool) -> Any:
    """The argument as an array of JAX, in the declared dtype where that may be said by the dtype that it has.

    Python's numbers are weaker than the declared dtype. Of other arrays the declared one has to hold every value that
    theirs can have; what they do have, by which `runtime.bindings.widened` takes more, is unknown to a trace.
    """
    array = jnp.asarray(value)
    if array.weak_type or not hasattr(value, "dtype"):
        passes = np.can_cast(array.dtype, _dtype(x), "same_kind")
    else:
        passes = not strict and array.dtype.kind in "biuf" and np.can_cast(array.dtype, _dtype(x), "safe")
    return array.astype(_dtype(x)) if passes else array


def _called(function: Callable[..., Any], shapes: Any, *given: Any) -> Any:
    """What a function of NumPy's arrays returns for these, in the dtypes that JAX expects."""

    def call(*given: Any) -> Any:
        return jax.tree.map(lambda x, shape: np.asarray(x, shape.dtype), function(*given), shapes)

    return jax.pure_callback(call, shapes, *given, vmap_method="sequential")


def _once(function: Callable[..., Any], name: str) -> Any:
    """The function, with an error where JAX wants to differentiate it."""

    def refuse(*given: Any) -> Any:
        raise GraphError(
            f"JAX cannot differentiate the gradient of {name} again. Let the model hold it: gg.grad(loss, [x]) is a "
            "tensor, an output like any other, and has a gradient."
        )

    once = jax.custom_vjp(function)
    once.defvjp(refuse, refuse)
    return once
