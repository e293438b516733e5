"""What holds for every graph: shapes, gradients against differences, the dot test, second order, passes, emitted code.

In: a `Case` of any strategy. Out: an AssertionError where the compiler is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import assume, event, reject

import gradgen as gg
from gradgen.errors import ShapeError
from gradgen.graph.nodes import Compute, Leaf, Node, Project, all_inputs, identity, pointwise, toposort
from gradgen.graph.scalar import FLOATS, call, number
from gradgen.graph.sizes import reads_data
from gradgen.graph.tensor import tensor
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from gradgen.passes.derive.forward import jvp_nodes
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.lower.naming import sizes_of
from gradgen.passes.prepare.cast_operands import cast_operands
from gradgen.passes.prepare.sequence import prepare
from gradgen.passes.prepare.split import split
from gradgen.passes.rebuild.nodes import map_nodes
from gradgen.passes.rewrite.contract import contract
from gradgen.passes.rewrite.gather import gather
from gradgen.passes.rewrite.logsumexp import lower_reducers
from gradgen.passes.rewrite.merge_scans import merge_scans
from gradgen.passes.rewrite.simplify import simplify
from tests.cpu.running import unjitted
from tests.properties.cases import Case, rounding
from tests.properties.derivatives import (
    TOLERANCE,
    directional,
    float_leaves,
    float_outputs,
    inner,
    magnitude,
    moderate,
    twins,
)

# Passes that rewrite a graph and must keep its values.
REWRITES: tuple[Callable[..., Any], ...] = (
    split,
    prepare,
    simplify,
    gather,
    merge_scans,
    lower_reducers,
    contract,
)


def shapes_and_dtypes(case: Case) -> list[np.ndarray]:
    """Of the interpreter's arrays, as the nodes declare them; the inputs keep their values. Returns the arrays."""
    before = {x: array.copy() for x, array in case.values.items()}
    found = interpret(case.outputs, case.values, case.sizes)
    assert [array.dtype.name for array in found] == [y.dtype for y in case.outputs]
    assert [array.ndim for array in found] == [len(y.shape) for y in case.outputs]
    for x, array in case.values.items():
        np.testing.assert_array_equal(array, before[x])
    return found


def gradients_are_differences(case: Case) -> None:
    """<J^T w, v> is d/dt <w, f(x + t v)>."""
    outputs, wrt = float_outputs(case), float_leaves(case.values)
    assume(outputs and wrt)
    rng = np.random.default_rng(0)
    found = interpret(outputs, case.values, case.sizes)
    assume(moderate(found))
    weights = twins(outputs, "w", rng, found)
    direction = {x: rng.normal(size=case.values[x].shape) for x in wrt}
    measured, scale = directional(outputs, list(weights.values()), case, case.values, direction)
    nodes = vjp_nodes(outputs, list(weights), wrt)
    gradients = interpret(nodes, {**case.values, **weights}, case.sizes)
    assert [g.shape for g in gradients] == [case.values[x].shape for x in wrt]
    assert [g.dtype.name for g in gradients] == [x.dtype for x in wrt]
    derived = inner(gradients, list(direction.values()))
    event("gradients not all zero" if any(g.any() for g in gradients) else "gradients zero")
    assert abs(derived - measured) < TOLERANCE * max(scale, magnitude(gradients, list(direction.values())))


def forward_and_reverse_mode_agree(case: Case) -> None:
    """The dot test: <J v, w> = <v, J^T w>; it needs no smoothness."""
    outputs, wrt = float_outputs(case), float_leaves(case.values)
    assume(outputs and wrt)
    rng = np.random.default_rng(0)
    weights = twins(outputs, "w", rng, interpret(outputs, case.values, case.sizes))
    direction = twins(wrt, "v", rng, [case.values[x] for x in wrt])
    pulled = interpret(vjp_nodes(outputs, list(weights), wrt), {**case.values, **weights}, case.sizes)
    pushed = interpret(jvp_nodes(outputs, wrt, list(direction)), {**case.values, **direction}, case.sizes)
    assert [t.shape for t in pushed] == [w.shape for w in weights.values()]
    assert [t.dtype.name for t in pushed] == [y.dtype for y in outputs]
    assume(moderate(pulled) and moderate(pushed))
    left, right = inner(pushed, list(weights.values())), inner(pulled, list(direction.values()))
    scale = max(magnitude(pushed, list(weights.values())), magnitude(pulled, list(direction.values())))
    assert abs(left - right) < rounding(case) * scale


