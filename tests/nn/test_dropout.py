"""Dropout that drops: known answers of Philox, statistics of the masks, their adjoints, what counts the steps."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

import gradgen as gg
from gradgen import nn
from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.nodes import Leaf, toposort
from gradgen.nn.random import philox, random_bits
from tests.cpu.running import unjitted


def bits(*outputs: gg.Tensor, **arrays: int) -> list[np.ndarray]:
    """Values without machine code."""
    net = unjitted(gg.compile({f"y{k}": y for k, y in enumerate(outputs)}, name="bits"))
    with np.errstate(all="ignore"):
        found = net(**arrays)
    return [np.array(found[f"y{k}"]) for k in range(len(outputs))]


def plain(count: np.ndarray, step: int, seed: int) -> np.ndarray:
    """Philox 2x32-10 in Python's integers, its first word."""
    found = []
    for place in count.tolist():
        left, right, key = place, step, seed
        for _ in range(10):
            high, low = divmod(left * 0xD256D193, 2**32)
            left, right = high ^ key ^ right, low
            key = (key + 0x9E3779B9) % 2**32
        found.append(left)
    return np.array(found, np.uint32)


KNOWN = [  # of kat_vectors in Random123: two words that count, a key, two words
    (0x00000000, 0x00000000, 0x00000000, 0xFF1DAE59, 0x6CD10DF2),
    (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x2C3F628B, 0xAB4FD7AD),
    (0x243F6A88, 0x85A308D3, 0x13198A2E, 0xDD7CE038, 0xF62A4C12),
]


@pytest.mark.parametrize("jitted", [False, True])
def test_known_answers_of_random123(jitted: bool) -> None:
    a, b, key = (gg.input(name, (3,), "uint32") for name in ("a", "b", "key"))
    n = gg.index("n", 3)
    net = gg.compile(dict(zip("xy", (gg.compute(n, w) for w in philox(a[n], b[n], key[n])), strict=True)), name="known")
    given = np.ascontiguousarray(np.array(KNOWN, np.uint32).T)
    with np.errstate(all="ignore"):
        found = (net if jitted else unjitted(net))(a=given[0], b=given[1], key=given[2])
    np.testing.assert_array_equal(found["x"], given[3])
    np.testing.assert_array_equal(found["y"], given[4])


def test_bits_count_places_row_by_row_and_take_integers_and_tensors() -> None:
    seed, step = gg.state("seed", (), "uint32"), gg.state("step", (), "int64")
    one, other = bits(random_bits((3, 5), seed, step), random_bits((3, 5), 7, 2**32 + 4), seed=7, step=4)
    np.testing.assert_array_equal(one.ravel(), plain(np.arange(15), 4, 7))
    np.testing.assert_array_equal(one, other)


SIZE = 100


def masks() -> dict[str, np.ndarray]:
    """What is kept of 100 x 100 ones with p = 0.3, at one step, at the next, by another seed, by the next one."""
    seed, step = gg.input("seed", (), "uint32"), gg.input("step", (), "int64")
    x = gg.input("x", (SIZE, SIZE))
    net = gg.compile({"y": nn.dropout(x, 0.3, seed=seed, step=step)}, name="masks", dtype="float64")
    ones = np.ones((SIZE, SIZE))
    calls = {"first": (5, 0), "step": (5, 1), "seed": (123456789, 0), "next": (6, 0)}
    return {key: np.array(net(x=ones, seed=np.uint32(s), step=k)["y"]) for key, (s, k) in calls.items()}


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return masks()


def test_the_share_that_is_dropped_is_p_and_the_mean_stays(drawn: dict[str, np.ndarray]) -> None:
    for y in drawn.values():
        assert set(np.unique(y)) == {0.0, 1.0 / 0.7}
        assert stats.binomtest(int((y == 0).sum()), SIZE * SIZE, 0.3).pvalue > 1e-3
        assert abs(y.mean() - 1) < 4 * np.sqrt(0.3 / 0.7) / SIZE  # the variance of keep / 0.7 is 0.3 / 0.7
        assert abs(y.var() - 0.3 / 0.7) < 0.03


