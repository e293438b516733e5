"""Every block against PyTorch, by tables: outputs and gradients in float64 to 1e-9, for a symbolic number of examples.

What PyTorch says is committed (tests/nn/fixtures, written by `python -m tests.nn.theirs`). Everywhere each row is held
against the meaning of its formula and of the derivatives, one row of a block is emitted and compiled; by default two of
three without their gradients, because Numba's compilation is what takes time. With PyTorch installed it is computed
again, every row is emitted, and state_dicts go both ways. A block, or an option of one, that no table names fails the
run.
"""

import importlib.util
import inspect
from functools import cache

import numpy as np
import pytest

from gradgen import nn
from tests.nn.ours import Ours, ours, plain
from tests.nn.table import FIXTURES, Case, all_cases, options_given

TOLERANCE = 1e-9
CASES = [pytest.param(family, case, id=f"{family}-{case.id}") for family, case in all_cases()]
WITH_PYTORCH = importlib.util.find_spec("torch") is not None
LAYERS = [p for p in CASES if p.values[1].make]
COMPILED = [
    pytest.param(*p.values, gradients, id=f"{p.id}-{'gradients' if gradients else 'outputs'}", marks=marks)
    for k, p in enumerate(p for p in CASES if p.values[1].compiled)
    for gradients, marks in (((True, ()),) if k % 3 == 0 else ((False, ()), (True, pytest.mark.repeats)))
]
DERIVATIVES = [
    pytest.param(*p.values, id=p.id, marks=pytest.mark.repeats if k % 4 else ())
    for k, p in enumerate(p for p in CASES if p.values[1].derivatives)
]
EMITTED = CASES if WITH_PYTORCH else [p for p in CASES if p.values[1].derivatives and not p.values[1].compiled]
STEP = 1e-5

# No blocks: what other things are made of, or ask about.
OTHERS = {
    "Buffer", "Module", "Parameter", "functional", "init", "load_state_dict", "named_parameters", "running_updates",
    "state_dict", "state_dict_names", "summary",
}  # fmt: skip
# Options that no table compares, because nothing that is computed depends on them, or random numbers do.
NOT_COMPARED = {"name", "dtype"}


@cache
def fixtures(family: str) -> dict[str, dict[str, np.ndarray]]:
    with np.load(FIXTURES / f"{family}.npz") as file:
        found: dict[str, dict[str, np.ndarray]] = {}
        for key in file.files:
            case, _, rest = key.partition("/")
            found.setdefault(case, {})[rest] = file[key]
    return found


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert sorted(found) == sorted(wanted)
    for key, x in wanted.items():
        assert found[key].shape == x.shape, key
        scale = max(np.abs(x[np.isfinite(x)]).max(initial=0.0), 1.0) if x.dtype.kind == "f" else 0
        np.testing.assert_allclose(found[key], x, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=key)


@pytest.mark.parametrize(("family", "case"), CASES)
def test_it_means_what_pytorch_computes(family: str, case: Case) -> None:
    assert_same(ours((family, case.id)).interpreted(), fixtures(family)[case.id])


@pytest.mark.parametrize(("family", "case"), EMITTED)
def test_the_emitted_file_computes_the_same(family: str, case: Case) -> None:
    own = ours((family, case.id))
    assert_same(own.results(plain(own.compiled())), fixtures(family)[case.id])


@pytest.mark.skipif(not WITH_PYTORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize(("family", "case"), CASES)
def test_the_fixtures_are_what_pytorch_says(family: str, case: Case) -> None:
    from tests.nn.theirs import results

    assert_same(results(case), fixtures(family)[case.id])


@pytest.mark.skipif(not WITH_PYTORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize(("family", "case"), LAYERS)
def test_state_dicts_load_both_ways(family: str, case: Case) -> None:
    import torch

    from tests.nn.theirs import layer_of

    own, theirs = ours((family, case.id)), layer_of(case)
    if case.names or not isinstance(theirs, torch.nn.Module):
        pytest.skip("PyTorch has no such layer")
    given = nn.load_state_dict(own.layer, theirs.state_dict())
    assert own.arrays.keys() - case.inputs.keys() <= given.keys()
    for name in own.arrays.keys() - case.inputs.keys():
        np.testing.assert_array_equal(given[name], own.arrays[name])
    theirs.load_state_dict({name: torch.tensor(x) for name, x in nn.state_dict(own.layer, given).items()})


@pytest.mark.parametrize(("family", "case", "gradients"), COMPILED)
def test_compiled_it_computes_the_same(family: str, case: Case, gradients: bool) -> None:
    own = ours((family, case.id))
    wanted = {key: x for key, x in fixtures(family)[case.id].items() if gradients or key.startswith("out/")}
    assert_same(own.results(own.compiled(gradients), gradients), wanted)


@pytest.mark.parametrize(("family", "case"), DERIVATIVES)
def test_directional_and_second_derivatives(family: str, case: Case) -> None:
    own: Ours = ours((family, case.id))
    net, directions = own.directional()
    net = plain(net)
    rng = np.random.RandomState(11)
    floats = [x for key, x in fixtures(family)[case.id].items() if key.startswith("out/") and x.dtype.kind == "f"]
    weights = {f"weights_{k}": rng.standard_normal(x.shape) for k, x in enumerate(floats)}
    xs = [str(x.name) for x in own.by.values()]

    def at(step: float) -> dict[str, np.ndarray]:
        moved = {name: own.arrays[name] + step * directions[f"direction_{k}"] for k, name in enumerate(xs)}
        with np.errstate(all="ignore"):
            return net(**{**own.arrays, **moved, **weights, **directions})

    def inner(values: dict[str, np.ndarray], what: str) -> float:
        return float(sum(np.sum(values[f"{what}_{k}"] * directions[f"direction_{k}"]) for k in range(len(xs))))

    here, before, behind = at(0.0), at(-STEP), at(STEP)
    np.testing.assert_allclose(here["along"], inner(here, "gradient"), rtol=1e-9, atol=1e-9)
    difference = (behind["loss"] - before["loss"]) / (2 * STEP)
    np.testing.assert_allclose(here["along"], difference, rtol=1e-6, atol=1e-6)
    change = (inner(behind, "gradient") - inner(before, "gradient")) / (2 * STEP)
    np.testing.assert_allclose(inner(here, "second"), change, rtol=1e-5, atol=1e-5)


@cache
def given() -> dict[tuple[str, str], list[Case]]:
    """The rows that give an option to a block, by both."""
    found: dict[tuple[str, str], list[Case]] = {}
    for _, case in all_cases():
        for pair in set(options_given(case)):
            found.setdefault(pair, []).append(case)
    return found


def blocks() -> list[str]:
    return sorted(set(nn.__all__) - OTHERS)


@pytest.mark.parametrize("block", blocks())
def test_every_option_of_every_block_is_in_a_table(block: str) -> None:
    assert (block, "") in given()
    options = {
        name
        for name, p in inspect.signature(getattr(nn, block)).parameters.items()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and name not in NOT_COMPARED
    }
    assert {option for of, option in given() if of == block} >= options
    compared = given()[block, ""]
    if not isinstance(getattr(nn, block), type):
        return  # a layer calls it, and is compiled
    assert any(case.compiled for case in compared) or block in COMPOSED
    assert any(case.derivatives for case in compared) or block in COMPOSED


# Made of blocks that are compiled by themselves, and long.
COMPOSED = {"Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder"}