def second_derivatives_are_differences_of_gradients(case: Case) -> None:
    """With g = J^T w: <d<g, c>/dx, v> is d/dt <c, g(x + t v)>, and d<g, c>/dw is J c."""
    outputs, wrt = float_outputs(case), float_leaves(case.values)
    assume(outputs and wrt)
    rng = np.random.default_rng(0)
    weights = twins(outputs, "w", rng, interpret(outputs, case.values, case.sizes))
    again = twins(wrt, "c", rng, [case.values[x] for x in wrt])
    values = {**case.values, **weights}
    gradients = vjp_nodes(outputs, list(weights), wrt)
    below = set(toposort(gradients))
    inputs = [x for x in (*wrt, *weights) if x in below]
    assume(inputs)
    direction = {x: rng.normal(size=values[x].shape) for x in inputs if x in wrt}
    measured, scale = directional(gradients, list(again.values()), case, values, direction)
    second = dict(
        zip(inputs, interpret(vjp_nodes(gradients, list(again), inputs), {**values, **again}, case.sizes), strict=True)
    )
    derived = inner([second[x] for x in direction], list(direction.values()))
    terms = magnitude([second[x] for x in direction], list(direction.values()))
    event("second derivatives not all zero" if any(second[x].any() for x in direction) else "second derivatives zero")
    assert abs(derived - measured) < TOLERANCE * max(scale, terms)
    pushed = interpret(jvp_nodes(outputs, wrt, list(again)), {**case.values, **again}, case.sizes)
    for w, tangent in zip(weights, pushed, strict=True):
        if w in second:
            np.testing.assert_allclose(
                second[w], tangent, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(tangent).max(initial=0))
            )


def passes_keep_the_values(case: Case) -> None:
    """Of outputs and of gradients; an access that was guarded stays guarded.

    Operands have one dtype before anything else happens to them, and those of derivatives do without help.
    """
    roots, values = cast_operands(case.outputs), dict(case.values)
    wanted = interpret(case.outputs, values, case.sizes)
    for before, after in zip(wanted, interpret(roots, values, case.sizes), strict=True):
        np.testing.assert_array_equal(after, before)
    outputs, wrt = [y for y in roots if y.dtype in FLOATS], float_leaves(case.values)
    if outputs and wrt:
        weights = twins(outputs, "w", np.random.default_rng(0), interpret(outputs, case.values, case.sizes))
        pulled = vjp_nodes(outputs, list(weights), wrt)
        assert cast_operands(pulled) == pulled
        roots, values = [*roots, *pulled], {**values, **weights}
        wanted += interpret(pulled, values, case.sizes)
    names = [f"result {k}" for k in range(len(roots))]
    for rewrite in REWRITES:
        rewritten = rewrite(roots)
        rewritten = rewritten[0] if isinstance(rewritten, tuple) else rewritten  # some also tell what they did
        if all(before is after for before, after in zip(roots, rewritten, strict=True)):
            continue  # equal nodes are the same object
        assert [n.dtype for n in rewritten] == [n.dtype for n in roots]
        found = interpret(rewritten, values, case.sizes)
        _assert_settled(found, wanted, roots, values, case, [f"{rewrite.__name__}, {n}" for n in names], rounding(case))


# ---------------------------------------------------------------- emitted code


def emitted(case: Case, sizes: Mapping[str, int] | None = None) -> Network:
    """The case compiled, with the gradients of all its float leaves; by default sizes that no leaf tells are known."""
    below = set(toposort(list(case.outputs)))
    wrt = [x for x in float_leaves(case.values) if x in below]
    return gg.compile(
        {f"y{k}": tensor(node) for k, node in enumerate(case.outputs)},
        wrt=[tensor(x) for x in wrt] if float_outputs(case) else [],
        sizes={name: n for name, n in (sizes or case.sizes).items() if name in sizes_of(case.outputs)},
        name="random",
    )


