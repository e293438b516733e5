"""Training on several processes by MPI: every rank has a share of the batch, and all have the same parameters.

In: a compiled training step and a communicator. Out: the same calls for every rank. The step is taken apart into two
networks: gradients of a rank's own share, and updates from gradients that have been averaged.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from traceback import format_exception
from types import TracebackType
from typing import Any, Self

import numpy as np

from gradgen.errors import BindingError, DTypeError, GraphError, OptionError
from gradgen.graph.axes import shown
from gradgen.graph.derivatives import derivative
from gradgen.graph.names import fresh_names
from gradgen.graph.nodes import Leaf, Node, all_inputs, leaf, toposort
from gradgen.graph.scalar import FLOATS, Poly, SizeSymbol
from gradgen.graph.tensor import tensor
from gradgen.interop import checked_network
from gradgen.lang.transforms import grad
from gradgen.model import Model
from gradgen.network import Network
from gradgen.passes.lower.naming import sizes_of
from gradgen.passes.rebuild.nodes import replace_nodes
from gradgen.runtime.bindings import Array

__all__ = ["DataParallel"]


class DataParallel:
    """A training step on all ranks of a communicator.

        with mpi.DataParallel(net) as train:  # net = gg.compile(..., updates=...)
            state = train.init(seed=0)
            for rows in batches:
                mine = rows[train.rank :: train.size]
                out = train.step(state, a=a[mine], b=b[mine], lr=1e-3)
            train.save_state("weights.npz", state)

    Every rank runs all of this. An exception that leaves the `with` block on one rank is printed there and ends all of
    them: the others would wait for it.

    Args:
        net: a network with updates. They read gradients of its loss, states, and inputs without axes, which are equal
            on every rank, such as a step length.
        comm: an mpi4py communicator; all processes by default.
        count: over how many examples the loss of a rank is a mean: a size, or its name, or the name of an output
            without axes. By default the one size that the inputs have; where all sizes are numbers, shares are equal.

    Raises:
        GraphError: the network has no updates or no loss, or an update is made of something else.
        DTypeError: the parameters have two dtypes.
        OptionError: `count` is nothing of that kind, or needed; mpi4py is not installed.
    """

    def __init__(self, net: Network, comm: Any = None, *, count: Any = None) -> None:
        self._net = checked_network(net, "DataParallel")
        self._name = net.interface.name
        self._count = _count(net, count)
        self._apart = taken_apart(net)
        self._in_place, world = _mpi()
        self._comm = world if comm is None else comm
        self.rank: int = self._comm.rank
        self.size: int = self._comm.size
        gradient = self._apart.gradient
        self._means = [x.name for x in net.interface.outputs if not x.shape and x.dtype in FLOATS]
        self._of_update = [x.name for x in self._apart.update.interface.leaves]
        read = toposort(list(gradient.model.outputs.values()), all_inputs)
        self._own = {x.name for x in read if isinstance(x, Leaf)}
        self._own |= {x.name for x in gradient.interface.leaves if x.role == "param"}
        self._known = {x.name for x in net.interface.leaves}
        self._vector: Array = np.empty(0)
        self._views: dict[str, Array] = {}
        self._checked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self.size == 1:
            return
        told = "".join(format_exception(kind, error, trace))
        sys.stdout.flush()
        sys.stderr.write(f"{told}rank {self.rank} of {self.size} has failed, which ends all of them.\n")
        sys.stderr.flush()
        self._comm.Abort(1)
        os._exit(1)  # MPICH's may return, before the others are ended

    def step(self, state: Mapping[str, Any], /, **arguments: Any) -> dict[str, Any]:
        """One training step: `net.step` on the batch of which every rank gives a share.

        Gradients and float outputs without axes are averaged over the ranks, each by the number of its examples; a rank
        may have none. So are next values of states that are computed from inputs with axes, such as running
        statistics. All lie in one vector, and one `Allreduce` adds them up. Other outputs are of the rank's own share.

        Args:
            state: from `init` or `load_state`, updated in place. The first call asks `check`.
            arguments: by name, this rank's share of inputs that have examples.

        Raises:
            BindingError: a name is missing or unknown, ranks differ, or no rank has an example.
            DTypeError, ShapeError: as `net.step` does.
        """
        given = {**state, **arguments}
        unknown = [name for name in given if name not in self._known]
        if unknown or len(given) < len(state) + len(arguments):
            twice = [name for name in arguments if name in state]
            wrong = f"{', '.join(unknown)} unknown" if unknown else f"{', '.join(twice)} given twice"
            raise BindingError(f"{self._name}.step: {wrong}. The state holds what init makes, the rest is by name.")
        if not self._checked:
            self.check(state)
            self._checked = True
        own = {name: x for name, x in given.items() if name in self._own}
        outputs, gradients = self._apart.gradient.value_and_grad(**own)
        self._average(gradients, outputs, self._examples(given, outputs))
        given |= {name: self._views[name] for name in self._apart.inputs.values()}
        self._apart.update.step({name: given[name] for name in self._of_update if name in given})
        for name, following in self._apart.carried.items():
            state[name][...] = self._views[following]
            del outputs[following]
        return outputs | {name: outputs[name].dtype.type(self._views[name]) for name in self._means}

    def _average(self, gradients: Mapping[str, Array], outputs: Mapping[str, Any], count: float) -> None:
        """The views become means over the ranks; the last element adds up what they are divided by."""
        parts = {self._apart.inputs[name]: x for name, x in gradients.items()}
        parts |= {name: outputs[name] for name in (*self._apart.carried.values(), *self._means)}
        if not self._views:
            self._vector, self._views = _one_vector(parts)
        for name, x in parts.items():
            if count:
                np.multiply(x, count, out=self._views[name])
            else:
                self._views[name].fill(0.0)  # the mean of no examples is nan
        self._vector[-1] = count
        self._comm.Allreduce(self._in_place, self._vector)
        if not self._vector[-1]:
            raise BindingError(f"{self._name}.step: no rank has an example. Leave such a step out.")
        self._vector[:-1] /= self._vector[-1]

    def _examples(self, given: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
        """What the means of this rank are worth."""
        if isinstance(self._count, str):
            return float(outputs[self._count])
        if self._count is None:
            return 1.0
        name, axis = self._count
        return float(np.shape(given[name])[axis])

    def check(self, state: Mapping[str, Any]) -> None:
        """Ask all ranks whether their parameters and states are the same, to the last bit; all ranks have to call it.

        Raises:
            BindingError: on every rank, which ranks differ from the first, and where.
        """
        digests = self._comm.allgather({name: _digest(x) for name, x in state.items()})
        first = digests[0]
        differing = [rank for rank, found in enumerate(digests) if found != first]
        if not differing:
            return
        found = digests[differing[0]]
        names = [name for name in {**first, **found} if first.get(name) != found.get(name)]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise BindingError(
            f"{self._name}: rank {' and rank '.join(map(str, differing))} has other values than rank 0, of "
            f"{', '.join(names[:3])}{more}. Begin on every rank with init or load_state of DataParallel."
        )

    def init(self, seed: int = 0) -> dict[str, Array]:
        """`net.init` on the first rank, given to all."""
        return self._from_first(self._net.init(seed) if self.rank == 0 else None)

    def load_state(self, path: str | Path) -> dict[str, Array]:
        """`net.load_state` on the first rank, given to all: the others need not see the file."""
        return self._from_first(self._net.load_state(path) if self.rank == 0 else None)

    def save_state(self, path: str | Path, arrays: Mapping[str, Any]) -> Path:
        """`net.save_state` on the first rank: whole or not at all, so a rank that dies leaves the file before."""
        return self._net.save_state(path, arrays) if self.rank == 0 else Path(path)

    def _from_first(self, arrays: dict[str, Array] | None) -> dict[str, Array]:
        return self._net.stack(self._comm.bcast(arrays))


def _mpi() -> tuple[Any, Any]:
    """What says that an array is sent and received, and the communicator of all processes."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: of mpi4py, where it finds no MPI
        raise OptionError("gradgen.interop.mpi needs two packages: pip install mpi4py mpich.") from error
    return MPI.IN_PLACE, MPI.COMM_WORLD


