"""A nan in any element of any input of a canary that the loss depends on comes out as nan, jitted and not.

By forward and backward in float64, by value_and_grad in float32; what is compiled for `test_models` is there already.
"""

from typing import Any

import numpy as np
import pytest

from gradgen.network import Network
from tests.cpu.models import CANARIES, Model, compiled_in
from tests.cpu.running import Case, case
from tests.repeats import DTYPES, parameter

POSITIONS = 6  # of each array
SMALLEST = {"lstm": {"T": 3, "B": 1}, "deep_equal": {"N": 1}, "deep_different": {"N": 1}, "embedding_tanh": {"N": 6}}


def small(model: Model) -> dict[str, int]:
    return {**model.sizes, **SMALLEST.get(model.name, {})}


def positions(case: Case, arrays: dict[str, np.ndarray]) -> list[tuple[str, int]]:
    """Elements of every float array, the first and the last among them; of deep stacks, a few layers."""
    rng = np.random.default_rng(0)
    names = [x.name for x in case.wrt]
    if len(names) > 12:
        names = [*names[:4], names[len(names) // 2], *names[-2:]]
    found = []
    for name in names:
        size = arrays[name].size
        chosen = {0, size - 1, *rng.choice(size, min(size, POSITIONS - 2), replace=False).tolist()}
        found += [(name, at) for at in sorted(chosen)]
    return found


@np.errstate(all="ignore")
def loss_and_gradients(net: Network, dtype: str, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    if dtype == "float32":
        outputs, gradients = net.value_and_grad(**given)
    else:
        outputs, saved = net.forward(**given)
        gradients = net.backward(saved, loss=1.0)
    return outputs["loss"], gradients


@pytest.mark.parametrize(
    ("name", "dtype"),
    [parameter(m.name, dtype, default=dtype == compiled_in(m.name)) for m in CANARIES for dtype in DTYPES],
)
def test_nan_in_every_input(name: str, dtype: str) -> None:
    """The interpreter says whether the loss reads the element: a strided convolution does not read every pixel."""
    this = case(name, dtype)
    sizes = small(this.model)
    arrays = this.model.arrays(this.leaves, sizes=sizes)
    seen = set()
    for key, at in positions(this, arrays):
        spoilt = arrays[key].copy()
        spoilt.flat[at] = np.nan
        given = {**arrays, key: spoilt}
        wanted = np.isnan(this.reference(given, sizes)["loss"])
        loss, gradients = loss_and_gradients(this.net, dtype, given)
        with np.errstate(all="ignore"):
            found = [loss, this.plain(**given)["loss"]]
        assert [bool(np.isnan(loss)) for loss in found] == [wanted, wanted], f"{key}.flat[{at}]: {found}"
        if wanted:
            seen.add(key)
            assert any(np.isnan(g).any() for g in gradients.values()), f"{key}.flat[{at}]"
    assert seen == {key for key, _ in positions(this, arrays)}, "no nan in some input reached the loss"