@pytest.mark.parametrize("lag", [1, 2, 3, SIZE, SIZE + 1])
def test_neighbours_are_independent(drawn: dict[str, np.ndarray], lag: int) -> None:
    """Serial correlation, and the four pairs of neighbours in a chi-square test."""
    for y in drawn.values():
        kept = (y > 0).ravel()
        assert independent(kept[:-lag], kept[lag:])
        assert abs(stats.pearsonr(kept[:-lag], kept[lag:]).statistic) < 4 / SIZE


@pytest.mark.parametrize("other", ["step", "seed", "next"])
def test_steps_and_seeds_are_independent(drawn: dict[str, np.ndarray], other: str) -> None:
    assert independent(drawn["first"] > 0, drawn[other] > 0)


def independent(a: np.ndarray, b: np.ndarray) -> bool:
    table = [[int((a == x).ravel() @ (b == y).ravel()) for y in (False, True)] for x in (False, True)]
    return stats.chi2_contingency(table).pvalue > 1e-3


def test_runs_and_rows_are_those_of_independent_elements(drawn: dict[str, np.ndarray]) -> None:
    kept = drawn["first"] > 0
    rows = kept.sum(axis=1)
    assert stats.chisquare(np.bincount(quarter(rows, SIZE, 0.7), minlength=4)).pvalue > 1e-3
    change = np.flatnonzero(np.diff(kept.ravel()))
    gaps = np.diff(change)[kept.ravel()[change[1:]]]  # how long elements are kept in a row: geometric
    assert abs(gaps.mean() - 1 / 0.3) < 4 * np.sqrt(0.7) / 0.3 / np.sqrt(len(gaps))


def quarter(counts: np.ndarray, of: int, p: float) -> np.ndarray:
    """In which quarter of their distribution counts lie, ties broken by chance."""
    low, high = stats.binom.cdf(counts - 1, of, p), stats.binom.cdf(counts, of, p)
    u = low + np.random.RandomState(0).uniform(size=counts.shape) * (high - low)
    return np.minimum((4 * u).astype(int), 3)


