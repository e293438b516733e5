"""Formulas as a person writes them: `u1[n, i] = sum_j X1[i, j] * a[n, j] + mu1[i]`.

In: nodes with names. Out: lines for the comments of generated files and for `explain`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gradgen.emit.scalar_printer import ScalarPrinter
from gradgen.graph.letters import index_letters
from gradgen.graph.nodes import Compute, Node, Project, Reshape, show_shape
from gradgen.graph.scalar import Load, Poly, Position, Scalar, Step, rewrite
from gradgen.program.loops import letter

NO_LETTERS: Mapping[int, str] = MappingProxyType({})


def formula(
    node: Node, names: Mapping[Node, str], body: Scalar | None = None, bound: Mapping[int, str] = NO_LETTERS
) -> str:
    """The defining formula of a node, with the user's letters where they are known.

    `body` stands for the node's own where parts are written into it; `bound` are letters of loops that it runs in.
    """
    match node:
        case Reshape():
            return f"{names[node]} = {names[node.source]} as {show_shape(node.shape)}"
        case Project():
            steps = f"scan over {show_shape((node.scan.length,))[1:-1]} steps"
            if node.kind == "states":
                carry = names.get(node.scan.carries[node.number], "carry")
                return f"{names[node]}: {carry} before each step of a {steps}, and after the last"
            return f"{names[node]}: {names.get(node.scan.outputs[node.number], 'a result')} of every step of a {steps}"
        case Compute():
            letters = index_letters(node, bound)
            printer = ScalarPrinter(
                _call, lambda x, p: _access(x, p, names), lambda value, dtype: f"{value:g}", _uncast
            )
            text = printer.text(_lettered(node.body if body is None else body, letters))
            target = ", ".join(printer.poly(_lettered_poly(t, letters)) for t in node.target)
            left = f"{names[node]}[{target}]" if node.target else names[node]
            if not node.gathers:
                return f"{left} += {text}"
            reduced = ", ".join(letters[k] for k in node.reduced)
            if not reduced:
                return f"{left} = {text}"
            subscript = reduced if len(node.reduced) == 1 else f"{{{reduced}}}"
            return f"{left} = {node.reducer}_{subscript} {text}"
    return names[node]


def _lettered(x: Scalar, letters: Sequence[str]) -> Scalar:
    def atom(a: object) -> Poly | None:
        if isinstance(a, Position):
            return letter(letters[a.position])
        return letter(f"t{a.depth or ''}") if isinstance(a, Step) else None

    return rewrite(x, lambda part: None, atom)


def _lettered_poly(p: Poly, letters: Sequence[str]) -> Poly:
    new = _lettered(p, letters)
    assert isinstance(new, Poly)
    return new


def _call(name: str, dtype: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(arguments)})"


def _plain_number(value: float, dtype: str) -> str:
    return f"{value:g}"


def _uncast(text: str, dtype: str) -> str:
    return f"({text})" if " " in text else text


def _access(x: Load, printer: ScalarPrinter, names: Mapping[Node, str]) -> str:
    name = names.get(x.tensor, "carry")
    return f"{name}[{', '.join(printer.poly(s) for s in x.subscripts)}]" if x.subscripts else name
