"""A model compiled, and evaluated three ways: by the interpreter, by the emitted file as plain Python, and jitted.

In: the name of a model and a dtype. Out: a `Case`, one per process, because Numba's compilation is what takes time.
"""

import sys
import types
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

import gradgen as gg
from gradgen.graph.nodes import Leaf, Node, leaf
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from gradgen.passes.prepare.retarget import retarget
from tests.cpu.models import BY_NAME, Arrays, leaves_of

# How far two ways of computing one number may be apart, as a fraction of the largest number of its array.
TOLERANCE = {"float32": 4e-5, "float64": 1e-11}
# The same for a central difference with this step, along a random direction; it is taken in float64 only.
DIFFERENCE_STEP, DIFFERENCE_TOLERANCE = 1e-5, 1e-7


def assert_close(found: Any, wanted: Any, dtype: str, what: str = "") -> None:
    """Shapes equal, nan and infinities equal, numbers within the tolerance of the dtype; integers and bools equal."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted, err_msg=what)
        return
    finite = np.abs(wanted[np.isfinite(wanted)], dtype=np.float64)
    tolerance = TOLERANCE[dtype] * max(finite.max(initial=0.0), 1e-30)
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE[dtype], atol=tolerance, err_msg=what)


class StrictNumpy:
    """NumPy, but for products into an operand: NumPy copies what overlaps, and BLAS in compiled code does not."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def dot(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        assert not np.may_share_memory(a, out), "a product is written over its left operand"
        assert not np.may_share_memory(b, out), "a product is written over its right operand"
        return np.dot(a, b, out)


def unjitted_module(source: str, name: str = "unjitted") -> types.ModuleType:
    """The emitted text as NUMBA_DISABLE_JIT=1 would import it: its decorators do nothing."""

    def njit(function: Any = None, **options: object) -> Any:
        return function if function is not None else lambda plain: plain

    numba = types.ModuleType("numba")
    vars(numba).update(njit=njit, prange=range, get_num_threads=lambda: 3)
    module = types.ModuleType(name)
    true = sys.modules["numba"]
    sys.modules["numba"] = numba
    try:
        exec(compile(source, f"<{name}>", "exec", dont_inherit=True), vars(module))
    finally:
        sys.modules["numba"] = true
    vars(module)["np"] = StrictNumpy()
    return module


def unjitted(net: Network) -> Network:
    """The same network with its emitted functions as plain Python, and workspaces of its own."""
    return net.with_module(unjitted_module(net.source))


def through_entry_points(net: Network) -> Network:
    """The same network, called by its jitted entry points, as other jitted code calls them."""
    twin = net.with_module(net.module)
    for caller in twin._entries.values():
        caller._is_direct = False
    return twin


SIGNALS = {"float64": (np.uint64, 0x7FF0000000000001), "float32": (np.uint32, 0x7F800001)}


class Guarded:
    """Arrays of `np.empty` between values that nobody may write.

    Floats are signalling nans, which are other nans once anything is added to them, 0 too.
    """

    def __init__(self) -> None:
        self.whole: list[tuple[np.ndarray, int, bytes]] = []
        self.make = np.empty

    def empty(self, shape: Any, dtype: Any = float) -> np.ndarray:
        inner = self.make(shape, dtype)
        margin = max(64, inner.size)
        whole = np.full(inner.size + 2 * margin, 1, inner.dtype)
        if inner.dtype.name in SIGNALS:
            bits, signal = SIGNALS[inner.dtype.name]
            whole.view(bits).fill(signal)
        self.whole.append((whole, margin, whole[:margin].tobytes()))
        return whole[margin : margin + inner.size].reshape(shape)

    def check(self) -> None:
        assert self.whole
        for whole, margin, before in self.whole:
            assert whole[:margin].tobytes() == before, "something was written before the beginning of an array"
            assert whole[-margin:].tobytes() == before, "something was written behind the end of an array"


def filled(work: Any) -> Any:
    """What another call may have left: nothing that a sum would not show."""
    for x in work:
        x[...] = 7
    return work