def test_all_bits_are_uniform() -> None:
    (found,) = bits(random_bits((4096,), 1, 2))
    for shift in (0, 12, 24):
        counts = np.bincount((found >> shift) & 0xFF, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(found / 2**32, "uniform").pvalue > 1e-3


def trained(width: int = 6) -> tuple[nn.Module, gg.Tensor, gg.Tensor]:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(width, width)
            self.first, self.second = nn.Dropout(0.5), nn.Dropout(0.25)

        def forward(self, x: gg.Tensor) -> gg.Tensor:
            return self.second(self.first(self.fc(self.first(x))))

    net = Net()
    x = gg.input("x", (gg.size("N"), width))
    return net, x, net(x)


NAMES = ["net_first_seed", "net_first_seed_2", "net_second_seed"]


def test_every_call_has_a_seed_and_init_draws_it_beside_the_parameters() -> None:
    layers, x, y = trained()
    net = gg.compile({"loss": gg.sum(y)}, name="layers")
    state = net.init(seed=3)
    seeds = {name: value for name, value in state.items() if "seed" in name}
    assert sorted(seeds) == NAMES
    assert len({int(s) for s in seeds.values()}) == 3
    assert all(s.dtype == np.uint32 and s.shape == () for s in seeds.values())
    assert {name: int(s) for name, s in seeds.items()} == {name: int(net.init(seed=3)[name]) for name in seeds}
    assert {name: int(s) for name, s in seeds.items()} != {name: int(net.init(seed=4)[name]) for name in seeds}
    alone = gg.compile({"loss": gg.sum(layers.eval()(x))}, name="alone").init(seed=3)
    for name, value in alone.items():
        np.testing.assert_array_equal(value, state[name])
    assert not any("seed" in name or "step" in name for name in alone)


@pytest.mark.parametrize("jitted", [False, True])
def test_the_gradient_has_the_mask_of_the_value(jitted: bool) -> None:
    x = gg.input("x", (7, 5))
    layer = nn.Dropout(0.4)
    net = gg.compile({"y": layer(x)}, name="adjoint", wrt=[x])
    net = net if jitted else unjitted(net)
    given = np.random.RandomState(0).standard_normal((7, 5)).astype(np.float32)
    weights = np.random.RandomState(1).standard_normal((7, 5)).astype(np.float32)
    state = net.init(seed=1)
    with np.errstate(all="ignore"):
        outputs, saved = net.forward(x=given, **state)
        gradient = net.backward(saved, y=weights)["x"]
    kept = plain(np.arange(35), 0, int(state["layer_seed"])).reshape(7, 5) >= round(0.4 * 2**32)
    np.testing.assert_allclose(outputs["y"], given * kept / 0.6, rtol=1e-6)
    np.testing.assert_allclose(gradient, weights * kept / 0.6, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape", "channels"),
    [
        (nn.Dropout1d, (4, 3, 5), 2),
        (nn.Dropout1d, (9, 5), 1),
        (nn.Dropout2d, (4, 3, 2, 5), 2),
        (nn.Dropout2d, (4, 3, 5), 2),
        (nn.Dropout3d, (4, 3, 2, 2, 3), 2),
        (nn.Dropout3d, (9, 2, 2, 3), 1),
    ],
)
def test_channels_are_dropped_whole(layer: type[nn.Module], shape: tuple[int, ...], channels: int) -> None:
    x = gg.input("x", (gg.size("N"), *shape[1:]))
    drop = layer(0.5)
    net = unjitted(gg.compile({"y": drop(x)}, name="channels", dtype="float64"))
    state = net.init(seed=2)
    with np.errstate(all="ignore"):
        y = np.array(net(x=np.ones(shape), **state)["y"])
    front = shape[:channels]
    kept = plain(np.arange(np.prod(front)), 0, int(state["drop_seed"])).reshape(front) >= 2**31
    np.testing.assert_array_equal(y, 2.0 * np.broadcast_to(kept.reshape(*front, *[1] * (len(shape) - channels)), shape))
    assert 0 < kept.sum() < kept.size


def test_running_updates_count_the_steps_and_every_step_drops_others() -> None:
    layers, _, y = trained()
    loss = gg.mean(y**2)
    updates = gg.optim.sgd(loss, lr=0.0) | nn.running_updates(layers)
    net = unjitted(gg.compile({"y": y}, updates=updates, name="steps", dtype="float64"))
    state = net.init(seed=0)
    ones = np.ones((4, 6))
    with np.errstate(all="ignore"):
        found = [np.array(net.step(state, x=ones)["y"]) for _ in range(3)]
        assert int(state["dropout_step"]) == 3
        again = net.init(seed=0)
        np.testing.assert_array_equal(net.step(again, x=ones)["y"], found[0])
    assert not np.array_equal(found[0] == 0, found[1] == 0)
    assert not np.array_equal(found[1] == 0, found[2] == 0)


def test_one_thread_and_two_give_the_same_bits() -> None:
    import numba

    x = gg.input("x", (gg.size("N"), 64))
    drop = nn.Dropout(0.5)
    net = gg.compile({"loss": gg.sum(drop(x) ** 2)}, name="threads", wrt=[x])
    given = np.random.RandomState(0).standard_normal((4096, 64)).astype(np.float32)
    state = net.init(seed=0)
    before, found = numba.get_num_threads(), []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        found.append(net.value_and_grad(x=given, **state)[1]["x"].copy())
    numba.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])


def test_the_generated_text_stores_no_more_than_a_mask() -> None:
    layers = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 8))
    net = gg.compile({"loss": gg.sum(layers(gg.input("x", (gg.size("N"), 8))) ** 2)}, name="stored")
    assert "int64 (N, 8)" not in net.source
    assert "uint32 (N, 8)" not in net.source


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), "half"])
def test_p_is_a_probability(p: object) -> None:
    with pytest.raises(OptionError) as caught:
        nn.Dropout(p, name="drop")  # type: ignore[arg-type]
    assert str(caught.value).endswith(f": drop has p={p!r}: give the probability to drop, from 0 to 1.")
    with pytest.raises(OptionError) as caught:
        nn.dropout(gg.input("x", (3,)), p, seed=0)  # type: ignore[arg-type]
    assert str(caught.value).endswith(f": dropout has p={p!r}: give the probability to drop, from 0 to 1.")


