"""Automatic differentiation on paper: every operation of a small model with its value, and the adjoint beside it.

In: an output, numbers for its leaves. Out: a `Trace`, rows of text and values; `trace_table` arranges them. The
derivatives are those of `passes.derive.reverse`, applied to one operation at a time, and the values are those of the
reference interpreter, in float64. Numbers as in Baydin et al. (2018): v_0 and below are the leaves, v_1 the first
operation, and an operation stands behind everything that it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradgen.emit.formula import formula
from gradgen.errors import GraphError
from gradgen.graph.nodes import Compute, Custom, Leaf, Node, Project, compute, inputs, leaf, toposort
from gradgen.graph.origin import display_name, name_derivative, origin
from gradgen.graph.scalar import FLOATS, Call, Const, Load, Scalar, call, rewrite
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.contributions import Contribution
from gradgen.passes.derive.forward import jvp_nodes
from gradgen.passes.derive.reverse import node_adjoint, vjp_nodes
from gradgen.passes.derive.supports import EVERYWHERE, NOWHERE, Support, either
from gradgen.passes.lower.naming import name_nodes
from gradgen.passes.prepare.split import split_operations
from gradgen.passes.rebuild.look_through import pointwise_body
from gradgen.passes.rebuild.nodes import replace_nodes

__all__ = ["ASCII", "UNICODE", "Block", "Notation", "Row", "Trace", "forward_trace", "reverse_trace"]

Array = NDArray[Any]
MOST_ROWS = 100  # operations that a person reads; more are refused
MOST_ELEMENTS = 10_000  # of one value


@dataclass(frozen=True, slots=True)
class Notation:
    """How a trace writes v_3, its adjoint and its tangent."""

    letter: str
    subscripts: str
    adjoint: str
    tangent: str
    times: str

    def primal(self, number: int) -> str:
        return self.letter + "".join(self.subscripts["0123456789-".index(c)] for c in str(number))

    def marked(self, mark: str, name: str) -> str:
        """v3 with a bar or a dot over its letter, or d_ or t_ before it."""
        return f"{mark}{name}" if mark.endswith("_") else f"{name[0]}{mark}{name[1:]}"


UNICODE = Notation("v", "₀₁₂₃₄₅₆₇₈₉₋", "\N{COMBINING MACRON}", "\N{COMBINING DOT ABOVE}", "×")
ASCII = Notation("v_", "0123456789-", "d_", "t_", "*")


@dataclass(frozen=True, slots=True)
class Row:
    """What is computed, as text, and what it is."""

    text: str
    value: Array


@dataclass(frozen=True, slots=True)
class Block:
    """One value of the primal trace, and the rows of the derivative that belong to it."""

    primal: Row
    derivative: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Blocks from the leaves to the output; `results` are the derivatives asked for, by name."""

    blocks: tuple[Block, ...]
    results: Mapping[str, Array]


@dataclass(slots=True)
class _Operations:
    """The operations of a model, numbered; what each is over stand-ins for its operands, and its value."""

    notation: Notation
    sizes: Mapping[str, int]
    root: Node
    leaves: list[Leaf]
    order: list[Node]
    names: dict[Node, str] = field(default_factory=dict)
    stand_ins: dict[Node, Leaf] = field(default_factory=dict)
    local: dict[Node, Node] = field(default_factory=dict)
    values: dict[Node, Array] = field(default_factory=dict)

    def evaluate(self, node: Node, extra: Mapping[Leaf, Array]) -> Array:
        """A formula over stand-ins."""
        known = {**{self.stand_ins[x]: value for x, value in self.values.items()}, **extra}
        below = {x for x in toposort([node]) if isinstance(x, Leaf)}
        (value,) = interpret([node], {x: known[x] for x in below}, self.sizes)
        return value

    def text(self, node: Node, result: str, like: Node, local: Mapping[Node, str]) -> str:
        """`result = formula`, for a formula over stand-ins that is computed for, or with the indices of, `like`."""
        shown = _written_out(node, local)
        if isinstance(shown, Custom):  # its adjoint is in the other column
            shown = shown.value
        if isinstance(shown, Leaf):
            return f"{result} = {shown.name}"
        if any(isinstance(x, Project) for x in toposort([shown])):
            return f"{result}: step by step through a scan"
        if like not in self.local or node is not self.local[like]:
            name_derivative(like, shown, "d_")
        text = formula(shown, self._helper_names(shown, {**local, shown: result}))
        return text.replace(" * ", f" {self.notation.times} ")

    def _helper_names(self, node: Node, known: Mapping[Node, str]) -> dict[Node, str]:
        """Names for what a derivative computes on the way: `argmax(v3)` is that of the formula it looks at."""
        names = name_nodes(toposort([node]), known)
        for x in names:
            if x not in known and not isinstance(x, Leaf):
                names[x] = f"{names[x]}({', '.join(names[y] for y in inputs(x))})"
        return names


