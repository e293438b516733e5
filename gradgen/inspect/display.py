"""Tensors where one works with them: at a prompt, in a notebook.

In: a tensor. Out: its formula in one line; with what it is made of as text, HTML and LaTeX, in a time that does
not grow with the graph.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Protocol, runtime_checkable

from gradgen.errors import GraphError
from gradgen.graph.axes import shown
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Leaf, Node, show_shape
from gradgen.graph.origin import origin
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.inspect.formulas import Written, as_written, written_near
from gradgen.inspect.latex import LatexFormulas
from gradgen.inspect.latex_pieces import aligned
from gradgen.inspect.text import named_graph_text
from gradgen.lang.nested import leaves
from gradgen.passes.lower.naming import described

__all__ = [
    "MORE",
    "WIDE",
    "Text",
    "cut",
    "formulas_latex",
    "show",
    "table",
    "tensor_html",
    "tensor_latex",
    "tensor_line",
    "tensor_text",
]

FEW, MORE = 6, 12  # formulas that are shown at a prompt, and in a notebook
WIDE = 120  # columns of a prompt
NEAR, FAR = 16, 120  # how many nodes are looked at for one formula, and for several
_KINDS = {
    "param": "parameters",
    "input": "inputs",
    "state": "states",
    "constant": "constants",
    "cotangent": "cotangents",
}


class Text(str):
    """Lines that show themselves at a prompt as `print` shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@runtime_checkable
class Shown(Protocol):
    """What has formulas and shows them itself, as `network.Network` does."""

    source: str

    def show(self) -> Text: ...


def show(tensors: Any) -> Text:
    """Every formula below tensors, as declared, each with the user's file and line.

    Args:
        tensors: one, as operations and layers make it, or several in nested tuples, lists and dicts; or a network,
            whose method `show` has other stages too.

    Raises:
        GraphError: there is no tensor in it.
    """
    some = isinstance(tensors, (Tensor, tuple, list, dict))
    if not some and isinstance(tensors, Shown):
        return tensors.show()
    found = leaves(tensors, "gg.show") if some else []
    if not found:
        raise GraphError(f"{here()}gg.show takes tensors or a network, not {shown(tensors)}.")
    roots: dict[str, Node] = {}
    for x in dict.fromkeys(found):
        roots[free_name(_called(x.node), roots)] = x.node
    return Text(named_graph_text(roots))


def tensor_line(x: Tensor) -> str:
    """Name, dtype, shape and the formula of a tensor, as one line: `<Tensor y: float32 (B), y[n] = x[n] + 1>`."""
    head = _head(x)
    if isinstance(x.node, Leaf):
        return f"<{head}>"
    lines = [text for _, text in _written(x.node, NEAR).lines(x.node)]
    return f"<{cut(', '.join([head, *lines]), WIDE - 2)}>"


def tensor_text(x: Tensor) -> str:
    """The formula of a tensor, then those that it is made of, nearest first; a few lines in all."""
    found = [f"<{_head(x)}>"]
    if isinstance(x.node, Leaf):
        return found[0]
    written = _written(x.node, FAR)
    lines: list[str] = []
    left = written.formulas  # those that are not shown are not printed
    while left and len(lines) < FEW:
        lines += [text for _, text in written.lines(left.pop())]
    found += [f"  {cut(line, WIDE - 2)}" for line in lines]
    if left or written.is_cut:
        count = "" if written.is_cut else f"{len(left)} "
        found.append(f"  ... and {count}more: gg.show({_assigned(x.node) or '...'})")
    return "\n".join([*found, *(f"  {cut(line, WIDE - 2)}" for line in _given(written))])


def tensor_latex(x: Tensor) -> str:
    """The formulas that a tensor is made of, producers first, then its own."""
    if isinstance(x.node, Leaf):
        return f"$${LatexFormulas(as_written({x.node.name: x.node})).symbol(x.node)}$$"
    return formulas_latex(_written(x.node, FAR), MORE)


def tensor_html(x: Tensor) -> str:
    """The same formulas, under a line with name, dtype and shape, over a table of what has to be given."""
    head = f"<b>{escape(_assigned(x.node) or 'unnamed')}</b>: {x.dtype} {escape(show_shape(x.node.shape))}"
    if isinstance(x.node, Leaf):
        return f"<div>{head}, {_KINDS[x.node.role].removesuffix('s')}</div>"
    written = _written(x.node, FAR)
    rows = [
        (written.names[leaf], _KINDS[leaf.role].removesuffix("s"), leaf.dtype, show_shape(leaf.shape))
        for leaf in _of(written)
    ]
    return f"<div>{head}\n{escape(formulas_latex(written, MORE), quote=False)}\n{table(rows) if rows else ''}</div>"


def formulas_latex(written: Written, most: int) -> str:
    """The last formulas, as one displayed formula; dots stand for those before them."""
    latex = LatexFormulas(written)
    left, lines = written.formulas, list[str]()
    while left and len(lines) < most:
        lines = [*latex.lines(left.pop()), *lines]
    return aligned([r"\vdots &", *lines] if left or written.is_cut else lines)


def table(rows: Iterable[Sequence[str]], heading: Sequence[str] = ("name", "role", "dtype", "shape")) -> str:
    """Rows of texts as an HTML table; the texts are escaped here."""

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return "\n".join(["<table>", row(heading, "th"), *(row(cells, "td") for cells in rows), "</table>"])


def cut(line: str, width: int) -> str:
    """A line of that width at most."""
    return line if len(line) <= width else f"{line[: width - 4]} ..."


def _written(node: Node, most: int) -> Written:
    return written_near(_called(node), node, most)


def _head(x: Tensor) -> str:
    return f"Tensor {_assigned(x.node) or 'unnamed'}: {x.dtype} {show_shape(x.node.shape)}"


def _assigned(node: Node) -> str | None:
    """The name of a leaf or of what was assigned, with the d_ of an adjoint."""
    found = origin(node)
    return node.name if isinstance(node, Leaf) else found.bound_name if found else None


def _called(node: Node) -> str:
    return _assigned(node) or described(node, {})


def _of(written: Written) -> list[Leaf]:
    return sorted(written.leaves, key=lambda leaf: leaf.serial)


def _given(written: Written) -> list[str]:
    """`  of parameters W (3, 4); inputs x (B, 3), k int64 (B)`: what the caller gives."""
    found: dict[str, list[str]] = {}
    for leaf in _of(written):
        dtype = "" if leaf.dtype == "float32" else f"{leaf.dtype} "
        found.setdefault(_KINDS[leaf.role], []).append(f"{written.names[leaf]} {dtype}{show_shape(leaf.shape)}")
    kinds = [f"{kind} {', '.join(names)}" for kind, names in found.items()]
    kinds += ["..."] if written.is_cut else []
    return [f"of {'; '.join(kinds)}"] if kinds else []
