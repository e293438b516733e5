"""A compiled network inside SciPy: functions of one vector, for `minimize` and `least_squares`.

In: a `Network`, and its arguments by name. Out: values and derivatives in float64, by the elements of a vector that
holds whatever the network has gradients by; and the vector as arrays by name again.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradgen.compiling import compile
from gradgen.errors import BindingError, GraphError, ShapeError
from gradgen.graph.nodes import toposort
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import tensor
from gradgen.interop import checked_network
from gradgen.lang.jacobians import jacobian
from gradgen.network import Network
from gradgen.runtime.bindings import Array
from gradgen.runtime.parameters import differentiated

__all__ = ["Objective", "Residuals", "objective", "residuals"]


def objective(net: Network, arrays: Mapping[str, Any]) -> "Objective":
    """A loss and its gradient as a function of one vector.

        loss = objective(net, {**data, **net.init()})
        found = scipy.optimize.minimize(loss, loss.start, jac=True, method="L-BFGS-B")
        params = loss.arrays(found.x)

    Args:
        net: the vector holds what its gradients are taken by: all float parameters, or `wrt`. Steps of an optimiser end
            where the dtype does: use float64 for more than five digits.
        arrays: all arguments by name; those in the vector are where it starts.

    Raises:
        GraphError: the network has no scalar output with a gradient.
        BindingError, DTypeError, ShapeError: as `net.flatten`; as `net.value_and_grad` when it is called.
    """
    net = checked_network(net, "objective")
    if all(x.name != "value_and_grad" for x in net.interface.entries):
        raise GraphError(f"{net.interface.name}.value_and_grad: {net.interface.without_gradient(net.model.loss)}")
    return Objective(net, arrays)


def residuals(net: Network, output: str, arrays: Mapping[str, Any]) -> "Residuals":
    """An output as residuals, and its Jacobian, as functions of one vector.

        errors = residuals(net, "errors", {**data, **net.init()})
        found = scipy.optimize.least_squares(errors, errors.start, jac=errors.jacobian)
        params = errors.arrays(found.x)

    The Jacobian is `gg.jacobian` of the output, compiled here, which takes as long as compiling the network did, unless
    the cache has it. It goes forward, a derivative for every element of the vector, where those are fewer than the
    residuals, else backward, a derivative for every residual: a call costs about as many times the network, and has
    room for as many rows of whatever the derivatives need. Residuals are computed by the network itself.

    Args:
        net: the vector holds what its gradients are taken by: all float parameters, or `wrt`.
        output: its name; all its elements are residuals.
        arrays: all arguments by name; those in the vector are where it starts.

    Raises:
        BindingError: no float output of this name; else as `net.flatten`.
        GraphError: the output depends on nothing that is in the vector.
        DTypeError, ShapeError: as `net.flatten`, and as `net(...)`, which is called once.
    """
    known = [x.name for x in checked_network(net, "residuals").interface.outputs if x.dtype in FLOATS]
    if not isinstance(output, str) or output not in known:
        what = output if isinstance(output, str) else f"a {type(output).__name__}"
        raise BindingError(f"residuals: no float output is called {what}. Those are {', '.join(known)}.")
    return Residuals(net, output, arrays)


class _OfVector:
    """The network with its arguments, of which one vector holds those that gradients are taken by."""

    def __init__(self, net: Network, arrays: Mapping[str, Any]) -> None:
        names = differentiated(net.interface)
        self._net = net
        self._vector, self._inside = net.flatten({name: arrays[name] for name in names if name in arrays})
        self._arguments = {**arrays, **self._inside}
        self.start: Array = self._vector.astype(np.float64)

    def arrays(self, x: Array) -> dict[str, Array]:
        """What the vector holds, by name: arrays of their own, in the dtype and the shapes that the model declares."""
        self._take(x)
        return {name: value.copy() for name, value in self._inside.items()}

    def _take(self, x: Array) -> None:
        if np.shape(x) != self._vector.shape:
            raise ShapeError(f"the vector has {self._vector.size} elements, and not the shape {np.shape(x)}.")
        self._vector[:] = x


class Objective(_OfVector):
    """What `objective` makes: `start` is where the vector starts, `arrays(x)` what is in it, by name."""

    def __init__(self, net: Network, arrays: Mapping[str, Any]) -> None:
        super().__init__(net, arrays)
        self._loss = str(net.model.loss)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """The loss and its gradient."""
        self._take(x)
        outputs, gradients = self._net.value_and_grad(**self._arguments)
        rows = [gradients[name].ravel() for name in self._inside]
        return float(outputs[self._loss]), np.concatenate(rows, dtype=np.float64)


class Residuals(_OfVector):
    """What `residuals` makes: `start` is where the vector starts, `arrays(x)` what is in it, by name."""

    def __init__(self, net: Network, output: str, arrays: Mapping[str, Any]) -> None:
        super().__init__(net, arrays)
        self._output = output
        self._count = self(self.start).size
        y, told = tensor(net.model.outputs[output]), net.options
        below = toposort([y.node])
        self._by = {x.name: f"{output}_by_{x.name}" for x in net.model.wrt if x in below}
        if not self._by:
            raise GraphError(f"residuals: {output} depends on none of {', '.join(self._inside)}.")
        leaves = [tensor(x) for x in net.model.wrt if x.name in self._by]
        mode = "forward" if self._vector.size < self._count else "reverse"
        rows = dict(zip(self._by.values(), jacobian(y, leaves, mode, skip=told.skip), strict=True))
        self._derivatives = compile(
            {output: y, **rows},  # beside the output, whose arguments tell all sizes
            name=f"{net.interface.name}_jacobian",
            wrt=[],
            target=told.target,
            dtype=told.dtype,
            sizes=told.sizes,
            skip=told.skip,
            strict=told.strict,
            deterministic=told.deterministic,
        )
        self._read = [x.name for x in self._derivatives.interface.leaves]

    def __call__(self, x: Array) -> Array:
        """The residuals, as one vector."""
        self._take(x)
        found: Array = np.asarray(self._net(**self._arguments)[self._output], np.float64).ravel()
        return found

    def jacobian(self, x: Array) -> Array:
        """The derivative of every residual by every element of the vector: a row for each residual."""
        self._take(x)
        outputs = self._derivatives(**{name: self._arguments[name] for name in self._read})
        found = np.zeros((self._count, self._vector.size))
        end = 0
        for name, value in self._inside.items():
            start, end = end, end + value.size
            if name in self._by:
                found[:, start:end] = outputs[self._by[name]].reshape(self._count, value.size)
        return found
