"""The user's entry: from tensors to a compiled network.

In: outputs, and optionally updates. Out: a `Network` that checks its arguments and calls the emitted functions.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal, Never, NoReturn

import numpy as np

from gradgen import env
from gradgen.asked import asked_model, asked_options, leaves_of
from gradgen.emit import store
from gradgen.emit.cpu_module import render_module
from gradgen.emit.module import load_module
from gradgen.errors import BindingError, GraphError, OptionError
from gradgen.files import save_file
from gradgen.first_values import first_values
from gradgen.graph.constants import numbers_of
from gradgen.graph.fingerprint import fingerprint
from gradgen.graph.nodes import Leaf
from gradgen.graph.tensor import Tensor
from gradgen.inspect.arguments import Declared, Seen, decisions, declared, interface_html, interface_text, summary
from gradgen.inspect.display import MORE, Text, formulas_latex
from gradgen.inspect.formulas import as_written
from gradgen.machine import machine_of
from gradgen.model import Model
from gradgen.nn.init import initialiser_of
from gradgen.nn.summary import operations
from gradgen.options import Options
from gradgen.passes.lower.naming import sizes_of
from gradgen.patience import patience
from gradgen.pickling import Packed
from gradgen.pipeline import Compiled, compile_model
from gradgen.runtime.bindings import Array, Cotangents, rows_of
from gradgen.runtime.calls import Caller, RoomPool
from gradgen.runtime.carried import carried_beside, note_carried
from gradgen.runtime.interface import CARRIED, Interface, interface_of
from gradgen.runtime.parameters import flatten, load_arrays, save_arrays
from gradgen.runtime.saved import Saved
from gradgen.stages import looked_at
from gradgen.standalone.text import standalone
from gradgen.watch import Watch


def compile(  # noqa: A001  # gg.compile, as in the design
    outputs: Mapping[str, Tensor] | Tensor,
    *,
    name: str = "model",
    wrt: Sequence[Tensor] | Tensor | None = None,
    updates: Mapping[Tensor, Tensor] | None = None,
    loss: str | None = None,
    target: str = "cpu",
    dtype: str = "float32",
    sizes: Mapping[Any, int] | None = None,
    skip: Iterable[str] = (),
    strict: bool = False,
    deterministic: bool = False,
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
        sizes: numbers for size symbols, by the size or its name.
        skip: rewrites for stability that are left out, by the names that `explain` gives them. Gradients that `gg.grad`
            has taken already keep what was rewritten for them: `gg.grad(..., skip=...)`.
        strict: refuse arrays that would have to be copied for a call, instead of a warning.
        deterministic: the same bits on any number of Numba's threads: loops are divided into 16 parts, however many
            there are. Matrix products are BLAS's, which has threads of its own.

    Raises:
        GraphError: two leaves of one name, or a gradient that is not defined.
        OptionError: an option with a value that it cannot have.
    """
    model = asked_model(outputs, name, wrt, updates, loss)
    return Network(model, asked_options(model, dtype, sizes, skip, strict, deterministic, target))


