"""A random graph for every element of a new axis is the graph for each element: values, gradients, tangents."""

from collections.abc import Callable

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.graph.nodes import Leaf, Node, leaf
from gradgen.graph.scalar import integer
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.rebuild.nodes import replace_nodes
from tests.properties import checks
from tests.properties.cases import Case, rounding
from tests.properties.derivatives import float_leaves, float_outputs, moderate, twins
from tests.properties.formulas import formulas

EXAMPLES = settings.default.max_examples
COUNT = 3

Mapped = tuple[dict[Leaf, int], dict[Leaf, np.ndarray]]  # the axis of every mapped leaf, and the values of all elements


@st.composite
def mapped(draw: Callable, scans: bool = False) -> tuple[Case, Mapped]:
    """A case, and which of its leaves have more elements: the values of one leaf are places inside for all of them."""
    case = draw(formulas(scans=scans))
    assume(case.values)
    chosen = [x for x in case.values if draw(st.integers(0, 2))] or list(case.values)[:1]
    along = {x: draw(st.integers(0, len(x.shape))) for x in chosen}
    more = {}
    for x, axis in along.items():
        each = [np.roll(case.values[x], k) * (1 if x.dtype == "int64" else 1 - k / 8) for k in range(COUNT)]
        more[x] = np.stack(each, axis).astype(x.dtype)
    return case, (along, more)


def wide(case: Case, along: dict[Leaf, int], more: dict[Leaf, np.ndarray], nodes: list[Node]) -> Case:
    """The nodes mapped over some leaves, which have another axis."""
    leaves = {
        x: leaf(f"{x.name}_each", (*x.shape[:axis], integer(COUNT), *x.shape[axis:]), x.dtype, "input")
        for x, axis in along.items()
    }

    def one(*elements: Tensor) -> list[Tensor]:
        given = {x: element.node for x, element in zip(leaves, elements, strict=True)}
        return [tensor(n) for n in replace_nodes(nodes, given)]

    found = gg.vmap(one, in_axes=tuple(along.values()))(*map(tensor, leaves.values()))
    values = {x: array for x, array in case.values.items() if x not in along}
    every = {**values, **{leaves[x]: array for x, array in more.items()}}
    return Case(tuple(t.node for t in found), every, case.sizes, case.features)


def one_by_one(case: Case, along: dict[Leaf, int], more: dict[Leaf, np.ndarray], nodes: list[Node]) -> list[np.ndarray]:
    each = [
        interpret(nodes, {**case.values, **{x: more[x].take(k, axis) for x, axis in along.items()}}, case.sizes)
        for k in range(COUNT)
    ]
    return [np.stack(arrays) for arrays in zip(*each, strict=True)]


def agree(case: Case, along: dict[Leaf, int], more: dict[Leaf, np.ndarray], nodes: list[Node]) -> None:
    wanted = one_by_one(case, along, more, nodes)
    assume(moderate(wanted))
    found = wide(case, along, more, nodes)
    for array, right in zip(interpret(found.outputs, found.values, case.sizes), wanted, strict=True):
        checks.assert_near(array, right, case, rounding(case), "every element")


@settings(max_examples=EXAMPLES // 6)
@given(mapped())
def test_values(drawn: tuple[Case, Mapped]) -> None:
    case, (along, more) = drawn
    agree(case, along, more, list(case.outputs))


@settings(max_examples=EXAMPLES // 20)
@given(mapped(scans=True))
def test_gradients_and_tangents(drawn: tuple[Case, Mapped]) -> None:
    """A derivative for every element: of what is mapped, and of what is not."""
    case, (along, more) = drawn
    outputs, wrt = float_outputs(case), float_leaves(case.values)
    assume(outputs and wrt)
    rng = np.random.default_rng(0)
    found = interpret(outputs, case.values, case.sizes)
    assume(moderate(found))
    weights = twins(outputs, "w", rng, found)
    direction = twins(wrt, "v", rng, [case.values[x] for x in wrt])
    pulled = gg.vjp(list(map(tensor, outputs)), list(map(tensor, wrt)), list(map(tensor, weights)))
    pushed = gg.jvp(list(map(tensor, outputs)), list(map(tensor, wrt)), list(map(tensor, direction)))
    with_seeds = Case(case.outputs, {**case.values, **weights, **direction}, case.sizes, case.features)
    agree(with_seeds, along, more, [t.node for t in (*pulled, *pushed)])


@settings(max_examples=EXAMPLES // 40)
@given(mapped(scans=True))
def test_the_emitted_file_computes_the_same(drawn: tuple[Case, Mapped]) -> None:
    case, (along, more) = drawn
    assume(moderate(one_by_one(case, along, more, list(case.outputs))))
    found = wide(case, along, more, list(case.outputs))
    outputs = tuple(dict.fromkeys(found.outputs))
    checks.unjitted_code_agrees(Case(outputs, found.values, case.sizes, case.features))