def _one_vector(parts: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
    """A vector with an element more than the parts have, and its views in their shapes."""
    first = next(iter(parts.values()))
    vector = np.empty(sum(np.size(x) for x in parts.values()) + 1, first.dtype)
    views: dict[str, Array] = {}
    at = 0
    for name, x in parts.items():
        views[name] = vector[at : at + np.size(x)].reshape(np.shape(x))
        at += np.size(x)
    return vector, views


def _digest(x: Any) -> bytes:
    array = np.asarray(x, order="C")
    found = blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=16)
    found.update(array.reshape(-1).view(np.uint8).data)
    return found.digest()


def _count(net: Network, count: Any) -> tuple[str, int] | str | None:
    """An input and its axis, the name of an output, or None for shares that are all alike."""
    inputs = [x for x in net.interface.leaves if x.role == "input"]
    axes = {
        extent: (x.name, axis)
        for x in reversed(inputs)
        for axis, extent in reversed(list(enumerate(x.shape)))
        if extent.isidentifier()
    }
    sizes = sorted(axes)
    if count is None:
        if len(sizes) > 1:
            raise OptionError(
                f"{net.interface.name}: its inputs have the sizes {', '.join(sizes)}. Say which one counts the "
                f'examples of a rank: DataParallel(net, count="{sizes[0]}").'
            )
        return axes[sizes[0]] if sizes else None
    match count:
        case Poly(atoms=(SizeSymbol(name=name),)):
            count = name
    scalars = [x.name for x in net.interface.outputs if not x.shape]
    if count in axes:
        return axes[count]
    if count in scalars:
        return str(count)
    raise OptionError(
        f"{net.interface.name}: count={shown(count)} is no size of an input ({', '.join(sizes) or 'none'}) and no "
        f"output without axes ({', '.join(scalars) or 'none'})."
    )


