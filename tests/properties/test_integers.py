"""Integers wrap around as NumPy's do: interpreter, emitted text as plain Python, and some of it as machine code."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.graph.nodes import Leaf, all_inputs, toposort
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from tests.cpu.running import unjitted
from tests.properties.integers import formulas


@settings(max_examples=settings.default.max_examples // 4)
@given(st.randoms(use_true_random=False), st.integers(1, 14))
def test_random_formulas(random, steps: int) -> None:
    outputs, arrays, wanted = formulas(random.choice, steps)
    nodes = [y.node for y in outputs.values()]
    leaves = {x: arrays[x.name] for x in toposort(nodes, all_inputs) if isinstance(x, Leaf)}
    given_arrays = {x.name: array for x, array in leaves.items()}
    equal(dict(zip(outputs, interpret(nodes, leaves), strict=True)), wanted)
    net = unjitted(gg.compile(outputs, name="integers"))
    with np.errstate(all="ignore"):
        equal({k: net(**given_arrays)[k] for k in wanted}, wanted)


def equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def both(outputs: dict[str, gg.Tensor], jitted: bool) -> Network:
    net = gg.compile(outputs, name="integers")
    return net if jitted else unjitted(net)


@pytest.mark.parametrize("jitted", [False, True])
def test_products_of_remainders_stay_in_their_ring(jitted: bool) -> None:
    """P = 2**31 - 1: as a polynomial in n the square would leave int64, as written it does not."""
    n, p = gg.index("n", 3000), 2**31 - 1
    a = gg.compute(n, (n + 190000) * 48271000 % p)
    y = gg.compute(n, a[n] * a[n] % p)
    z = gg.compute(n, gg.int64(n) * 6364136223846793005 * n * n // 1000 % 97)
    k = np.arange(3000)
    with np.errstate(all="ignore"):
        found = both({"y": y, "z": z}, jitted)()
        first = (k + 190000) * 48271000 % p
        np.testing.assert_array_equal(found["y"], first * first % p)
        np.testing.assert_array_equal(found["z"], k * 6364136223846793005 * k * k // 1000 % 97)


def philox(counter, word: Callable, wide: Callable, rounds: int = 10) -> list:
    """Philox 4x32 (Salmon et al., 2011), over anything that has integers of 32 and 64 bits."""
    x = [word(counter), word(counter * 0), word(counter * 0 + 7), word(counter * 0 + 3)]
    keys = [0xA4093822, 0x299F31D0]
    for _ in range(rounds):
        p, q = wide(x[0]) * 0xD2511F53, wide(x[2]) * 0xCD9E8D57
        x = [word(q >> 32) ^ x[1] ^ keys[0], word(q), word(p >> 32) ^ x[3] ^ keys[1], word(p)]
        keys = [(key + step) & 0xFFFFFFFF for key, step in zip(keys, (0x9E3779B9, 0xBB67AE85), strict=True)]
    return x


@pytest.mark.parametrize("jitted", [False, True])
def test_a_counter_based_generator(jitted: bool) -> None:
    n = gg.index("n", 40)
    outputs = {f"y_{k}": gg.compute(n, x) for k, x in enumerate(philox(n, gg.uint32, gg.int64))}
    net = both(outputs, jitted)
    with np.errstate(all="ignore"):
        found = net()
        wanted = philox(np.arange(40), lambda x: x.astype(np.uint32), lambda x: x.astype(np.int64))
    for k, array in enumerate(wanted):
        np.testing.assert_array_equal(found[f"y_{k}"], array)


@pytest.mark.parametrize("modulus", [None, 2**32])
def test_the_text_of_a_generator_grows_with_its_rounds(modulus: int | None) -> None:
    lengths = []
    for rounds in (4, 8, 16):
        n = gg.index("n", 1000)
        c = n * 7 + 3
        for _ in range(rounds):
            c = c * c + 1013904223 if modulus is None else (c * c + 1013904223) % modulus
        net = gg.compile({"y": gg.compute(n, c)}, name="generator")
        lengths.append(sum(map(len, code(net.source))))
    assert lengths[2] < 3 * lengths[1]


def code(source: str) -> list[str]:
    return [line for line in source.splitlines() if not line.lstrip().startswith("#")]


def test_shifts_and_masks_of_indices_are_subscripts() -> None:
    x, n = gg.input("x", (8,)), gg.index("n", 16)
    net = unjitted(gg.compile({"y": gg.compute(n, x[n >> 1]), "z": gg.compute(n, x[n & 7])}, name="shifted"))
    assert "check" not in net.source
    found = net(x=np.arange(8, dtype=np.float32))
    np.testing.assert_array_equal(found["y"], np.arange(16) >> 1)
    np.testing.assert_array_equal(found["z"], np.arange(16) & 7)
