"""A compiled model, as users have it: calls, parameters and files, and what it shows of itself.

In: a `Model` and `Options`. Out: a `Network` that checks its arguments and calls the functions that `emitted` finds.
"""

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal, Never, NoReturn

from gradgen.asked import asked_options, leaves_of
from gradgen.emit import store
from gradgen.emit.module import load_module
from gradgen.emitted import Emitted, emitted
from gradgen.errors import BindingError, GraphError, OptionError
from gradgen.files import save_file
from gradgen.first_values import constants_of, first_values
from gradgen.graph.nodes import CARRIED
from gradgen.inspect.arguments import Declared, Seen, decisions, declared, interface_html, interface_text, summary
from gradgen.inspect.display import MORE, Text, formulas_latex
from gradgen.inspect.formulas import as_written
from gradgen.model import Model
from gradgen.nn.init import initialiser_of
from gradgen.nn.summary import operations
from gradgen.options import Options
from gradgen.passes.lower.naming import sizes_of
from gradgen.pickling import Packed
from gradgen.pipeline import Compiled, compile_model
from gradgen.runtime.bindings import Array, Cotangents, with_state
from gradgen.runtime.calls import Caller, RoomPool
from gradgen.runtime.carried import carried_beside, note_carried
from gradgen.runtime.interface import Interface
from gradgen.runtime.parameters import flatten, in_stacks, load_arrays, save_arrays
from gradgen.runtime.saved import Saved, refuse_others_saved
from gradgen.stages import looked_at
from gradgen.standalone.text import standalone

__all__ = ["Network"]


class Network:
    """A compiled model. Calls take arrays by name and return dicts of arrays by name.

    `source` is the generated module's text, `module` the imported module. Its functions can be called from other
    `@njit` code, and from Python without any check: `net.module.step(a, b, params, work)`, with
    `params = net.module.Params(...)` and `work = net.module.workspace(...)` made once.
    """

    def __init__(self, model: Model, options: Options, known: Emitted | None = None) -> None:
        leaves = leaves_of(model.roots)
        found = emitted(model, options, leaves) if known is None else known
        self._model, self._options, self._compiled = model, options, found.compiled
        self.source, self.interface = found.source, found.interface
        self._declared = {x.name: x for x in leaves}
        self._kept = [x for x in leaves if x.role in CARRIED]
        note_carried(self._kept)
        self._constants = self.stack(constants_of(self.interface, leaves))
        self._attach(load_module(self.source, self._model.name))

    def _attach(self, module: ModuleType) -> None:
        self.module = module
        pool = RoomPool(getattr(module, "workspace", None))
        self._cotangents = Cotangents(self.interface)
        carried = partial(carried_beside, self._kept)  # may be given with the state of another network over them
        self._entries = {
            e.name: Caller(self.interface, e, module, pool, self._options.strict, carried, self._constants)
            for e in self.interface.entries
        }

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
        refuse_others_saved(self.interface, saved)
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
        given = with_state(f"{self.interface.name}.step", state, arguments)
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
        return in_stacks(self.interface, arrays)

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

    def load_state(self, path: str | Path, only: Literal["params", "known"] | None = None) -> dict[str, Array]:
        """Parameters and states by name from a file, ready for `step`.

        Args:
            path: ends in `.npz` or `.safetensors`, and holds what `save_state` of the same model has written.
            only: what is read of a file that has more, such as the states of an optimiser that this network does not
                have: "known" for all parameters and states of this network, "params" for its parameters alone.

        Raises:
            BindingError, ShapeError, DTypeError: not the names, shapes and dtypes that the model declares.
            OptionError: another ending, or a package that is not installed.
            FileError: there is no such file, or it is not whole.
        """
        if only not in (None, "params", "known"):
            raise OptionError(f'load_state has only={only!r}: give "params" or "known", or leave it out.')
        return self.stack(load_arrays(self.interface, Path(path), only))

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
    return Network(model, options, Emitted(source, Interface.from_json(interface), None))
