"""Reads that large integers choose: right where every one is inside, refused where one is not.

Subscripts and conditions are made of the same few integers, as they are and through tensors that hold them, so that
what is known of one is used for another. NumPy's int64 says which reads are taken, and where they lead. No value lies
within 2**33 of the ends of int64: that is excluded for what is compared with indices.
"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.errors import BindingError, ShapeError
from tests.cpu.running import unjitted

SIZE, ROWS = 7, 4
NUMBERS = [0, 1, 2, 5, 6, -1, 2**31, 2**61, 2**62 + 2**40, 2**63 - 2**45, -(2**62) - 2**41, -(2**63) + 2**46]
FACTORS = [-1, 2, 3, 2**33 + 1, 2**61 + 2**43, 2**62 + 2**44 + 1]
TESTS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq}
INFIX = {"+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod}

Tree = Any  # (operation, operands ...), a name, or a number
Functions = dict[str, Callable[..., Any]]


@pytest.fixture(autouse=True, scope="module")
def _checked() -> Iterator[None]:
    """The verifier looks at every program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADGEN_CHECK", "1")
        yield


@dataclass(frozen=True)
class Read:
    """x[place] where all of the tests hold, for the rows i of the data a and b."""

    place: Tree
    tests: tuple[tuple[str, Tree, Tree], ...]
    data: tuple[tuple[int, ...], tuple[int, ...]]


def trees() -> st.SearchStrategy[Tree]:
    return st.recursive(
        st.sampled_from(["a", "b", "i"]),
        lambda below: st.one_of(
            st.tuples(st.sampled_from(["+", "-", "max", "min"]), below, below),
            st.tuples(st.just("*"), below, st.sampled_from(FACTORS)),
            st.tuples(st.sampled_from(["//", "%"]), below, st.sampled_from([2, 3, 7])),
            st.tuples(st.just("through"), below),
        ),
        max_leaves=4,
    )


@st.composite
def reads(draw: Callable) -> Read:
    place = draw(trees())
    test = st.tuples(
        st.sampled_from(list(TESTS)), st.just(place) | trees(), trees() | st.sampled_from([0, 1, SIZE - 1, SIZE])
    )
    ends = [t for t in ((">=", place, 0), ("<", place, SIZE)) if draw(st.booleans())]
    row = st.tuples(*[st.sampled_from(NUMBERS)] * ROWS)
    return Read(place, (*draw(st.lists(test, max_size=2)), *ends), (draw(row), draw(row)))


def value(tree: Tree, names: dict[str, Any], functions: Functions) -> Any:
    match tree:
        case str():
            return names[tree]
        case (operation, *operands):
            return functions[operation](*[value(x, names, functions) for x in operands])
    return tree


def network(read: Read) -> gg.Network:
    n, i = gg.size("N"), gg.index("i", ROWS)
    x = gg.param("x", (n,), dtype="float64")
    a, b = (gg.input(name, (ROWS,), dtype="int64") for name in "ab")
    held = lambda v: gg.compute(i, gg.int64(v))[i]  # noqa: E731
    functions: Functions = {**INFIX, "max": gg.maximum, "min": gg.minimum, "through": held}
    names = {"a": a[i], "b": b[i], "i": i}
    element = x[value(read.place, names, functions)]
    for name, left, right in reversed(read.tests):
        sides = [value(side, names, functions) for side in (left, right)]
        element = gg.where(TESTS[name](*[n if s is SIZE else s for s in sides]), element, 0.0)
    y = gg.compute(i, element)
    whole = gg.sum(a) + gg.sum(b) + gg.sum(x)  # every argument is one of the model
    return gg.compile({"y": y, "loss": gg.sum(y * (1 + gg.arange(ROWS))), "whole": whole}, loss="loss", name="read")


@given(reads())
@example(Read("i", ((">=", "i", ("*", ("*", "i", -1), 2**62 + 2**44 + 1)),), ((0, 0, 0, 0), (0, 0, 0, 0))))
@example(Read("i", ((">=", "i", ("*", ("*", "i", 2), 2**62 + 2**44 + 1)),), ((0, 0, 0, 0), (0, 0, 0, 0))))
@example(Read(("*", "i", 2**61 + 2**43), (("<=", ("*", "i", 2**61 + 2**43), "i"),), ((0, 0, 0, 0), (0, 0, 0, 0))))
@example(Read(("+", "i", ("+", "a", "a")), (), ((0, 0, 2, 0), (0, 0, 0, 0))))
@settings(max_examples=settings.default.max_examples // 2)
@np.errstate(over="ignore")
def test_a_read_is_right_or_refused(read: Read) -> None:
    names = {"a": np.array(read.data[0]), "b": np.array(read.data[1]), "i": np.arange(ROWS)}
    functions: Functions = {**INFIX, "max": np.maximum, "min": np.minimum, "through": lambda v: v}
    taken = np.ones(ROWS, dtype=bool)
    for name, left, right in read.tests:
        taken &= TESTS[name](value(left, names, functions), value(right, names, functions))
    places = value(read.place, names, functions)
    inside = (places >= 0) & (places < SIZE)
    x = np.random.default_rng(0).normal(size=SIZE)
    given_arrays = {"x": x, "a": names["a"], "b": names["b"]}
    if (taken & ~inside).any():
        with pytest.raises((BindingError, ShapeError)):
            unjitted(network(read))(**given_arrays)
        return
    out, gradients = unjitted(network(read)).value_and_grad(**given_arrays)
    safe = np.where(taken, places, 0)
    np.testing.assert_array_equal(out["y"], np.where(taken, x[safe], 0.0))
    wanted = np.zeros(SIZE)
    np.add.at(wanted, safe, np.where(taken, 1.0 + np.arange(ROWS), 0.0))
    np.testing.assert_array_equal(gradients.get("x", np.zeros(SIZE)), wanted)  # left out where nothing is ever read
