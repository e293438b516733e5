"""The same bits on any number of threads, where that is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.network import Network

PROGRAM = """
import hashlib
import numba
import numpy as np
from tests.cpu.test_threads import arrays, rows

net, given = rows(deterministic=True), arrays()
found = []
for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
    numba.set_num_threads(threads)
    for again in net, net.with_module(net.module):  # in the workspace of another number of threads, and in a new one
        outputs, gradients = again.value_and_grad(**given)
        values = [*outputs.values(), *gradients.values(), *again(**given).values()]
        found.append(hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in values)).hexdigest())
print(len(found), *sorted(set(found)))
"""


def rows(deterministic: bool) -> Network:
    """A loss over many rows: sums over all of them, which every part has for itself."""
    x, c = (gg.param(name, (gg.size("N"), 768)) for name in "xc")
    scale, shift = gg.param("scale", (768,)), gg.param("shift", (768,))
    loss = gg.sum(gg.nn.softmax(gg.nn.layer_norm(x) * scale + shift) * c)
    return gg.compile({"loss": loss}, name="rows", deterministic=deterministic)


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"x": (400, 768), "c": (400, 768), "scale": (768,), "shift": (768,)}
    return {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}


def test_the_number_of_parts_is_fixed_only_where_that_is_asked_for() -> None:
    fixed, free = rows(deterministic=True), rows(deterministic=False)
    assert "    parts = 16  # on any number of threads\n" in fixed.source
    assert "get_num_threads" not in fixed.source
    assert (
        fixed.source.replace("16  # on any number of threads", "get_num_threads()").replace(
            "from numba import njit", "from numba import get_num_threads, njit"
        )
        == free.source
    )
    assert "deterministic" not in gg.compile(gg.input("a", (3,)) + 1, deterministic=True).source
    fixed = fixed.compiled_with(sizes={"N": 400})
    assert fixed.options.deterministic
    assert "parts = 16" in fixed.source


@pytest.mark.slow
def test_bits_do_not_depend_on_the_number_of_threads(
    python: Callable[..., Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on whether a process compiles the machine code, as the first one does, or finds it in the cache."""
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(threads))
        printed, errors = python(PROGRAM).communicate()
        count, *digests = printed.split()
        assert count == str(2 * threads), errors
        found += digests
    assert len(set(found)) == 1
