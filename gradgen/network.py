"""The user's entry: from tensors to a compiled network.

In: outputs, and optionally updates. Out: a `Network` that checks its arguments and calls the emitted functions.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradgen import env
from gradgen.emit import store
from gradgen.emit.cpu_module import render_module
from gradgen.emit.module import load_module
from gradgen.errors import BindingError, GraphError, OptionError, ShapeError
from gradgen.graph.fingerprint import fingerprint
from gradgen.graph.nodes import Leaf, Node, all_inputs, same_shape, show_shape, toposort
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor
from gradgen.nn.init import initialiser_of
from gradgen.options import Options
from gradgen.passes.stabilize import RULES
from gradgen.pipeline import Compiled, Model, compile_model
from gradgen.runtime.bindings import Array
from gradgen.runtime.calls import Caller, Plan, Room, RoomPool
from gradgen.runtime.interface import Interface, evaluate_size, interface_of
from gradgen.watch import Watch


def compile(  # noqa: A001  # gg.compile, as in the design
    outputs: Mapping[str, Tensor] | Tensor,
    *,
    name: str = "model",
    wrt: Sequence[Tensor] | None = None,
    updates: Mapping[Tensor, Tensor] | None = None,
    loss: str | None = None,
    target: str = "cpu",
    dtype: str = "float32",
    sizes: Mapping[str, int] | None = None,
    skip: Iterable[str] = (),
) -> "Network":
    """Compile tensors and their gradients to a module of Numba functions.

    Args:
        outputs: tensors by name; a single tensor is called "y".
        name: a Python identifier, the name of the generated module.
        wrt: the leaves whose gradients are wanted; all float parameters by default.
        updates: new values of parameters and states, for `step`.
        loss: the scalar output that `value_and_grad` differentiates; the only float scalar by default.
        target: "cpu".
        dtype: what float32 becomes, "float32" or "float64".
        sizes: numbers for size symbols.
        skip: rewrites for stability that are left out, by the names that `explain` gives them. Gradients that `gg.grad`
            has taken already are not concerned.

    Raises:
        GraphError: two leaves of one name, or a gradient that is not defined.
        OptionError: an option with a value that it cannot have.
    """
    named = {"y": outputs} if isinstance(outputs, Tensor) else dict(outputs)
    if not named:
        raise GraphError("there is nothing to compile: give at least one output")
    for key in (*named, name):
        if not key.isidentifier():
            raise GraphError(f"{key!r} is no identifier: names of outputs and modules become Python names")
    if target != "cpu":
        raise OptionError(f"target={target!r} is not available for whole networks: use target='cpu'")
    if unknown := sorted(set(skip) - set(RULES)):
        raise OptionError(f"skip={unknown[0]!r} is no rewrite: those are {', '.join(RULES)}")
    options = Options("cpu", dtype, dict(sizes or {}), frozenset(skip))
    nodes = {key: t.node for key, t in named.items()}
    changed = {_leaf(t): new.node for t, new in (updates or {}).items()}
    for x, new in changed.items():
        if not same_shape(x.shape, new.shape) or x.dtype != new.dtype:
            raise ShapeError(
                f"the update of {x.name} is {new.dtype} {show_shape(new.shape)}, and {x.name} is "
                f"{x.dtype} {show_shape(x.shape)}. They must be equal."
            )
    leaves = _leaves([*nodes.values(), *changed.values(), *changed])
    params = [x for x in leaves if x.role == "param" and x.dtype in FLOATS]
    wanted = [_leaf(t) for t in wrt] if wrt is not None else params
    scalars = [key for key, node in nodes.items() if not node.shape and node.dtype in FLOATS]
    if loss is not None and loss not in scalars:
        raise GraphError(f"loss={loss!r} is not a float scalar output; those are {', '.join(scalars) or 'none'}")
    chosen = loss if loss is not None else scalars[0] if len(scalars) == 1 else None
    if wrt is not None:
        below = set(toposort(list(nodes.values()), all_inputs))
        for x in wanted:
            if x not in below:
                raise GraphError(f"no output depends on {x.name}: leave it out of wrt, or use it in an output")
    _refuse_names(leaves, wanted, nodes)
    model = Model(name, nodes, tuple(x for x in wanted), chosen, changed)
    return Network(model, options, leaves)


def _leaf(t: Tensor) -> Leaf:
    if not isinstance(t, Tensor) or not isinstance(t.node, Leaf):
        raise GraphError("wrt and updates name declared tensors: gg.input, gg.param or gg.state")
    return t.node


def _refuse_names(leaves: Sequence[Leaf], wanted: Sequence[Leaf], outputs: Mapping[str, Node]) -> None:
    """One name is one value: no output is called as an argument is, and none of the user's tensors as a derivative.

    The gradient of x and the cotangent of an output x are called d_x.
    """
    for x in leaves:
        if outputs.get(x.name, x) is not x:
            raise GraphError(f"{x.name!r} is the name of an output and of {x.role} {x.name}: use another name")
    differentiated = {f"d_{name}": name for name in (*outputs, *(x.name for x in wanted))}
    for x in leaves:
        if x.name in differentiated:
            raise GraphError(f"{x.name!r} is the name of the derivative by {differentiated[x.name]}: use another name")


def _leaves(roots: Sequence[Node]) -> list[Leaf]:
    """The leaves below the roots, in the order of their declaration; names must differ."""
    found = sorted({n for n in toposort(roots, all_inputs) if isinstance(n, Leaf)}, key=lambda x: x.serial)
    seen: set[str] = set()
    for x in found:
        if x.name in seen:
            raise GraphError(f"two tensors are called {x.name!r}: give every input, parameter and state its own name")
        seen.add(x.name)
    return found


class Saved:
    """What a forward pass keeps for its backward pass: private, good for any number of backward passes."""

    def __init__(self, room: Room, plan: Plan, arguments: dict[str, Any]) -> None:
        self.room = room
        self.plan = plan
        self.arguments = arguments

    def __del__(self) -> None:
        self.plan.free.append(self.room)


class Network:
    """A compiled model. Calls take arrays by name and return dicts of arrays by name.

    `source` is the generated module's text, `module` the imported module. Its functions can be called from other
    `@njit` code, and from Python without any check: `net.module.step(a, b, params, work)`, with
    `params = net.module.Params(...)` and `work = net.module.workspace(...)` made once.
    """

    def __init__(self, model: Model, options: Options, leaves: Sequence[Leaf]) -> None:
        self._model = model
        self._options = options
        self._declared = {x.name: x for x in leaves}
        self._compiled: Compiled | None = None
        key = _key(model, options, leaves)
        known = store.lookup(key) if key else None
        if known is None:
            compiled = self.compiled
            self.source: str = render_module(compiled.program)
            Watch().text(self.source)
            chosen = [compiled.leaves.get(x, x) for x in leaves]
            self.interface = interface_of(
                compiled.program, chosen, compiled.outputs, compiled.updates, options.sizes, compiled.checks
            )
            if key:
                store.remember(key, json.dumps({"source": self.source, "interface": self.interface.as_json()}))
        else:
            data = json.loads(known)
            self.source, self.interface = data["source"], Interface.from_json(data["interface"])
        self._attach(load_module(self.source, model.name))

    def _attach(self, module: ModuleType) -> None:
        self.module = module
        pool = RoomPool(getattr(module, "workspace", None))
        self._entries = {e.name: Caller(self.interface, e, module, pool) for e in self.interface.entries}

    def with_module(self, module: ModuleType) -> "Network":
        """The same network over another module of the same text, such as one that Numba has not compiled."""
        twin = copy.copy(self)
        twin._attach(module)
        return twin

    # ------------------------------------------------------------ calls

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        """Outputs by name: arrays, and NumPy scalars for outputs without axes."""
        self._refuse_outside(arguments)
        return self._entries["forward"](arguments)[0]

    def forward(self, **arguments: Any) -> tuple[dict[str, Any], Saved]:
        """The outputs, and what `backward` needs."""
        self._refuse_outside(arguments)
        outputs, room, plan, given = self._entries["forward"].saving(arguments)
        return outputs, Saved(room, plan, given)

    def backward(self, saved: Saved, **cotangents: Any) -> dict[str, Any]:
        """Gradients by parameter name, for cotangents by output name; outputs without one count as zero."""
        caller = self._entries.get("backward")
        if caller is None:
            raise GraphError("this network has no gradient: no output depends on a float parameter or on wrt")
        known = {x.name: x for x in self.interface.outputs if x.dtype in FLOATS}
        wrong = [key for key in cotangents if key not in known]
        if wrong:
            raise BindingError(f"backward: no float output is called {', '.join(wrong)}. Those are {', '.join(known)}.")
        self._refuse_outside(saved.arguments)
        given = dict(saved.arguments)
        for x in self.interface.cotangents:
            name = x.name[2:]
            shape = tuple(evaluate_size(extent, saved.plan.sizes) for extent in x.shape)
            value = cotangents.get(name)
            array = np.zeros(shape, x.dtype) if value is None else np.asarray(value, dtype=x.dtype, order="C")
            if array.shape != shape:
                raise ShapeError(f"the cotangent of {name} has shape {array.shape}, the output {shape}.")
            given[x.name] = array[()] if x.by_value else array
        return caller.with_saved(given, saved.room)

    def value_and_grad(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs by name, and the gradient of the scalar output by parameter name."""
        caller = self._entries.get("value_and_grad")
        if caller is None:
            raise GraphError(
                "value_and_grad needs exactly one float scalar output that depends on a parameter; "
                'name it with gg.compile(..., loss="...")'
            )
        self._refuse_outside(arguments)
        return caller(arguments)

    def step(self, state: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
        """One training step: outputs at the old values; `state` (from `init`) is updated in place."""
        caller = self._entries.get("step")
        if caller is None:
            raise GraphError("this network has no updates: gg.compile(..., updates=gg.optim.sgd(loss, lr=0.1))")
        self._refuse_outside({**state, **arguments})
        return caller({**state, **arguments})[0]

    def _refuse_outside(self, arguments: Mapping[str, Any]) -> None:
        """What only the formulas know: whether a computed subscript stays inside its axis."""
        if "check" in self._entries:
            self._entries["check"].refuse_outside(arguments)

    def init(self, seed: int = 0) -> dict[str, Array]:
        """Initial parameters and states by name, from a NumPy generator with this seed."""
        generator = np.random.default_rng(seed)
        found: dict[str, Array] = {}
        for x in self.interface.leaves:
            if x.role != "input":
                shape = tuple(evaluate_size(extent, self._options.sizes) for extent in x.shape)
                chosen = initialiser_of(self._declared[x.name])
                found[x.name] = np.asarray(chosen.draw(generator, shape, x.dtype))
        return self.stack(found)

    def stack(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The same values by the same names; those of equal layers as rows of one array, as `step` needs them."""
        found = dict(arrays)
        for x in self.interface.stacks:
            names = [f.name for f in self.interface.fields[x.holder][x.at : x.at + x.count]]
            if all(name in found for name in names):
                found |= zip(names, np.stack([found[name] for name in names]), strict=True)
        return found

    # ------------------------------------------------------------ inspection

    @property
    def model(self) -> Model:
        """What was declared: outputs, gradients wanted, updates."""
        return self._model

    @property
    def options(self) -> Options:
        """What the compilation was told: target, dtype, sizes."""
        return self._options

    @property
    def compiled(self) -> Compiled:
        """The program, and the graphs it came from; a network found in the cache runs the passes here."""
        if self._compiled is None:
            self._compiled = compile_model(self._model, self._options)
        return self._compiled

    def compiled_with(self, dtype: str | None = None, sizes: Mapping[str, int] | None = None) -> "Network":
        """The same model compiled again, in another float dtype or with more sizes known."""
        old = self._options
        options = Options(old.target, dtype or old.dtype, {**old.sizes, **(sizes or {})}, old.skip)
        return Network(self._model, options, list(self._declared.values()))

    def save(self, path: str | Path) -> Path:
        """Write the generated module; it needs numpy, scipy and numba only."""
        path = Path(path)
        path.write_text(self.source, encoding="utf-8")
        return path

    def explain(self) -> str:
        """What was fused, inlined, stored and contracted, entry by entry, with the reason for each."""
        lines: list[str] = []
        for entry in self.interface.entries:
            lines.append(f"{entry.name}:")
            lines += [f"  {decision}" for decision in entry.decisions]
        return "\n".join(lines)


def _key(model: Model, options: Options, leaves: Sequence[Leaf]) -> str:
    """What the text of a model depends on, for the cache; empty while somebody watches the passes."""
    if env.debug() or env.check():
        return ""
    roots = [*model.outputs.values(), *model.updates.values()]
    told = (model.name, model.loss, list(model.outputs), [x.name for x in model.updates], [x.name for x in model.wrt])
    chosen = (options.target, options.dtype, sorted(options.sizes.items()), sorted(options.skip))
    return store.key(repr(told), repr(chosen), repr([x.digest for x in leaves]), fingerprint(roots))
