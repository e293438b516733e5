"""What the tests of the language share: evaluating a tensor, and an error message without its place."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret


@pytest.fixture
def evaluate() -> Callable[..., Any]:
    """The value of a tensor, by the reference interpreter: `evaluate(y, x=..., sizes={...})`."""

    def run(tensor: Tensor, sizes: dict[str, int] | None = None, **arrays: Any) -> Any:
        leaves = [n for n in toposort([tensor.node]) if isinstance(n, Leaf)]
        return interpret([tensor.node], {n: np.asarray(arrays[n.name]) for n in leaves}, sizes)[0]

    return run


@pytest.fixture
def message() -> Callable[..., str]:
    """The message of an error that a function raises, without the place `test_x.py:12: ` before it."""

    def run(kind: type[Exception], function: Callable[[], Any]) -> str:
        with pytest.raises(kind) as caught:
            function()
        text = str(caught.value)
        assert re.match(r"test_\w+\.py:\d+: ", text), text
        return text.split(": ", 1)[1]

    return run
