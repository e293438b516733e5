"""Another float dtype: no part of a model stays in the old one, whether a float, an integer or a number brought it."""

from collections.abc import Callable
from typing import Any

import pytest

import gradgen as gg
from gradgen.graph.nodes import Compute, all_inputs, toposort
from gradgen.graph.scalar import Call, children, walk
from gradgen.passes.prepare.retarget import retarget

i = gg.index("i", 5)
x, labels = gg.input("x", (5,)), gg.input("labels", (5,), dtype="int64")
mask = gg.input("mask", (5,), dtype="bool")

FORMULAS: dict[str, Callable[[], Any]] = {
    "an integer divided by one": lambda: (i + 1) / 100,
    "a number times an index": lambda: x[i] * gg.exp(-0.1 * i),
    "a function of an index": lambda: gg.log(i + 1) + x[i],
    "integer data and a number": lambda: gg.sin(labels[i] - 0.5),
    "a comparison with a number": lambda: gg.where(0.1 * i < x[i], x[i], 0),
    "integers compared with a number": lambda: gg.where(labels[i] > 0.1, x[i], 0),
    "branches": lambda: gg.where(labels[i] > 2, labels[i], 0.1) * x[i],
    "bools and a number": lambda: mask[i] * 0.1 + x[i],
    "the mean of integers": lambda: gg.mean(labels[i], over=i) * x[0],
    "a size": lambda: x[i] / x.shape[0] + 1 / (labels.shape[0] + 1),
}


@pytest.mark.parametrize("what", FORMULAS)
def test_nothing_is_computed_in_the_old_dtype(what: str) -> None:
    formula = FORMULAS[what]()
    outputs = () if what.startswith("the mean") else (i,)
    (root,), _ = retarget([gg.compute(outputs, formula).node], "float64", {})
    assert root.dtype == "float64"
    for node in toposort([root], all_inputs):
        assert node.dtype != "float32"
        if isinstance(node, Compute):
            for part in walk(node.body):
                assert part.dtype != "float32", part
                if isinstance(part, Call) and part.function.result == "bool":
                    assert {a.dtype for a in children(part)} != {"int64", "pyfloat"}, part
