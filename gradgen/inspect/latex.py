r"""Formulas as a page shows them: `h_{n,j} = \max(b_{j} + \sum_{i} w_{i,j} \, x_{n,i}, 0)`.

In: what `formulas` found. Out: lines of LaTeX with a `&` before the sign that they are aligned at. What a scalar
function looks like is said in its declaration; MathJax, KaTeX and amsmath know everything that is used here.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from gradgen.emit.formula import NO_LETTERS, in_parts, lettered, with_parts  # text is cut into the same parts
from gradgen.emit.scalar_printer import ATOM, CHOICE, NOT, PRODUCT, SUM, UNARY, ScalarPrinter
from gradgen.graph.declaration import argument_names
from gradgen.graph.names import free_letter, index_letters
from gradgen.graph.nodes import Carry, Compute, Custom, Leaf, Node, Project, Reshape, Scan, show_size
from gradgen.graph.origin import origin
from gradgen.graph.scalar import (
    FLOATS,
    Atom,
    Call,
    Const,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Scalar,
    SizeSymbol,
    Slot,
    call,
    position_atom,
    require_poly,
    substitute,
)
from gradgen.inspect.formulas import Written
from gradgen.inspect.latex_pieces import (
    TALL,
    as_factor,
    brackets,
    floor,
    heighten,
    latex_name,
    latex_number,
    latex_text,
    signs,
    with_places,
)
from gradgen.program.loops import letter

__all__ = ["LatexFormulas"]

CALLED, FRACTION, POWER, SUMMED = 60, 45, 40, 15  # how strongly they bind, between ATOM, UNARY, PRODUCT and SUM

# How strongly a function's notation binds, where that is not as a call does.
_STRENGTH = {
    "neg": UNARY, "pow": POWER, "square": POWER, "exp2": POWER, "expm1": SUM, "xlogy": PRODUCT, "not": NOT,
    "div": FRACTION, "reciprocal": FRACTION, "rsqrt": FRACTION, "sinc": FRACTION,
    **dict.fromkeys(("abs", "floor", "ceil", "floordiv", "sqrt", "cbrt", "hypot", "difference", "less_one"), ATOM),
}  # fmt: skip
_INFIX = re.compile(r"\$x (\S+) \$y")
_OPENING = re.compile(r"(?:[{(|,]|\\[lr](?:floor|ceil)) ?$")  # before an argument that needs no brackets, ...
_CLOSING = re.compile(r" ?(?:[)|,]|}(?!\^)|\\[lr](?:floor|ceil))")  # ... and behind it
_WORD = re.compile(r"\\(?!pi)[a-z]+(\{\w+\})?([_^](\w|\{-?\w+\}))? $")  # before one that always has brackets
_MARKS = {"d_": (r"\bar", r"\overline"), "t_": (r"\dot", r"\dot")}  # adjoints and tangents
_REDUCERS = {"sum": r"\sum", "max": r"\max", "min": r"\min", "argmax": r"\arg\max", "argmin": r"\arg\min"}


class LatexFormulas:
    """The formulas of `written` as lines, one node after the other.

    A scan is a recurrence: its values have the step above them, a carry the state that the step reads.
    """

    def __init__(self, written: Written) -> None:
        self.written = written
        self._scans = dict.fromkeys(node.scan for node in written.order if isinstance(node, Project))
        self._depths = {scan.depth for scan in self._scans}
        self._state: dict[Carry, Node] = {}  # the value that a step makes of it, where only this one carry becomes it
        self._ahead: dict[Node, int] = {}  # the depth at which a value belongs to state t + 1
        for scan in self._scans:
            for c, following in zip(scan.carries, scan.nexts, strict=True):
                if _is_made_by_step(following, scan) and scan.nexts.count(following) == 1:
                    self._state[c] = following
                if scan.reverse or c in self._state:
                    self._ahead[c if scan.reverse else following] = scan.depth

    def lines(self, node: Node) -> list[str]:
        """What `node` is; of a carry what a scan begins with, and what its steps hand on."""
        if node not in self.written.roots and _constant_of(node) is not None:
            return []  # its value stands where it is read
        match node:
            case Carry():
                return self._carried(node)
            case Project(kind="stack"):
                step = _step(node.scan.depth)
                return [f"{self.symbol(node, [step])} &= {self.symbol(node.scan.outputs[node.number])}"]
            case Project() if node in self.written.roots:
                return [f"{self._named(node)}_{{k}} &= {self._at(node, 'k')}"]
            case Reshape():
                shape = r",\ ".join(_size(extent) for extent in node.shape)
                return [f"{self.symbol(node)} &= {self._whole(node.source)} \\text{{ as }} ({shape})"]
            case Custom():
                return [f"{self.symbol(node)} &= {self.symbol(node.value)} \\quad\\text{{with adjoints of its own}}"]
            case Compute():
                return [self._formula(node)]
        return []

    # ------------------------------------------------------------ values and their places

    def symbol(self, node: Node, subscripts: Sequence[str] = ()) -> str:
        """A value with its subscripts; inside a scan the step stands above it."""
        if isinstance(node, Project) and node.kind == "states" and subscripts:
            return self._at(node, subscripts[0], subscripts[1:])
        return with_places(self._named(self._of_state(node)), self._steps(node), subscripts)

    def _whole(self, node: Node) -> str:
        """A value as a whole, or the number that all its elements are."""
        return self.symbol(node) if (value := _constant_of(node)) is None else _Printer(self, ()).text(value)

    def _at(self, states: Project, at: str, subscripts: Sequence[str] = ()) -> str:
        """A carry before step `at`."""
        c = states.scan.carries[states.number]
        outer = [_step(depth) for depth in sorted(states.steps & self._depths)]
        return with_places(self._named(self._of_state(c)), [*outer, at], subscripts)

    def _of_state(self, node: Node) -> Node:
        return self._state.get(node, node) if isinstance(node, Carry) else node

    def _named(self, node: Node) -> str:
        name = self.written.names.get(node, "carry")
        found = origin(node)
        note = "d_" if isinstance(node, Leaf) and node.role == "cotangent" else found.note if found else ""
        marks: list[tuple[str, str]] = []
        while note[:2] in _MARKS and name.startswith(note[:2]):
            marks.append(_MARKS[note[:2]])
            name, note = name[2:], note[2:]
        text = latex_name(name)
        for narrow, wide in reversed(marks):
            text = f"{narrow if len(name) == 1 else wide}{{{text}}}"
        return text

    def _steps(self, node: Node) -> list[str]:
        ahead = self._ahead.get(node)
        return [f"{_step(d)}+1" if d == ahead else _step(d) for d in sorted(node.steps & self._depths)]

    def _carried(self, c: Carry) -> list[str]:
        found: list[str] = []
        for scan in self._scans:
            if not any(c is other for other in scan.carries):
                continue
            k = scan.carries.index(c)
            name, outer = self._named(self._of_state(c)), [_step(d) for d in sorted(scan.steps & self._depths)]
            begin = with_places(name, [*outer, _size(scan.length) if scan.reverse else "0"], ())
            found.append(f"{begin} &= {self._whole(scan.inits[k])}, \\quad {self._range(scan)}")
            if c not in self._state:
                after = _step(scan.depth) if scan.reverse else f"{_step(scan.depth)}+1"
                found.append(f"{with_places(name, [*outer, after], ())} &= {self.symbol(scan.nexts[k])}")
        return found

    @staticmethod
    def _range(scan: Scan) -> str:
        last = _size(require_poly(scan.length - 1))
        first, last = (last, "0") if scan.reverse else ("0", last)
        return f"{_step(scan.depth)} = {first}, \\ldots, {last}"

    # ------------------------------------------------------------ formulas

    def _formula(self, node: Compute) -> str:
        letters = index_letters(node)
        printer = _Printer(self, letters)
        whole = lettered(with_parts(node.body, self.written.inside), letters, NO_LETTERS)
        value, parts = in_parts(whole, {*letters, *self.written.names.values()})
        if node.gathers and node.reduced:
            text, _ = printer.reduced(node.reducer, [letters[k] for k in node.reduced], value)
        else:
            text = printer.text(value)
        if parts:
            given = (f"{latex_name(name)} = {printer.text(x)}" for name, x in parts)
            text += rf" \quad\text{{with }} {', '.join(given)}"
        target = [printer.poly(require_poly(lettered(t, letters, NO_LETTERS))) for t in node.target]
        left = self.symbol(node, target)
        if node.gathers:
            return f"{left} &= {text}"
        sign = "+" if node.reducer == "sum" else _REDUCERS.get(node.reducer, latex_text(node.reducer))
        return rf"{left} &\mathrel{{{sign}}}= {text}"


class _Printer(ScalarPrinter):
    """One formula. Casts between floats are not written, as in the text of formulas; conditions as numbers are [c]."""

    def __init__(self, formulas: LatexFormulas, letters: Iterable[str]) -> None:
        super().__init__(lambda name, dtype, given: "", lambda x, printer: "", latex_number, as_factor)
        self.formulas = formulas
        self.taken = set(letters)

    def text(self, x: Scalar, dtype: str | None = None, above: int = 0) -> str:
        text, strength = self._text(x, dtype)
        return brackets(text) if strength < above else text

    def poly(self, p: Poly, above: int = 0) -> str:
        text, strength = self._poly(p)
        return brackets(text) if strength < above else text

    def _text(self, x: Scalar, dtype: str | None) -> tuple[str, int]:
        match x:
            case Const():
                return self._constant(x, dtype)
            case Poly():
                return self._poly(x)
            case Load():
                text, strength = self._access(x)
                return (f"[{text}]", ATOM) if _is_counted(x, dtype) else (text, strength)
            case Call():
                text, strength = self._call(x, dtype)
                return (f"[{text}]", ATOM) if _is_counted(x, dtype) else (text, strength)
            case Slot(name=name):
                return latex_name(name), ATOM
        raise AssertionError(f"{type(x).__name__} in a formula")

    def _constant(self, x: Const, dtype: str | None) -> tuple[str, int]:
        text = latex_text(str(x.value).lower()) if x.dtype == "bool" else latex_number(float(x.value), "")
        if x.dtype == "pyint":
            text = str(x.value)
        return text, UNARY if text.startswith("-") else PRODUCT if r"\cdot" in text else ATOM

    def _access(self, x: Load) -> tuple[str, int]:
        node = x.tensor
        if (value := _constant_of(node)) is not None:
            return self._text(value, None)
        if not (isinstance(node, Compute) and node in self.formulas.written.inside and node.reduced):
            return self.formulas.symbol(node, [self.poly(s) for s in x.subscripts]), ATOM
        letters = index_letters(node)
        found: dict[Atom, Poly] = {position_atom(k): s for k, s in enumerate(x.subscripts)}
        for k in node.reduced:
            letters[k] = free_letter(letters[k], self.taken)
            self.taken.add(letters[k])
            found[position_atom(k)] = letter(letters[k])
        body = substitute(with_parts(node.body, self.formulas.written.inside), found)
        return self.reduced(node.reducer, [letters[k] for k in node.reduced], lettered(body, (), NO_LETTERS))

    def reduced(self, reducer: str, letters: Iterable[str], body: Scalar) -> tuple[str, int]:
        """A reduction over letters."""
        below = f"_{{{','.join(map(latex_name, letters))}}}"
        if reducer == "logsumexp":
            return rf"\log \sum{below} {self._exponential(body)}", CHOICE
        return f"{_REDUCERS[reducer]}{below} {self.text(body, None, PRODUCT)}", SUMMED if reducer == "sum" else CHOICE

    # ------------------------------------------------------------ functions

    def _call(self, x: Call, dtype: str | None) -> tuple[str, int]:
        name, arguments = x.function.name, x.arguments
        work = self._working_dtype(x, dtype)
        if x.dtype == "bool" and (printed := self._condition(x)) is not None:
            return printed
        if name == "where":
            return self._choice(x, work)
        if name == "exp":
            text = self._exponential(arguments[0])
            return text, POWER if text.startswith("e") else CALLED
        if name in ("stop_gradient", "materialize", "wrapped"):
            return self._text(arguments[0], work)
        if name in FLOATS or (name == "int64" and arguments[0].dtype not in FLOATS):  # a cast that keeps the value
            return self._text(arguments[0], name)
        if x.function.symbol and (sign := _INFIX.fullmatch(x.function.latex)) is not None:
            return self._infix(x, sign[1], work)
        return self._declared(x, work), _STRENGTH.get(name, CALLED)

    def _infix(self, x: Call, sign: str, work: str) -> tuple[str, int]:
        strength = x.function.precedence
        compared = x.function.result == "bool" and x.function.name not in ("and", "or")
        above = CALLED if x.function.result == "integer" else strength  # nobody knows how strongly bits bind
        left = self.text(x.arguments[0], work, above + compared)
        right = self.text(x.arguments[1], work, above + 1)
        if x.function.name in ("add", "sub") and right.startswith("-"):
            sign, right = "-" if x.function.name == "add" else "+", right[1:]
        elif right.startswith("-") and not compared:
            right = brackets(right)
        if x.function.name == "mul" and right[:1].isdigit():
            sign = r"\cdot"
        return f"{left} {sign} {right}", strength

    def _declared(self, x: Call, work: str) -> str:
        """The notation of the declaration, with brackets around arguments where it has none."""
        given = {
            name: self._text(operand, work)
            for name, operand in zip(argument_names(x.function), x.arguments, strict=True)
        }
        template = x.function.latex

        def argument(place: re.Match[str]) -> str:
            before, after = template[: place.start(2)], template[place.end() :]
            text, strength = given[place[3]]
            if _OPENING.search(before) and _CLOSING.match(after):
                return place[1] + text
            if _WORD.search(before):
                return brackets(text)
            above = PRODUCT if after.startswith(r" \log") else UNARY if x.function.name == "neg" else CALLED
            above = ATOM if after.startswith("}^") else above
            return place[1] + (brackets(text) if strength < above else text)

        if any(TALL.search(text) for text, _ in given.values()):
            template = re.sub(r"([(|].*[)|])", lambda found: heighten(found[1]), template)
        return re.sub(r"( ?)(\$([xyz]))", argument, template)

    def _exponential(self, x: Scalar) -> str:
        """A power of e, unless it would be too small to read."""
        text = self.text(x)
        return rf"\exp{brackets(text)}" if TALL.search(text) or len(text) > 40 else f"e^{{{text}}}"

    def _choice(self, x: Call, work: str) -> tuple[str, int]:
        condition, yes, no = x.arguments
        if (_value(yes), _value(no)) in ((1, 0), (0, 1)):
            held = condition if _value(yes) == 1 else call("not", condition)
            return f"[{self.text(held)}]", ATOM
        rows = [rf"{self.text(yes, work)} & \text{{if }} {self.text(condition)}"]
        while isinstance(no, Call) and no.function.name == "where":
            condition, yes, no = no.arguments
            rows.append(rf"{self.text(yes, work)} & \text{{if }} {self.text(condition)}")
        rows.append(rf"{self.text(no, work)} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}", CHOICE

    # ------------------------------------------------------------ integers

    def _condition(self, x: Call) -> tuple[str, int] | None:
        found = super()._condition(x)
        return None if found is None else (signs(found[0]), found[1])

    def _poly(self, p: Poly) -> tuple[str, int]:
        text, strength = super()._poly(p)
        above, divided, below = text.rpartition(" // ")
        return (floor(signs(above), below), ATOM) if divided else (signs(text), strength)

    def _atom(self, a: object, above: int = ATOM) -> str:
        match a:
            case SizeSymbol() | Letter():
                return latex_name(a.name)
            case FloorDiv():
                return floor(self.text(a.numerator), self.text(a.denominator))
            case Load():
                text, strength = self._access(a)
                return brackets(text) if strength < above else text
        return super()._atom(a, above)


# ---------------------------------------------------------------- pieces of text


def _constant_of(node: Node) -> Scalar | None:
    """The number that all elements of a tensor are."""
    plain = isinstance(node, Compute) and node.gathers and not node.reduced
    return node.body if plain and isinstance(node, Compute) and _value(node.body) is not None else None


def _is_made_by_step(node: Node, scan: Scan) -> bool:
    return isinstance(node, Compute) and scan.depth in node.steps


def _step(depth: int) -> str:
    return f"t_{{{depth}}}" if depth else "t"


def _size(p: Poly) -> str:
    return _Printer.poly(_SIZES, p) if p.constant is None else show_size(p)


def _value(x: Scalar) -> Any:
    return x.value if isinstance(x, Const) else x.constant if isinstance(x, Poly) else None


def _is_counted(x: Scalar, dtype: str | None) -> bool:
    """Whether a condition stands for the number 1 or 0."""
    return x.dtype == "bool" and dtype not in (None, "bool")


_SIZES = _Printer(LatexFormulas(Written((), (), {}, frozenset())), ())