def test_seeds_and_steps_are_integers() -> None:
    x = gg.input("x", (3,))
    with pytest.raises(DTypeError) as caught:
        nn.dropout(x, seed=0.5)  # type: ignore[arg-type]
    assert str(caught.value).endswith(": the seed of random numbers is 0.5: give an integer.")
    with pytest.raises(DTypeError) as caught:
        nn.dropout(x, seed=0, step=gg.input("t", ()))
    assert str(caught.value).endswith(": the step of random numbers is t () of dtype float32: give an integer.")


@pytest.mark.parametrize(
    ("layer", "shape", "form"),
    [
        (nn.Dropout1d, (2,), "(N, C, L) or (C, L)"),
        (nn.Dropout2d, (2, 3), "(N, C, H, W) or (N, C, L)"),
        (nn.Dropout3d, (2, 3, 4), "(N, C, D, H, W) or (C, D, H, W)"),
    ],
)
def test_channels_have_axes(layer: type[nn.Module], shape: tuple[int, ...], form: str) -> None:
    drop = layer(0.5)
    with pytest.raises(ShapeError) as caught:
        drop(gg.input("x", shape))
    sizes = ", ".join(map(str, shape))
    assert str(caught.value).endswith(f": drop takes {form}, and is given x ({sizes}).")


# ---------------------------------------------------------------- inside other layers


def interpreted(outputs: dict[str, gg.Tensor], seed: int = 0) -> dict[str, np.ndarray]:
    """Outputs of a network as plain Python, with its own first values; x is drawn."""
    net = unjitted(gg.compile(outputs, name="dropping", wrt=[]))
    x = np.random.default_rng(seed).standard_normal((3, 2, 4)).astype(np.float32)
    with np.errstate(all="ignore"):
        return net(x=x, **net.init(seed))


def test_attention_drops_weights() -> None:
    x = gg.input("x", (3, 2, 4))
    attend = nn.MultiheadAttention(4, 2, dropout=0.5)
    y, dropped = attend(x, x, x, average_attn_weights=False)
    attend.eval()
    _, weights = attend(x, x, x, average_attn_weights=False)
    found = interpreted({"y": y, "dropped": dropped, "weights": weights})
    kept = found["dropped"] != 0
    assert 0 < kept.mean() < 1
    np.testing.assert_allclose(found["dropped"][kept], 2 * found["weights"][kept], rtol=1e-5)


@pytest.mark.parametrize("make", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_a_transformer_that_drops_all_it_adds_is_its_norms(make: Any) -> None:
    x = gg.input("x", (3, 2, 4))
    layer = make(4, 2, 8, dropout=1.0)
    more = (x,) if make is nn.TransformerDecoderLayer else ()
    norms = x
    for norm in [layer.norm1, layer.norm2, *([layer.norm3] if more else [])]:
        norms = norm(norms)
    found = interpreted({"y": layer(x, *more), "norms": norms})
    np.testing.assert_allclose(found["y"], found["norms"], rtol=1e-5, atol=1e-6)


def test_every_place_of_a_transformer_has_a_seed_of_its_own() -> None:
    x = gg.input("x", (3, 2, 4))
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    names = {leaf.name for leaf in toposort([layer(x).node]) if isinstance(leaf, Leaf) and leaf.role == "state"}
    places = ("self_attn_drop", "dropout", "dropout1", "dropout2")
    assert names == {"dropout_step", *(f"layer_{place}_seed" for place in places)}
    layer.eval()
    states = [leaf for leaf in toposort([layer(x).node]) if isinstance(leaf, Leaf) and leaf.role == "state"]
    assert states == []


def test_levels_of_a_recurrence_read_what_is_not_dropped() -> None:
    x = gg.input("x", (3, 2, 4))
    net = nn.GRU(4, 5, num_layers=2, dropout=1.0)
    y, _ = net(x)
    net.eval()
    nothing, _ = nn.GRU(5, 5)(gg.zeros((3, 2, 5)))
    trained = unjitted(gg.compile({"y": y, "nothing": nothing}, name="dropping", wrt=[]))
    state = trained.init(0)
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        state[f"gru_{kind}_l0"] = state[f"net_{kind}_l1"]
    found = trained(x=np.ones((3, 2, 4), np.float32), **state)
    np.testing.assert_allclose(found["y"], found["nothing"], rtol=1e-6)