def reverse_trace(
    root: Node,
    output: str,
    values: Mapping[Leaf, Array],
    wrt: Sequence[Leaf],
    sizes: Mapping[str, int],
    notation: Notation = UNICODE,
) -> Trace:
    """The primal trace downwards, the adjoint trace upwards; leaves are numbered in the order of `values`.

    Raises:
        GraphError: too many operations, or too large values, for a person to read.
    """
    ops = _operations(root, values, sizes, notation)
    active = _depending(ops.order, set(wrt))
    bars: dict[Node, Leaf] = {}
    adjoints: dict[Node, Array] = {}
    rows: dict[Node, list[Row]] = {}

    def bar(x: Node) -> Leaf:
        if x not in bars:
            bars[x] = leaf(notation.marked(notation.adjoint, ops.names[x]), x.shape, x.dtype, "cotangent")
        return bars[x]

    supports: dict[Node, Support] = {}
    if ops.root in active:
        adjoints[ops.root] = np.ones_like(ops.values[ops.root])
    for node in reversed(ops.order):
        found = rows.setdefault(node, [])
        if node not in adjoints or isinstance(node, Leaf):
            continue
        local = ops.local[node]
        places: dict[Node, Node] = {ops.stand_ins[x]: x for x in inputs(node) if x in active}
        names = {local: ops.names[node], bar(node): bar(node).name}
        for term in _contributions(local, bar(node), set(places), supports.get(node, EVERYWHERE)):
            x = places[term.to]
            supports[x] = either(supports.get(x, NOWHERE), term.support)
            value = ops.evaluate(term.adjoint, {bar(node): adjoints[node]})
            text = _scaled(ops.text(term.adjoint, bar(x).name, x, names), term.adjoint, bar(node), notation)
            if x in adjoints:
                value = adjoints[x] + value
                text = _added(text)
            adjoints[x] = value
            found.append(Row(text, value))
    results = {x.name: adjoints.get(x, np.zeros_like(ops.values[x])) for x in wrt if x in ops.values}
    blocks = []
    for node in ops.order:
        derivative = list(reversed(rows[node]))
        if isinstance(node, Leaf) and node.name in results and node in wrt:
            right = bar(node).name if node in adjoints else "0"
            derivative = [Row(f"d_{node.name} = {right}", results[node.name])]
        blocks.append(Block(_primal_row(ops, node), tuple(derivative)))
    last = [Row(f"{bar(ops.root).name} = d_{output}", adjoints[ops.root])] if ops.root in adjoints else []
    blocks.append(Block(Row(f"{output} = {ops.names[ops.root]}", ops.values[ops.root]), tuple(last)))
    return Trace(tuple(blocks), results)


def forward_trace(
    root: Node,
    output: str,
    values: Mapping[Leaf, Array],
    seeds: Mapping[Leaf, Array],
    sizes: Mapping[str, int],
    notation: Notation = UNICODE,
) -> Trace:
    """Primal and tangent trace, both downwards; `seeds` are the tangents of the leaves, and others have none.

    Raises:
        GraphError: too many operations, or too large values, for a person to read.
    """
    ops = _operations(root, values, sizes, notation)
    active = _depending(ops.order, set(seeds))
    dots: dict[Node, Leaf] = {}
    tangents: dict[Node, Array] = {}
    blocks = []
    for node in ops.order:
        right: list[Row] = []
        if node in active:
            dots[node] = leaf(notation.marked(notation.tangent, ops.names[node]), node.shape, node.dtype, "cotangent")
            if isinstance(node, Leaf):
                tangents[node], text = seeds[node], f"{dots[node].name} = t_{node.name}"
            else:
                moving = [x for x in inputs(node) if x in active]
                local = ops.local[node]
                (tangent,) = jvp_nodes([local], [ops.stand_ins[x] for x in moving], [dots[x] for x in moving])
                tangents[node] = ops.evaluate(tangent, {dots[x]: tangents[x] for x in moving})
                names: dict[Node, str] = {local: ops.names[node], **{dots[x]: dots[x].name for x in moving}}
                text = ops.text(tangent, dots[node].name, node, names)
                if len(moving) == 1:
                    text = _scaled(text, tangent, dots[moving[0]], notation)
            right = [Row(text, tangents[node])]
        blocks.append(Block(_primal_row(ops, node), tuple(right)))
    result = tangents.get(ops.root, np.zeros_like(ops.values[ops.root]))
    last = [Row(f"t_{output} = {dots[ops.root].name if ops.root in dots else 0}", result)]
    blocks.append(Block(Row(f"{output} = {ops.names[ops.root]}", ops.values[ops.root]), tuple(last)))
    return Trace(tuple(blocks), {output: result})