class Network:
    """A compiled model. Calls take arrays by name and return dicts of arrays by name.

    `source` is the generated module's text, `module` the imported module. Its functions can be called from other
    `@njit` code, and from Python without any check: `net.module.step(a, b, params, work)`, with
    `params = net.module.Params(...)` and `work = net.module.workspace(...)` made once.
    """

    def __init__(self, model: Model, options: Options) -> None:
        leaves = leaves_of(model.roots)
        self._model = model
        self._options = options
        self._compiled: Compiled | None = None
        key = _key(model, options, leaves)
        known = store.lookup(key) if key else None
        if known is None:
            with patience(f"compiling {model.name}"):
                compiled = self.compiled
                self.source: str = render_module(compiled.program)
            Watch().text(self.source)
            chosen = [compiled.leaves.get(x, x) for x in leaves]
            self.interface = interface_of(
                compiled.program,
                chosen,
                compiled.outputs,
                compiled.updates.values(),
                compiled.updated,
                options.sizes,
                compiled.checks,
                compiled.counts,
                compiled.derivatives,
            )
            if key:
                store.remember(key, json.dumps({"source": self.source, "interface": self.interface.as_json()}))
        else:
            data = json.loads(known)
            self.source, self.interface = data["source"], Interface.from_json(data["interface"])
        self._open(leaves)

    def _open(self, leaves: Sequence[Leaf]) -> None:
        """Import the module of the text that is known."""
        self._declared = {x.name: x for x in leaves}
        self._kept = [x for x in leaves if x.role in CARRIED]
        note_carried(self._kept)
        self._constants = self.stack(self._numbers(leaves))
        self._attach(load_module(self.source, self._model.name))

    def _numbers(self, leaves: Sequence[Leaf]) -> dict[str, Array]:
        """The arrays of the constants, in the dtypes that they are compiled for."""
        dtypes = {x.name: x.dtype for x in self.interface.leaves}
        found = {x.name: numbers_of(x, dtypes[x.name]) for x in leaves}
        return {name: numbers for name, numbers in found.items() if numbers is not None}

    def _attach(self, module: ModuleType) -> None:
        self.module = module
        pool = RoomPool(getattr(module, "workspace", None))
        self._cotangents = Cotangents(self.interface)
        strict = self._options.strict
        self._entries = {
            e.name: Caller(self.interface, e, module, pool, strict, self._carried, self._constants)
            for e in self.interface.entries
        }

    def _carried(self) -> frozenset[str]:
        """What may be given with the state of another network over the same parameters."""
        return carried_beside(self._kept)

    def __copy__(self) -> "Network":
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> "Network":
        """The same: a network does not change."""
        return copy.copy(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Formulas and options, and the text that this compiler made of them."""
        nodes = Packed([*self._model.roots, *self._model.wrt])
        text = self.source, self.interface.as_json(), store.compiler_stamp()
        return _unpickled, (nodes, self._model, self._options, *text)

    def with_module(self, module: ModuleType) -> "Network":
        """The same network over another module of the same text, such as one that Numba has not compiled."""
        twin = copy.copy(self)
        twin._attach(module)
        return twin

    # ------------------------------------------------------------ calls

    def __call__(self, /, *unnamed: Never, **arguments: Any) -> dict[str, Any]:
        """Outputs by name: arrays, and NumPy scalars for outputs without axes."""
        if unnamed:
            self._refuse_unnamed("forward")
        self._refuse_outside(arguments)
        return self._entries["forward"](arguments)[0]

    def forward(self, /, *unnamed: Never, **arguments: Any) -> tuple[dict[str, Any], Saved]:
        """The outputs, and what `backward` needs; the arguments are part of that, and have to stay as they are."""
        if unnamed:
            self._refuse_unnamed("forward")
        self._refuse_outside(arguments)
        outputs, room, plan, given = self._entries["forward"].saving(arguments)
        return outputs, Saved(self.interface, room, plan, given)

    def backward(self, saved: Saved, /, **cotangents: Any) -> dict[str, Any]:
        """Gradients by parameter name, for cotangents by output name: one at least, the others count as zero."""
        caller = self._entries.get("backward")
        if caller is None:
            raise GraphError("this network has no gradient: no output depends on a float parameter or on wrt")
        if not isinstance(saved, Saved) or saved.interface is not self.interface:
            raise BindingError(
                f"{self.interface.name}.backward takes what forward of the same network returns second: "
                "out, saved = net.forward(...); net.backward(saved, loss=1.0)."
            )
        self._cotangents.refuse_wrong(cotangents)
        self._refuse_outside(saved.arguments)
        given = {**saved.arguments, **self._cotangents.bound(cotangents, saved.plan.sizes)}
        return caller.with_saved(given, saved.room)

    def value_and_grad(self, /, *unnamed: Never, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs by name, and the gradient of the scalar output by parameter name."""
        caller = self._entries.get("value_and_grad")
        if caller is None:
            raise GraphError(
                f"{self.interface.name}.value_and_grad: {self.interface.without_gradient(self._model.loss)}"
            )
        if unnamed:
            self._refuse_unnamed("value_and_grad")
        self._refuse_outside(arguments)
        return caller(arguments)

    def step(self, state: Mapping[str, Any], /, *unnamed: Never, **arguments: Any) -> dict[str, Any]:
        """One training step: outputs at the old values; `state` (from `init`) is updated in place."""
        caller = self._entries.get("step")
        if caller is None:
            raise GraphError("this network has no updates: gg.compile(..., updates=gg.optim.sgd(loss, lr=0.1))")
        if unnamed:
            self._refuse_unnamed("step")
        try:
            given = {**state, **arguments}
        except TypeError:
            raise BindingError(
                f"{self.interface.name}.step takes the state first, a dict of arrays by name, as net.init() makes it, "
                f"not {type(state).__name__}."
            ) from None
        if len(given) != len(state) + len(arguments):
            twice = ", ".join(name for name in arguments if name in state)
            raise BindingError(f"{self.interface.name}.step: {twice} given twice, in the state and by name.")
        self._refuse_outside(given)
        return caller(given)[0]

    def _refuse_unnamed(self, entry: str) -> NoReturn:
        names = ", ".join(f"{x.name}=..." for x in self.interface.leaves if x.role != "state")
        raise BindingError(f"{self.interface.name}.{entry} takes arrays by name: {names}.")

    def _refuse_outside(self, arguments: Mapping[str, Any]) -> None:
        """What only the formulas know: whether a computed subscript stays inside its axis."""
        if self.interface.counts:
            self._entries["check"].refuse_outside(arguments)

    def warmup(self, **arrays: Any) -> None:
        """Compile every function that calls will need; the first call then takes no longer than others.

        Args:
            arrays: as for a call. With them `forward` runs once: they are checked, and memory for their sizes is made.
        """
        for caller in self._entries.values():
            caller.warm()
        if arrays:
            self.forward(**arrays)

    def init(self, seed: int = 0) -> dict[str, Array]:
        """Initial parameters and states by name, those and these from a NumPy generator with this seed each."""
        return self.stack(first_values(self.interface, self._declared, self._options.sizes, seed))

    def stack(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The same values by the same names; those of equal layers as rows of one array, as `step` needs them."""
        found = dict(arrays)
        for x in self.interface.stacks:
            names = [f.name for f in self.interface.fields[x.holder][x.at : x.at + x.count]]
            if all(name in found for name in names):
                found |= zip(names, rows_of(np.stack([found[name] for name in names])), strict=True)
        return found

    def flatten(self, arrays: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
        """All parameters, or all their gradients, as one vector; and the same memory by name, in their shapes.

        What is written into the vector is in the views, which calls take without a copy. So SciPy can minimise a loss:

            vector, params = net.flatten(net.init())

            def value_and_grad(x):
                vector[:] = x
                outputs, gradients = net.value_and_grad(**data, **params)
                return outputs["loss"], net.flatten(gradients)[0]

            vector[:] = scipy.optimize.minimize(value_and_grad, vector, jac=True, method="L-BFGS-B").x

        Args:
            arrays: by name, what gradients are taken by: all float parameters, or `wrt`.

        Returns:
            A new array of one axis, in the dtype of the parameters, and a dict of its views. Parameters and gradients
            have one order, that of the declarations; equal layers that the generated file keeps in one array lie
            together.

        Raises:
            BindingError: a name is missing or unknown.
            ShapeError, DTypeError: an array that the model does not declare so; parameters of two dtypes.
            GraphError: the network has no float parameters.
        """
        return flatten(self.interface, arrays)

    def save_state(self, path: str | Path, arrays: Mapping[str, Any]) -> Path:
        """Write parameters and states, such as an optimiser's, to a file, whole or not at all.

        Args:
            path: ends in `.npz` (`np.load` reads it) or `.safetensors` (needs the package of that name).
            arrays: what `init` makes, by name, after any number of steps.

        Raises:
            BindingError, ShapeError, DTypeError: not the names, shapes and dtypes that the model declares.
            OptionError: another ending, or a package that is not installed.
            FileError: an OSError, with the path and the reason.
        """
        path = Path(path)
        save_arrays(self.interface, path, arrays)
        return path

    def load_state(self, path: str | Path, only: Literal["params"] | None = None) -> dict[str, Array]:
        """Parameters and states by name from a file, ready for `step`.

        Args:
            path: ends in `.npz` or `.safetensors`, and holds what `save_state` of the same model has written.
            only: "params" for the parameters alone, whatever else is in the file, such as the states of an optimiser
                that this network does not have.

        Raises:
            BindingError, ShapeError, DTypeError: not the names, shapes and dtypes that the model declares.
            OptionError: another ending, or a package that is not installed.
            FileError: there is no such file, or it is not whole.
        """
        if only not in (None, "params"):
            raise OptionError(f'load_state has only={only!r}: give "params", or leave it out.')
        return self.stack(load_arrays(self.interface, Path(path), only == "params"))

    # ------------------------------------------------------------ inspection

    @property
    def model(self) -> Model:
        """What was declared: outputs, gradients wanted, updates."""
        return self._model

    @property
    def options(self) -> Options:
        """What the compilation was told: dtype, sizes, rewrites to leave out."""
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
        more = {**old.sizes, **(sizes or {})}
        kept = (old.skip, old.strict, old.deterministic, old.target)
        return Network(self._model, asked_options(self._model, dtype or old.dtype, more, *kept))

    def save(self, path: str | Path) -> Path:
        """Write the generated module; it needs numpy, scipy and numba only.

        Beside `source`, the file has a docstring with a call to copy, `params(seed)`, `state()`, `gradients()` and
        `outputs(...)`, which make its arguments, and a test: `python FILE` compares its gradient with differences.

        Raises:
            FileError: an OSError, with the path and the reason.
        """
        path = Path(path)
        save_file(path, self.standalone(path.name).encode())
        return path

    def standalone(self, file: str) -> str:
        """The text that `save` writes under the name `file`."""
        initial = {x.name: initialiser_of(self._declared[x.name]) for x in self.interface.leaves if x.role != "input"}
        return standalone(self.source, self.module, self.interface, initial, self._model.loss, self._model.roots, file)

    @property
    def inputs(self) -> Mapping[str, Declared]:
        """Shapes and dtypes of the inputs by name; sizes that only a call knows stand in shapes as text."""
        return MappingProxyType(declared(self.interface.leaves, "input"))

    @property
    def parameters(self) -> Mapping[str, Declared]:
        """Shapes and dtypes of the parameters, by name."""
        return MappingProxyType(declared(self.interface.leaves, "param"))

    @property
    def states(self) -> Mapping[str, Declared]:
        """Shapes and dtypes of the states, such as an optimiser's, by name."""
        return MappingProxyType(declared(self.interface.leaves, "state"))

    @property
    def constants(self) -> Mapping[str, Array]:
        """The arrays that are part of the model, by name; a call that gives one of them takes that instead."""
        views = {name: x.view() for name, x in self._constants.items()}
        for x in views.values():
            x.flags.writeable = False
        return MappingProxyType(views)

    @property
    def outputs(self) -> Mapping[str, Declared]:
        """Shapes and dtypes of what calls return, by name."""
        return MappingProxyType(declared(self.interface.outputs, "output"))

    @property
    def sizes(self) -> Mapping[str, int | None]:
        """The sizes of the model by name: a number where `gg.compile` was told it, else None."""
        names = sizes_of([*self._model.outputs.values(), *self._model.updates.values()])
        return MappingProxyType({name: self._options.sizes.get(name) for name in names})

    def show(self, stage: str | None = None, *, after: str | None = None) -> Text:
        """What the compiler made of the model, as `gradgen show` prints it.

        Args:
            stage: "graph" (as declared; the default), "adjoint" (gradients after all passes), "program" (loops) or
                "source".
            after: instead, the name of a pass, such as "gather": formulas or statements as it leaves them.

        Raises:
            OptionError: no such stage or pass, or both.
            GraphError: the adjoint of a network without a gradient.
        """
        return Text(looked_at(self, stage, after))

    def explain(self, loops: bool = False) -> Text:
        """What the network is; then what was made stable, gathered, inlined, computed in parts or in place, and with
        `loops` which formulas share one, entry by entry."""
        return Text("\n".join([*summary(self._seen), "", *decisions(self.interface, loops)]))

    @property
    def _seen(self) -> Seen:
        return Seen(self.interface, self.sizes, self._options, operations(self._model.outputs.values()))

    def __repr__(self) -> str:
        return interface_text(self._seen)

    def _repr_html_(self) -> str:
        return interface_html(self._seen, self._repr_latex_())

    def _repr_latex_(self) -> str:
        return formulas_latex(as_written(self._model.outputs), MORE)


def _unpickled(nodes: Packed, model: Model, options: Options, source: str, interface: str, compiler: str) -> Network:
    """A network from a pickle: no pass runs, unless another compiler made the text than is here."""
    nodes.unpack()
    if compiler != store.compiler_stamp():
        return Network(model, options)
    found = object.__new__(Network)
    found._model, found._options, found._compiled = model, options, None
    found.source, found.interface = source, Interface.from_json(interface)
    found._open(leaves_of(model.roots))
    return found


def _key(model: Model, options: Options, leaves: Sequence[Leaf]) -> str:
    """What the text of a model depends on, for the cache; empty while somebody watches the passes."""
    if env.debug() or env.check():
        return ""
    roots = [*model.outputs.values(), *model.updates.values()]
    told = (model.name, model.loss, list(model.outputs), [x.name for x in model.updates], [x.name for x in model.wrt])
    told_by_name = (sorted(options.sizes.items()), sorted(options.skip))
    chosen = (options.target, options.dtype, *told_by_name, options.deterministic, machine_of(options.target))
    return store.key(repr(told), repr(chosen), repr([x.digest for x in leaves]), fingerprint(roots))