@np.errstate(all="ignore")  # NumPy warns of what log1p(-1) passes through on the way to -inf, un-jitted
def emitted_code_agrees(case: Case, net: Network) -> None:
    """Outputs and gradients of a network, un-jitted or jitted, are the interpreter's."""
    wanted = interpret(case.outputs, case.values, case.sizes)
    below = set(toposort(list(case.outputs)))
    wrt = [x for x in float_leaves(case.values) if x in below]
    arrays = given(case)
    try:
        found = net(**arrays)
    except ShapeError as error:  # the sizes drawn leave nothing to compute from; the interpreter reads nothing there
        assume("which is negative" in str(error))
        raise
    names = [f"y{k}" for k in range(len(wanted))]
    assert_all_near([found[name] for name in names], case.outputs, case.values, case, names)
    if not wrt or not float_outputs(case):
        return
    weights = twins(float_outputs(case), "w", np.random.default_rng(0), [a for a in wanted if a.dtype.kind == "f"])
    nodes, values = vjp_nodes(float_outputs(case), list(weights), wrt), {**case.values, **weights}
    assume(moderate(interpret(nodes, values, case.sizes)))
    floats = [f"y{k}" for k, node in enumerate(case.outputs) if node in float_outputs(case)]
    _, saved = net.forward(**arrays)
    pulled = (
        net.backward(saved, **dict(zip(floats, weights.values(), strict=True))) if "backward" in net._entries else {}
    )
    zeros = {x.name: np.zeros_like(case.values[x]) for x in wrt}  # what no condition lets through is left out
    assert_all_near([{**zeros, **pulled}[x.name] for x in wrt], nodes, values, case, [f"d_{x.name}" for x in wrt])


def unjitted_code_agrees(case: Case) -> None:
    emitted_code_agrees(case, unjitted(emitted(case)))


def given(case: Case) -> dict[str, np.ndarray]:
    """The arrays that a call of the network takes."""
    below = set(toposort(list(case.outputs)))
    return {x.name: array for x, array in case.values.items() if x in below}


def assert_all_near(
    found: Sequence[object], nodes: Sequence[Node], values: Mapping[Leaf, np.ndarray], case: Case, names: Sequence[str]
) -> None:
    """Arrays are the interpreter's, where errors in the last place do not move them as far."""
    wanted = interpret(nodes, values, case.sizes)
    _assert_settled(found, wanted, nodes, values, case, names, 10 * rounding(case))


def _assert_settled(
    found: Sequence[object],
    wanted: Sequence[np.ndarray],
    nodes: Sequence[Node],
    values: Mapping[Leaf, np.ndarray],
    case: Case,
    names: Sequence[str],
    tolerance: float,
) -> None:
    """Arrays are those wanted, unless an error in the last place of inputs, and of every value, moves these as far."""
    try:
        for array, right, name in zip(found, wanted, names, strict=True):
            assert_near(array, right, case, tolerance, name)
    except AssertionError:
        moved = interpret(map_nodes(nodes, _another_last_place), _nudged(values), case.sizes)
        for array, right, name in zip(moved, wanted, names, strict=True):
            try:
                assert_near(array, right, case, tolerance / 10, name)
            except AssertionError:
                reject()
        raise


def _another_last_place(node: Node) -> Node | None:
    """The values of a formula with another last place; all by one factor, so that equal ones stay equal."""
    if not isinstance(node, Compute) or node.dtype not in FLOATS:
        return None
    return pointwise(node.shape, call("mul", identity(node), number(1 + 4 * float(np.finfo(node.dtype).eps))))


def _nudged(values: Mapping[Leaf, np.ndarray]) -> dict[Leaf, np.ndarray]:
    """Every float with another last place."""
    rng = np.random.default_rng(0)
    signs = {x: rng.choice([-1, 1], array.shape) for x, array in values.items() if array.dtype.kind == "f"}
    return {
        x: a * (1 + 4 * np.finfo(a.dtype).eps * signs[x]).astype(a.dtype) if x in signs else a
        for x, a in values.items()
    }


def assert_near(found: object, wanted: np.ndarray, case: Case, tolerance: float, what: str) -> None:
    found = np.asarray(found)
    assert found.shape == wanted.shape, what
    assert found.dtype == wanted.dtype, what
    size = np.abs(wanted, where=np.isfinite(wanted), out=np.zeros(wanted.shape)).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * size, err_msg=what)


def has_empty_loop(case: Case) -> bool:
    """Whether some formula, or some scan, of the case runs no step."""
    nodes = toposort(case.outputs, all_inputs)
    lengths = {extent for n in nodes if isinstance(n, Compute) for extent in n.extents}
    lengths |= {n.scan.length for n in nodes if isinstance(n, Project)}
    found = interpret(
        [pointwise([], extent * 1) for extent in lengths if not reads_data(extent)], case.values, case.sizes
    )
    return any(length == 0 for length in found)