class Case:
    """A model in one dtype: the network with the gradients of all floats, its twin without Numba, its arrays."""

    def __init__(self, name: str, dtype: str) -> None:
        self.model = BY_NAME[name]
        self.dtype = dtype
        outputs = self.model.build()
        leaves = leaves_of(outputs)
        floats = [x for x in leaves if x.dtype in FLOATS]
        self.net: Network = gg.compile(
            outputs, name=name, dtype=dtype, loss=self.model.loss, wrt=[tensor(x) for x in floats]
        )
        self.names = list(outputs)
        nodes, mapped = retarget([y.node for y in outputs.values()], dtype, {})
        self.nodes = dict(zip(outputs, nodes, strict=True))
        self.leaves = [mapped.get(x, x) for x in leaves]
        self.wrt = [mapped.get(x, x) for x in floats]
        self.arrays: Arrays = self.model.arrays(self.leaves)

    @cached_property
    def plain(self) -> Network:
        return unjitted(self.net)

    @cached_property
    def jitted_entries(self) -> Network:
        return through_entry_points(self.net)

    def network(self, way: str) -> Network:
        """How it is called: `plain`, its functions `jitted`, or its jitted `entries`."""
        return {"plain": self.plain, "jitted": self.net, "entries": self.jitted_entries}[way]

    @cached_property
    def outputs(self) -> Arrays:
        """What the interpreter gives for `arrays`."""
        return self.reference(self.arrays)

    @cached_property
    def cotangents(self) -> Arrays:
        return self.cotangents_of(self.outputs)

    @cached_property
    def gradients(self) -> Arrays:
        """What the interpreter gives for the gradient at `arrays` and `cotangents`."""
        return self.reference_gradients(self.arrays, self.cotangents)

    def cotangents_of(self, outputs: Mapping[str, Any], skip: Sequence[str] = ()) -> Arrays:
        """A random array for every float output; zeros for those in `skip`."""
        rng = np.random.default_rng(1)
        found: Arrays = {}
        for key in self.names:
            y = np.asarray(outputs[key])
            if y.dtype.kind == "f":
                drawn = rng.standard_normal(y.shape).astype(y.dtype)
                found[key] = np.zeros_like(y) if key in skip else np.asarray(drawn)
        return found

    def reference(self, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int] | None = None) -> Arrays:
        values = {x: arrays[x.name] for x in self.leaves}
        found = interpret(list(self.nodes.values()), values, self.model.sizes if sizes is None else sizes)
        return dict(zip(self.names, found, strict=True))

    def reference_gradients(
        self, arrays: Mapping[str, np.ndarray], cotangents: Mapping[str, np.ndarray], sizes: Any = None
    ) -> Arrays:
        seeds = {key: seed(self.nodes[key], f"d_{key}") for key in cotangents}
        given = [tensor(x) for x in seeds.values()]
        found = [g.node for g in gg.vjp([tensor(self.nodes[key]) for key in seeds], self._floats, given)]
        values = {x: arrays[x.name] for x in self.leaves}
        values |= {x: cotangents[key] for key, x in seeds.items()}
        numbers = interpret(found, values, self.model.sizes if sizes is None else sizes)
        return {x.name: g for x, g in zip(self.wrt, numbers, strict=True)}

    def tangents(self, directions: Mapping[str, np.ndarray], of: Sequence[str]) -> Arrays:
        """The derivative of outputs along a direction, by the interpreter in forward mode."""
        seeds = [seed(x, f"v_{x.name}") for x in self.wrt]
        pushed = gg.jvp([tensor(self.nodes[key]) for key in of], self._floats, [tensor(v) for v in seeds])
        found = [t.node for t in pushed]
        values = {x: self.arrays[x.name] for x in self.leaves}
        values |= {v: directions[x.name] for v, x in zip(seeds, self.wrt, strict=True)}
        return dict(zip(of, interpret(found, values, self.model.sizes), strict=True))

    @property
    def _floats(self) -> list[Tensor]:
        return [tensor(x) for x in self.wrt]


def seed(like: Node, name: str) -> Leaf:
    return leaf(name, like.shape, like.dtype, "input")


@cache
def case(name: str, dtype: str) -> Case:
    """The case of a model, compiled once per process."""
    return Case(name, dtype)
