"""Scans whose carries look alike: each has its own when loops are laid out, inside other scans too."""

import numpy as np

import gradgen as gg
from gradgen.graph.nodes import Project, Scan, all_inputs, toposort
from gradgen.graph.tensor import tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.separate import separate
from gradgen.pipeline import AFTER_DIFFERENTIATING

x, y = gg.input("x", (5, 3)), gg.input("y", (8, 3))


def nested(rows: gg.Tensor) -> gg.Tensor:
    """A scan whose step runs a scan, from a carry that looks like that of any other."""

    def step(total: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, None]:
        last, _ = gg.scan(lambda c, _: (c * 0.5 + row, None), total, length=2)
        return last, None

    total, _ = gg.scan(step, gg.zeros((3,)), rows)
    return total


def scans(roots: list[gg.Tensor]) -> set[Scan]:
    return {n.scan for n in toposort([r.node for r in roots], all_inputs) if isinstance(n, Project)}


def test_no_two_scans_share_a_carry_and_the_values_stay() -> None:
    roots = [gg.prod(x, axis=0), gg.prod(y, axis=0), nested(x), nested(y), gg.cumsum(x, 0)]
    found = separate([r.node for r in roots])
    carries = [c for s in scans([tensor(n) for n in found]) for c in s.carries]
    assert len(carries) == len(set(carries)) == 7
    arrays = {x.node: np.full((5, 3), 1.5, np.float32), y.node: np.full((8, 3), 0.5, np.float32)}
    for before, after in zip(interpret([r.node for r in roots], arrays), interpret(found, arrays), strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_is_separate_already_stays() -> None:
    roots = [gg.prod(x, axis=0).node, gg.exp(x).node]
    assert all(new is old for new, old in zip(separate(roots), roots, strict=True))


def test_it_is_the_last_pass_on_graphs() -> None:
    assert AFTER_DIFFERENTIATING[-1][1] is separate
