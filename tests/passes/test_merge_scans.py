"""Scans with one recurrence become one loop, but only where they stand in the same loops."""

import numpy as np

from gradgen.graph.nodes import Node, Project, Scan, all_inputs, carry, leaf, pointwise, project, scan, toposort
from gradgen.graph.scalar import call, integer, load, number, step
from gradgen.lang.interpret import interpret
from gradgen.passes.rewrite.merge_scans import merge_scans

X = leaf("x", [], "float64", "input")


def doubling(depth: int, *outputs: Node) -> Project:
    """A scan s = 2 * s from x with further outputs; its last result."""
    state = carry(0, [], "float64", depth)
    following = pointwise([], call("mul", load(state, []), number(2.0)))
    loop = scan(integer(3), depth, [state], [X], [following], outputs)
    return project(loop, "stack", 0) if outputs else project(loop, "states", 0)


def output(depth: int, added: object) -> Node:
    return pointwise([], call("add", load(carry(0, [], "float64", depth), []), call("float64", added)))


def test_one_loop_for_one_recurrence() -> None:
    roots = [doubling(0), doubling(0, output(0, integer(1))), doubling(0, output(0, integer(2)))]
    merged = merge_scans(roots)
    assert len({n.scan for n in toposort(merged) if isinstance(n, Project)}) == 1
    for before, after in zip(interpret(roots, {X: 1.5}), interpret(merged, {X: 1.5}), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_loop_outside_does_not_take_what_mentions_the_step_of_a_loop_around_its_twin() -> None:
    outside, inside = doubling(1), doubling(1, output(1, step(0)))
    total = carry(0, [], "float64", 0)
    following = pointwise([], call("add", load(total, []), load(inside, [2])))
    around = project(scan(integer(2), 0, [total], [X], [following], []), "states", 0)
    merged = merge_scans([outside, around])
    np.testing.assert_array_equal(interpret(merged, {X: 1.0})[0], [1.0, 2.0, 4.0, 8.0])
    np.testing.assert_array_equal(interpret(merged, {X: 1.0})[1], [1.0, 5.0, 10.0])


def scans(roots: list[Node]) -> set[Scan]:
    return {n.scan for n in toposort(roots, all_inputs) if isinstance(n, Project)}


def at_step(stack: Node, depth: int) -> Node:
    """2 * the carry + the row of this step: an output that reads what another loop has kept."""
    state = call("mul", number(2.0), load(carry(0, [], "float64", depth), []))
    return pointwise([], call("add", state, load(stack, [step(depth)])))


def test_what_is_computed_from_a_kept_value_is_kept_by_a_second_loop() -> None:
    """It is asked for the states too, and for what the first keeps: the first loop gives these."""
    first = doubling(0, output(0, integer(1)))
    kept = at_step(first, 0)
    both = doubling(0, kept, output(0, integer(2))).scan
    third = at_step(project(both, "stack", 0), 0)
    roots = [first, *(project(both, "stack", k) for k in (0, 1)), project(both, "states", 0), doubling(0, third)]
    merged = merge_scans(roots)
    assert [len(s.outputs) for s in sorted(scans(merged), key=lambda s: len(s.outputs))] == [1, 1, 2]
    assert merge_scans(merged) == merged
    for before, after in zip(interpret(roots, {X: 1.5}), interpret(merged, {X: 1.5}), strict=True):
        np.testing.assert_array_equal(after, before)


def test_loops_of_two_recurrences_that_read_each_other_crosswise_do_not_all_merge() -> None:
    """p reads q's first result, and q p's: merging both pairs would make two loops that wait for each other."""

    def halving(*outputs: Node) -> Project:
        state = carry(0, [], "float64", 0)
        following = pointwise([], call("mul", load(state, []), number(0.5)))
        return project(scan(integer(3), 0, [state], [X], [following], outputs), "stack", 0)

    p, q = doubling(0, output(0, integer(1))), halving(output(0, integer(1)))
    roots = [doubling(0, at_step(q, 0)), halving(at_step(p, 0))]
    merged = merge_scans(roots)
    assert len(scans(roots)) == 4
    assert len(scans(merged)) == 3
    for before, after in zip(interpret(roots, {X: 1.5}), interpret(merged, {X: 1.5}), strict=True):
        np.testing.assert_array_equal(after, before)