# ---------------------------------------------------------------- a step in two parts


@dataclass(frozen=True, slots=True)
class Apart:
    """A training step as two networks, with what has to be known in between."""

    gradient: Network  # its value_and_grad also gives the next values of `carried`, as outputs
    update: Network  # its step takes gradients as inputs
    inputs: Mapping[str, str]  # the names of these inputs, by the parameter
    carried: Mapping[str, str]  # states that are made of examples, and the outputs that are their next values


def taken_apart(net: Network) -> Apart:
    """A network with updates as two: gradients become inputs of all that is made of them.

    Nodes are interned, so what the updates read is the very node that differentiating the loss again gives. It is
    replaced by an input, whatever the optimiser does with it.

    Raises:
        GraphError: there are no updates, or one depends on inputs with axes otherwise than through these gradients.
        DTypeError: the parameters have two dtypes.
    """
    model = net.model
    if not model.updates:
        raise GraphError(f"{model.name} has no updates: gg.compile(..., updates=gg.optim.sgd(loss, lr=0.1)).")
    if model.loss is None:
        raise GraphError(f'{model.name} has no loss: choose an output with gg.compile(..., loss="...").')
    below = set(toposort([model.outputs[model.loss]]))
    wrt = [x for x in model.wrt if x in below]
    if len({x.dtype for x in wrt}) > 1:
        several = " and ".join(f"{x.name} {x.dtype}" for x in {x.dtype: x for x in wrt}.values())
        raise DTypeError(f"{model.name}: gradients are averaged in one vector of one dtype, not {several}.")
    taken = {x.name for x in toposort(model.roots, all_inputs) if isinstance(x, Leaf)}
    taken |= {*model.outputs, *sizes_of(model.roots)}
    inputs = fresh_names({x: f"d_{x.name}" for x in wrt}, taken)
    following = fresh_names({x: f"{x.name}_next" for x in model.updates}, taken)
    updates, carried = _sorted(model, wrt, inputs)
    gradient = net
    if carried:
        outputs = {**model.outputs, **{following[x]: new for x, new in carried.items()}}
        gradient = Network(Model(model.name, outputs, model.wrt, model.loss), net.options)
    return Apart(
        gradient,
        Network(Model(f"{model.name}_update", {}, (), None, updates), net.options),
        {x.name: inputs[x] for x in wrt},
        {x.name: following[x] for x in carried},
    )


def _sorted(model: Model, wrt: Sequence[Leaf], inputs: Mapping[Leaf, str]) -> tuple[dict[Leaf, Node], dict[Leaf, Node]]:
    """Updates that are made of gradients, which are inputs now, and those that are made of examples."""
    assert model.loss is not None
    loss = tensor(model.outputs[model.loss])
    cuts: dict[Node, Node] = {}
    for t, x in zip(grad(loss, [tensor(x) for x in wrt]) if wrt else [], wrt, strict=True):
        cuts.setdefault(t.node, leaf(inputs[x], x.shape, x.dtype, "input"))
    averaged = set(cuts.values())
    updates: dict[Leaf, Node] = {}
    carried: dict[Leaf, Node] = {}
    for x, new in zip(model.updates, replace_nodes(list(model.updates.values()), cuts), strict=True):
        reads = toposort([new], all_inputs)
        examples = [n for n in reads if isinstance(n, Leaf) and n.role == "input" and n.shape and n not in averaged]
        differentiated = any(n in averaged or derivative(n) is not None for n in reads)
        if not examples:
            updates[x] = new
        elif x.role == "state" and x.dtype in FLOATS and not differentiated:
            carried[x] = model.updates[x]
        else:
            raise GraphError(
                f"{model.name}: the update of {x.name} depends on {examples[0].name} otherwise than through gradients "
                f"of {model.loss}, so it would differ from rank to rank. Make it of these, as gg.optim does."
            )
    return updates, carried
