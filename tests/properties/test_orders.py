"""Derivatives of orders one to three through loops whose steps square and multiply their states: against Taylor series.

A loop may walk along what another one keeps, stand inside another one, or be written twice with other results. The
passes have a limit of time: what is differentiated three times has loops that read each other in every direction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.lang.interpret import interpret
from gradgen.pipeline import AFTER_DIFFERENTIATING, after_declaring
from tests.properties import jets
from tests.properties.jets import Jet
from tests.properties.limits import within

EXAMPLES = settings.default.max_examples
ORDERS = 3
LIMIT = 30.0  # seconds for all orders of one program; a tenth of that is usual

Tree = tuple[Any, ...]  # an operation and its operands, or a name


@dataclass(frozen=True)
class Loop:
    """carries c0, c1, ... by the steps in `nexts`; `kept` is stacked, and summed or handed to the loop that follows."""

    length: int
    reverse: bool
    nexts: tuple[Tree, ...]
    kept: Tree
    inner: tuple[int, Tree] | None  # the length and the step of a loop inside, from c0

    @property
    def names(self) -> list[str]:
        return [f"c{k}" for k in range(len(self.nexts))]


def trees(names: list[str]) -> st.SearchStrategy[Tree]:
    """Short polynomials with some sines; a state may be squared at once."""
    leaves = st.sampled_from([("name", n) for n in names] + [("square", n) for n in names])
    return st.recursive(
        leaves,
        lambda below: st.one_of(
            st.tuples(st.just("mul"), below, below),
            st.tuples(st.just("sub"), below, below),
            st.tuples(st.just("scaled"), below),
            st.tuples(st.just("sin"), below),
        ),
        max_leaves=4,
    )


@st.composite
def loops(draw: Callable) -> Loop:
    names = ["c0", "c1"][: draw(st.integers(1, 2))]
    inner = draw(st.none() | st.tuples(st.integers(0, 2), trees(["q", "x"])))
    given = [*names, "x", "row", *([] if inner is None else ["last"])]
    nexts = tuple(draw(trees(given)) for _ in names)
    return Loop(draw(st.integers(0, 4)), draw(st.booleans()), nexts, draw(trees(given)), inner)


programs = st.lists(loops(), min_size=1, max_size=2)


def value(tree: Tree, names: dict[str, Any], sin: Callable) -> Any:
    match tree:
        case ("name", name):
            return names[name]
        case ("square", name):
            return names[name] * names[name]
        case ("mul", a, b):
            return value(a, names, sin) * value(b, names, sin)
        case ("sub", a, b):
            return value(a, names, sin) - value(b, names, sin) * 0.5
        case ("scaled", a):
            return value(a, names, sin) * 0.7
        case ("sin", a):
            return sin(value(a, names, sin))
    raise AssertionError(tree)


# ---------------------------------------------------------------- the same program, twice


def by_gradgen(program: list[Loop], x: gg.Tensor) -> gg.Tensor:
    total, rows = x * x * x * x, x * gg.arange(1, 5, dtype="float64") * 0.3
    for loop in program:

        def step(carries: Any, row: gg.Tensor, loop: Loop = loop) -> Any:
            names = {**dict(zip(loop.names, carries, strict=True)), "x": x, "row": row}
            if loop.inner is not None:
                count, tree = loop.inner
                names["last"], _ = gg.scan(
                    lambda q, _: (value(tree, {"q": q, "x": x}, gg.sin), None), carries[0], length=count
                )
            nexts = tuple(value(tree, names, gg.sin) for tree in loop.nexts)
            return nexts, value(loop.kept, names, gg.sin)

        lasts, kept = gg.scan(step, tuple(x * 0.9 for _ in loop.nexts), rows[: loop.length], reverse=loop.reverse)
        for last in lasts:
            total = total + last
        total = total + gg.sum(kept * kept)
        rows = gg.concatenate([kept, x * gg.arange(1, 5 - loop.length, dtype="float64") * 0.3])
    return total


def by_series(program: list[Loop], x: Jet) -> Jet:
    total, rows = x * x * x * x, [x * k * 0.3 for k in range(1, 5)]
    for loop in program:
        carries, kept = [x * 0.9 for _ in loop.nexts], [x] * loop.length
        for t in range(loop.length)[:: -1 if loop.reverse else 1]:
            names = {**dict(zip(loop.names, carries, strict=True)), "x": x, "row": rows[t]}
            if loop.inner is not None:
                names["last"] = carries[0]
                for _ in range(loop.inner[0]):
                    names["last"] = value(loop.inner[1], {"q": names["last"], "x": x}, jets.sin)
            carries = [value(tree, names, jets.sin) for tree in loop.nexts]
            kept[t] = value(loop.kept, names, jets.sin)
        for y in (*carries, *(k * k for k in kept)):
            total = total + y
        rows = [*kept, *(x * k * 0.3 for k in range(1, 5 - loop.length))]
    return total


def check(program: list[Loop]) -> None:
    wanted = by_series(program, Jet(np.array([0.8, 1.0, 0.0, 0.0]))).derivatives()
    assume(max(map(abs, wanted)) < 1e6)
    x = gg.param("x", (), dtype="float64")
    with within(LIMIT):
        orders = [by_gradgen(program, x)]
        for _ in range(ORDERS):
            orders.append(gg.grad(orders[-1], x))
        nodes = [y.node for y in orders]
        for _, rewrite, _ in (*after_declaring(), *AFTER_DIFFERENTIATING):
            found = rewrite(nodes)
            nodes = list(found[0]) if isinstance(found, tuple) else found
    np.testing.assert_allclose(interpret(nodes, {x.node: np.array(0.8)}), wanted, rtol=1e-9, atol=1e-9)


@settings(max_examples=max(EXAMPLES // 75, 1))
@given(programs)
def test_three_orders_through_loops(program: list[Loop]) -> None:
    check(program)