# ---------------------------------------------------------------- operations


def _operations(root: Node, values: Mapping[Leaf, Array], sizes: Mapping[str, int], notation: Notation) -> _Operations:
    (root,) = split_operations([root])
    unordered = toposort([root])
    below = set(unordered)
    leaves = [x for x in values if x in below]
    count = len(unordered) - len(leaves)
    if count > MOST_ROWS:
        raise GraphError(
            f"this model has {count} operations, and a trace of more than {MOST_ROWS} is nothing to read. "
            "Trace a part of it: an output nearer to the inputs, or fewer layers."
        )
    depth: dict[Node, int] = {}
    for node in unordered:
        depth[node] = 0 if isinstance(node, Leaf) else 1 + max((depth[x] for x in inputs(node)), default=0)
    operations = sorted((x for x in unordered if not isinstance(x, Leaf)), key=lambda x: depth[x])
    ops = _Operations(notation, sizes, root, leaves, [*leaves, *operations])
    for k, node in enumerate(ops.order):
        ops.names[node] = notation.primal(k - len(leaves) + 1)
        ops.stand_ins[node] = leaf(ops.names[node], node.shape, node.dtype, "input")
        if isinstance(node, Leaf):
            ops.values[node] = values[node]
        else:
            (ops.local[node],) = replace_nodes([node], {x: ops.stand_ins[x] for x in inputs(node)})
            ops.values[node] = ops.evaluate(ops.local[node], {})
        if ops.values[node].size > MOST_ELEMENTS:
            raise GraphError(
                f"{_called(ops, node)} has {ops.values[node].size} elements, and a trace of more than {MOST_ELEMENTS} "
                "is nothing to read. Give smaller sizes, as in --size N=2."
            )
    return ops


def _called(ops: _Operations, node: Node) -> str:
    return node.name if isinstance(node, Leaf) else display_name(node) if origin(node) else ops.names[node]


def _primal_row(ops: _Operations, node: Node) -> Row:
    name = ops.names[node]
    if isinstance(node, Leaf):
        return Row(f"{name} = {node.name}", ops.values[node])
    return Row(ops.text(ops.local[node], name, node, {}), ops.values[node])


def _depending(order: Sequence[Node], sources: set[Node]) -> set[Node]:
    """The float values that depend on one of the sources."""
    active = {x for x in order if x in sources}
    for node in order:
        if node.dtype in FLOATS and any(x in active for x in inputs(node)):
            active.add(node)
    return active


def _contributions(local: Node, bar: Leaf, active: set[Node], support: Support) -> list[Contribution]:
    """What one operation adds to the adjoints of its operands, and where."""
    if isinstance(local, Project):
        wrt = [x for x in inputs(local) if x in active]
        pairs = zip(wrt, vjp_nodes([local], [bar], wrt), strict=True)
        return [Contribution(x, d_x, EVERYWHERE) for x, d_x in pairs]
    return node_adjoint(local, bar, active, support)


# ---------------------------------------------------------------- text


def _written_out(node: Node, known: Mapping[Node, str]) -> Node:
    """The formula with pointwise helpers in place, and d / q for d * (1 / q), as a person writes it."""

    def change(x: Scalar) -> Scalar | None:
        match x:
            case Load(tensor=tensor) if not isinstance(tensor, Leaf) and tensor not in known:
                return pointwise_body(x)
            case Call(function=f, arguments=(d, Call(function=g, arguments=(Const(text="1"), q)))) if (
                f.name == "mul" and g.name == "div"
            ):
                return call("div", d, q)
            case Call(function=f, arguments=(Call(function=g, arguments=(Const(text="1"), q)), d)) if (
                f.name == "mul" and g.name == "div"
            ):
                return call("div", d, q)
        return None

    while isinstance(node, Compute):
        body = rewrite(node.body, change, lambda atom: None)
        if body is node.body:
            break
        node = compute(node.shape, node.extents, node.target, node.reducer, body)
    return node


def _added(text: str) -> str:
    """The same row where there is something already: `v0 = a` becomes `v0 = v0 + a`; `+=` says so by itself."""
    left, equals, right = text.partition(" = ")
    if not equals or left.endswith("+"):
        return text
    return f"{left} = {left} + ({right})" if " if " in right else f"{left} = {left} + {right}"


def _scaled(text: str, node: Node, d: Leaf, notation: Notation) -> str:
    """A derivative of 1 or -1 is written as a factor, as on paper."""
    if node is d:
        return f"{text} {notation.times} 1"
    match node:
        case Compute(body=Call(function=f, arguments=(Load(tensor=tensor),))) if f.name == "neg" and tensor is d:
            before, _, operand = text.partition(" = -")
            return f"{before} = {operand} {notation.times} (-1)"
    return text
