"""The test that a saved module ships with: its gradient against central differences, and what its calls cost.

In: a `Surface`, sizes to try it at, and the loss. Out: text, for `python FILE` to run where there is no gradgen.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.emit.layout import WIDTH, fill
from gradgen.emit.templates import render
from gradgen.graph.names import Names
from gradgen.graph.scalar import FLOATS
from gradgen.runtime.interface import Argument, EntryPoint
from gradgen.runtime.trial_sizes import integers_to_draw
from gradgen.standalone.makers import MAKERS, given_values
from gradgen.standalone.surface import Surface, dtype_text, shape_text

__all__ = ["trial"]

CALLED = {
    "SystemExit", "apart", "dots", "float", "np", "print", "time_of",
}  # fmt: skip
STEPS = {"float32": "(1e-1, 1e-2, 1e-3, 1e-4)", "float64": "(1e-3, 1e-4, 1e-5, 1e-6)"}
ALLOWED = {"float32": 2e-2, "float64": 1e-5}  # of differences, the best of several steps
TIMED = ("forward", "value_and_grad", "step")


def trial(surface: Surface, sizes: Mapping[str, int], loss: str | None) -> str:
    """The functions behind `python FILE`, and the line that calls them."""
    return _Trial(surface, sizes, loss).text()


@dataclass
class _Trial:
    """The lines of `main`; locals have the user's names, or one with a number where a function is called so."""

    surface: Surface
    sizes: Mapping[str, int]
    loss: str | None
    names: Names = field(init=False)
    local: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.entries = {e.name: e for e in self.surface.interface.entries}
        self.names = Names({*CALLED, *MAKERS.values(), "workspace", *self.entries})
        for name in self._symbols():
            self.local[name] = self.names.free(name)
        self.inputs = [x for x in self.surface.interface.leaves if x.role == "input"]
        for x in (*self.inputs, *self.surface.interface.cotangents):
            self.local[x.name] = self.names.free(x.name)
        self.held = {key: self.names.free(key) for key in ("p", "s", "w", "out", "g") if self.surface.makes(key)}
        self.rng, self.value = self.names.free("rng"), self.names.free("value")

    def _symbols(self) -> list[str]:
        """The sizes that are not known to the module, in the order of their first use."""
        return [name for name in self.sizes if name not in self.surface.interface.sizes]

    # ------------------------------------------------------------ main

    def text(self) -> str:
        gradient = self.entries.get("value_and_grad") or self.entries.get("backward")
        compared = self._compared(gradient) if gradient is not None else []
        lines = [*self._arguments(), *self._inside(), *(["", *compared] if compared else []), "", *self._times()]
        what = "Compare the gradient with central differences, and take" if compared else "Take"
        return render(
            "standalone/trial.py.j2",
            has_gradient=bool(compared),
            steps=STEPS[self._dtype()],
            purpose=f"{what} the time of calls.",
            lines=lines,
        )

    def _dtype(self) -> str:
        """The coarsest dtype of what is differentiated."""
        found = {x.dtype for x in self.surface.interface.fields["g"]}
        return "float32" if "float32" in found or not found else "float64"

    def _arguments(self) -> list[str]:
        lines: list[str] = []
        symbols = self._symbols()
        if symbols:
            lines.append(
                f"{', '.join(self.local[x] for x in symbols)} = {', '.join(str(self.sizes[x]) for x in symbols)}"
            )
        needed = {key: self._made(key) for key in self.held}
        lines += [f"{self.held[key]} = {made}" for key, made in needed.items()]
        lines += [f"{self.local[x.name]} = {self._drawn(x)}" for x in self.inputs]
        draws = self.surface.makes("g") or any(f"{self.rng}." in line for line in lines)
        return [f"{self.rng} = np.random.default_rng(0)", *lines] if draws else lines

    def _made(self, key: str) -> str:
        given = [self._random(x, self._shape(x)) for x in given_values(self.surface, key)] if key in ("p", "s") else []
        sizes = [self.local.get(name, name) for name in self.surface.sizes(key)]
        return f"{MAKERS.get(key, 'workspace')}({', '.join([*given, *sizes])})"

    def _shape(self, x: Argument) -> str:
        """A shape over the local names of sizes."""
        return re.sub(r"[^\W\d]\w*", lambda m: self.local.get(m[0], m[0]), shape_text(x.shape))

    def _drawn(self, x: Argument) -> str:
        """An input: normal numbers, or integers that select."""
        if x.dtype in FLOATS:
            if not x.shape:
                return f"np.array({self.rng}.standard_normal(), {dtype_text(x.dtype)})"
            return self._random(x, self._shape(x))
        low, high = integers_to_draw(self.surface.interface, x, self.sizes)
        if self.surface.interface.counts and x.name not in {label.leaf for label in self.surface.interface.labels}:
            high = low  # it may select by a way that only data decide
        if not x.shape:
            return f"{dtype_text(x.dtype)}({high})"  # the length of something, maybe
        drawn = f"{self.rng}.integers({low}, {high + 1}, {self._shape(x)})"
        return drawn if x.dtype == "int64" else f"{drawn}.astype({dtype_text(x.dtype)})"

    def _random(self, x: Argument, shape: str) -> str:
        drawn = f"{self.rng}.standard_normal({shape})"
        return drawn if x.dtype == "float64" else f"{drawn}.astype({dtype_text(x.dtype)})"

    # ------------------------------------------------------------ calls

    def _given(self, entry: EntryPoint) -> list[str]:
        numbers = {x.name for x in self.inputs if not x.shape and x.dtype in FLOATS}
        arguments = [f"{self.local[name]}[()]" if name in numbers else self.local[name] for name in entry.parameters]
        return [*arguments, *(self.held[key] for key in entry.holders)]

    def _call(self, entry: EntryPoint) -> str:
        return f"{entry.name}({', '.join(self._given(entry))})"

    def _inside(self) -> list[str]:
        """A test that what was drawn selects from inside of every axis, where arguments do not say it."""
        if not self.surface.interface.counts:
            return []
        return [
            f"if np.any({self._call(self.entries['check'])}):",
            '    raise SystemExit("what was drawn here selects outside of an axis: give data of your own")',
        ]

    def _compared(self, entry: EntryPoint) -> list[str]:
        """The function that computes a number and its gradient, and the comparison."""
        cotangents = [x for x in self.surface.interface.cotangents if entry.name == "backward"]
        lines = [f"{self.local[x.name]} = {self._cotangent(x)}" for x in cotangents]
        body = self._of_loss(entry) if entry.name != "backward" else self._of_outputs(entry, cotangents)
        lines += [*([""] if lines else []), f"def {self.value}():", *(f"    {line}" for line in body), ""]
        lines += self._redrawn()
        far, dtype = self.names.free("far"), self._dtype()
        pairs = self._pairs(entry)
        if not pairs:
            return []
        lines += fill(f"{far} = apart(", [self.value, self.rng, *pairs])
        says = f"the gradient and central differences are {{{far}:.1e}} apart, of {ALLOWED[dtype]:.0e} ({dtype})"
        lines += [
            f'print(f"{says}")',
            f"if not {far} < {ALLOWED[dtype]!r}:",
            '    raise SystemExit("they differ: a wrong gradient, or numbers that are too large for differences")',
        ]
        return lines

    def _redrawn(self) -> list[str]:
        """Other inputs, where the model has no number at those that were drawn."""
        floats = [self.local[x.name] for x in self.inputs if x.dtype in FLOATS]
        if not floats:
            return []
        z = self.names.free("z")
        return [
            f"if not np.isfinite({self.value}()):",
            *(f"    {line}" for line in _each(z, floats)),
            f"        {z}[...] = {self.rng}.uniform(0.1, 0.9, {z}.shape)  # inside of logarithms and roots",
        ]

    def _cotangent(self, x: Argument) -> str:
        if not x.shape:
            return f"{dtype_text(x.dtype)}(1.0)"
        return self._random(x, self._shape(x))

    def _of_loss(self, entry: EntryPoint) -> list[str]:
        if entry.returns == (self.loss,):
            return [f"return float({self._call(entry)})"]
        at = entry.returns.index(self.loss or "")
        return [f"return float({self._call(entry)}[{at}])"]

    def _of_outputs(self, entry: EntryPoint, cotangents: Sequence[Argument]) -> list[str]:
        ahead = self.entries["forward"]
        wanted = {x.of for x in cotangents}
        taken = {name: self.names.free(name) for name in ahead.returns if name in wanted}
        results = ", ".join(taken.get(name, "_") for name in ahead.returns)
        first = self._call(ahead)
        found = [taken.get(x.of) or f"{self.held['out']}.{self._field('out', x.of)}" for x in cotangents]
        pairs = [f"({y}, {self.local[x.name]})" for y, x in zip(found, cotangents, strict=True)]
        return [f"{results} = {first}" if taken else first, self._call(entry), *fill("return dots(", pairs, 4)]

    def _field(self, key: str, name: str) -> str:
        """The field of a named tuple that holds an array, and its row where it is one of several."""
        for found in self.surface.fields[key]:
            for row, x in enumerate(found.members):
                if x.name == name:
                    return f"{found.name}[{row}]" if found.stacked else found.name
        raise KeyError(name)

    def _pairs(self, entry: EntryPoint) -> list[str]:
        """The arrays that an entry has a gradient of, each with it; equal layers as one pair where both are stacked."""
        stacks = {tuple(x.name for x in f.members): f.name for f in self.surface.fields.get("p", ()) if f.stacked}
        pairs = []
        for d in self.surface.fields["g"]:
            of = tuple(x.of for x in d.members)
            if d.stacked and of in stacks and all(x.name in entry.uses for x in d.members):
                pairs.append(f"({self.held['p']}.{stacks[of]}, {self.held['g']}.{d.name})")
                continue
            for row, (x, name) in enumerate(zip(d.members, of, strict=True)):
                where = self._array(name)
                if where and x.name in entry.uses:
                    pairs.append(f"({where}, {self.held['g']}.{d.name}{f'[{row}]' if d.stacked else ''})")
        return pairs

    def _array(self, leaf: str) -> str:
        """Where the values of a leaf are; nowhere if it has no elements that are read."""
        if leaf in self.local:
            return self.local[leaf]
        found = [
            key
            for key in ("p", "s")
            if any(x.name == leaf for f in self.surface.fields.get(key, ()) for x in f.members)
        ]
        return f"{self.held[found[0]]}.{self._field(found[0], leaf)}" if found else ""

    def _times(self) -> list[str]:
        at = ", ".join(f"{name} = {self.sizes[name]}" for name in self._symbols())
        lines = [f'print("us of a call, with {at}:")' if at else 'print("us of a call:")']
        timed = [self.entries[name] for name in TIMED if name in self.entries]
        return lines + [f'print(f"{e.name:16}{{time_of(lambda: {self._call(e)}):10.1f}}")' for e in timed]


def _each(name: str, arrays: Sequence[str]) -> list[str]:
    """The head of a loop over arrays."""
    line = f"for {name} in ({', '.join(arrays)}{',' if len(arrays) == 1 else ''}):"
    return [line] if len(line) <= WIDTH - 4 else [f"for {name} in (", *(f"    {x}," for x in arrays), "):"]
