"""Formulas as a person writes them: `u1[n, i] = sum_j X1[i, j] * a[n, j] + mu1[i]`.

In: nodes with names. Out: lines for the comments of generated files and for `explain`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, count
from types import MappingProxyType

from gradgen.emit.scalar_printer import PRODUCT, ScalarPrinter
from gradgen.graph.names import free_letter, index_letters
from gradgen.graph.nodes import Carry, Compute, Custom, Node, Project, Reshape, show_shape
from gradgen.graph.polynomials import applied
from gradgen.graph.scalar import (
    FLOATS,
    Atom,
    Call,
    Load,
    Poly,
    Position,
    Scalar,
    Step,
    children,
    position_atom,
    require_poly,
    rewrite,
    slot,
    substitute,
    walk,
)
from gradgen.graph.shared import shared_integer
from gradgen.program.loops import letter
from gradgen.program.registers import LARGE, SHARED

_PARTS = "abcdefgh"  # what parts of a formula are called that occur in it several times
NO_LETTERS: Mapping[int, str] = MappingProxyType({})


def formula(
    node: Node,
    names: Mapping[Node, str],
    body: Scalar | None = None,
    bound: Mapping[int, str] = NO_LETTERS,
    steps: Mapping[int, str] = NO_LETTERS,
    written: Collection[Node] = (),
) -> str:
    """The defining formula of a node, with the user's letters where they are known.

    `body` stands for the node's own where parts are written into it; `bound` are letters of loops that it runs in,
    `steps` those of scans by their depth; the formulas of the nodes in `written` stand where they are read.
    """
    match node:
        case Reshape():
            return f"{names[node]} = {names[node.source]} as {show_shape(node.shape)}"
        case Project():
            backwards = " backwards" if node.scan.reverse else ""
            scan = f"scan{backwards} over {show_shape((node.scan.length,))[1:-1]} steps"
            if node.kind == "states":
                carry = names.get(node.scan.carries[node.number], "carry")
                return f"{names[node]}: {carry} before each step of a {scan}, and after the last"
            return f"{names[node]}: {names.get(node.scan.outputs[node.number], 'a result')} of every step of a {scan}"
        case Custom():
            adjoints = (f"of {names[x]}: {names[d_x]}" for x, d_x in zip(node.operands, node.adjoints, strict=True))
            return f"{names[node]} = {names[node.value]}, with adjoints of its own ({', '.join(adjoints)})"
        case Compute():
            letters = index_letters(node, bound)
            taken = set(letters)

            def access(x: Load, printer: ScalarPrinter) -> str:
                if isinstance(x.tensor, Compute) and x.tensor in written:
                    return _in_place(x.tensor, x.subscripts, written, printer, taken, steps)
                return _access(x, printer, names)

            printer = ScalarPrinter(_call, access, lambda value, dtype: repr(value).removesuffix(".0"), _uncast)
            whole = with_parts(node.body if body is None else body, written)
            reduced, own = _reduced(node, letters), lettered(whole, letters, steps)
            value, parts = in_parts(own, {*letters, *names.values()})
            text = printer.text(value, None, PRODUCT) if reduced else _bare(printer.text(value))
            if parts:
                text += f", with {', '.join(f'{name} = {_bare(printer.text(x))}' for name, x in parts)}"
            target = ", ".join(printer.poly(require_poly(lettered(t, letters, steps))) for t in node.target)
            left = f"{names[node]}[{target}]" if node.target else names[node]
            if not node.gathers:
                return f"{left} {'+=' if node.reducer == 'sum' else f'{node.reducer}='} {text}"
            return f"{left} = {reduced}{text}"
    return names[node]


def carried(carry: Carry, order: Iterable[Node], names: Mapping[Node, str]) -> list[tuple[Node, str]]:
    """What the first step begins with, and what a step hands to the next; beside a result of the scan among `order`."""
    found: list[tuple[Node, str]] = []
    for scan, result in {node.scan: node for node in order if isinstance(node, Project)}.items():
        for c, start, following in zip(scan.carries, scan.inits, scan.nexts, strict=True):
            if c is carry:
                text = f"{names[carry]}: {names[start]} in the first step, then {names[following]} of the step before"
                found.append((result, text))
    return found


def _reduced(node: Compute, letters: Sequence[str]) -> str:
    """`sum_j ` or `sum_{j, k} `, and nothing where nothing is reduced."""
    reduced = ", ".join(letters[k] for k in node.reduced)
    if not reduced:
        return ""
    return f"{node.reducer}_{reduced} " if len(node.reduced) == 1 else f"{node.reducer}_{{{reduced}}} "


def in_parts(root: Scalar, taken: set[str]) -> tuple[Scalar, list[tuple[str, Scalar]]]:
    """An expression that reads what occurs in it several times by a name, and these parts, inner ones first."""
    parts: list[tuple[str, Scalar]] = []
    unused = (name for name in chain(_PARTS, (f"a{k}" for k in count(1))) if name not in taken)
    while (integer := shared_integer(root, lambda part: bool(children(part)))) is not None:
        parts.append((next(unused), integer))
        root = substitute(root, {}, {integer: letter(parts[-1][0])})
    uses = Counter(part for x in walk(root) for part in children(x))
    built: dict[Scalar, Scalar] = {}
    sizes: dict[Scalar, int] = {}
    for x in walk(root):
        built[x], sizes[x] = x, 0
        if not isinstance(x, Call):
            continue
        if any(built[part] is not part for part in x.arguments):
            built[x] = applied(x.function, tuple(built[part] for part in x.arguments), x.dtype)
        sizes[x] = 1 + sum(sizes[part] for part in x.arguments)
        if x is not root and x.dtype in FLOATS and (sizes[x] >= LARGE or (sizes[x] >= SHARED and uses[x] > 1)):
            name = next(unused)
            parts.append((name, built[x]))
            built[x], sizes[x] = slot(name, x.dtype), 0
    return built[root], parts


def with_parts(body: Scalar, written: Collection[Node]) -> Scalar:
    """The expression with the bodies of the pointwise nodes in `written` instead of what they hold."""

    def change(x: Scalar) -> Scalar | None:
        if isinstance(x, Load) and isinstance(x.tensor, Compute) and x.tensor in written and not x.tensor.reduced:
            found: dict[Atom, Poly] = {position_atom(k): s for k, s in enumerate(x.subscripts)}
            return substitute(with_parts(x.tensor.body, written), found)
        return None

    return rewrite(body, change, lambda atom: None)


def _in_place(
    node: Compute,
    subscripts: Sequence[Poly],
    written: Collection[Node],
    printer: ScalarPrinter,
    taken: set[str],
    steps: Mapping[int, str],
) -> str:
    """The formula of a reduction at subscripts, where nothing else has its letters."""
    letters = index_letters(node)
    found: dict[Atom, Poly] = {position_atom(k): s for k, s in enumerate(subscripts)}
    for k in node.reduced:
        letters[k] = free_letter(letters[k], taken)
        taken.add(letters[k])
        found[position_atom(k)] = letter(letters[k])
    body = lettered(substitute(with_parts(node.body, written), found), (), steps)  # no positions are left, only steps
    reduced = _reduced(node, letters)
    return _uncast(f"{reduced}{printer.text(body, None, PRODUCT if reduced else 0)}", node.dtype)


def lettered(x: Scalar, letters: Sequence[str], steps: Mapping[int, str]) -> Scalar:
    """The expression with letters for its positions and its steps."""

    def atom(a: object) -> Poly | None:
        if isinstance(a, Position):
            return letter(letters[a.position])
        return letter(steps.get(a.depth, f"t{a.depth or ''}")) if isinstance(a, Step) else None

    return rewrite(x, lambda part: None, atom)


def _call(name: str, dtype: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(map(_bare, arguments))})"


def _uncast(text: str, dtype: str) -> str:
    """The value of a cast as a factor or a term."""
    return text if _end_of_first(text) == len(text) else f"({text})"


def _bare(text: str) -> str:
    """The text without brackets around all of it."""
    return text[1:-1] if text.startswith("(") and _end_of_first(text) == len(text) else text


def _end_of_first(text: str) -> int:
    """Where the name, number, call, element or bracket ends that a text begins with."""
    depth = 0
    for at, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and not (c.isalnum() or c in "_.)]}"):
            return at
        if depth == 0 and c in ")]}" and text[at + 1 : at + 2] not in ("[", "("):
            return at + 1
    return len(text)


def _access(x: Load, printer: ScalarPrinter, names: Mapping[Node, str]) -> str:
    name = names.get(x.tensor, "carry")
    return f"{name}[{', '.join(printer.poly(s) for s in x.subscripts)}]" if x.subscripts else name
