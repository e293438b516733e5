"""Attention whose time grows with T instead of T^2, by its formula, beside the one with a softmax.

    python examples/linear_attention.py [--lengths 256 512 1024 2048 4096] [--out build/linear_attention]

Attention gives every query a mean of the values, weighted by how well their keys fit. With a softmax the weights are
exp(q_t . k_s), one for each of T^2 pairs. Linear attention (Katharopoulos, Vyas, Pappas, Fleuret, "Transformers are
RNNs", 2020) weights by phi(q_t) . phi(k_s) with phi(x) = elu(x) + 1 > 0. Then the sum over s can be taken first:

    sum_s (phi(q_t) . phi(k_s)) v_s  =  phi(q_t) . (sum_s phi(k_s) v_s^T)

The bracket is one matrix for all queries. Both functions below take (T, d), (T, d) and (T, e) to (T, e).

The lines are how far the linear one is from the formula of all pairs, written in NumPy; the times of a value and its
gradients by queries, keys and values, the best of five; how far the linear one is from itself in a process without
gradgen; and the exponent of T that fits the times. The picture has these.
"""

import argparse
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import gradgen as gg
from drawing import draw
from gradgen import nn
from without_gradgen import call_without_gradgen

HERE = Path(__file__).resolve().parent
FEATURES = 32


def softmax_attention(query: gg.Tensor, key: gg.Tensor, value: gg.Tensor) -> gg.Tensor:
    """Weights exp(q_t . k_s / sqrt(d)), as every framework has it."""
    return nn.scaled_dot_product_attention(query, key, value)


def linear_attention(query: gg.Tensor, key: gg.Tensor, value: gg.Tensor) -> gg.Tensor:
    """Weights phi(q_t) . phi(k_s), summed over s before t is looked at."""
    t, s, d, e = gg.indices("t s d e")
    phi_q, phi_k = nn.elu(query) + 1, nn.elu(key) + 1
    values = gg.compute((d, e), gg.sum(phi_k[s, d] * value[s, e], over=s))
    weights = gg.compute(d, gg.sum(phi_k[s, d], over=s))
    above = gg.compute((t, e), gg.sum(phi_q[t, d] * values[d, e], over=d))
    below = gg.compute(t, gg.sum(phi_q[t, d] * weights[d], over=d))
    return gg.compute((t, e), above[t, e] / below[t])


def of_all_pairs(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Linear attention as it is defined, with its T^2 weights."""
    phi_q, phi_k = (np.where(x > 0, x + 1, np.exp(x)) for x in (query, key))
    weights = phi_q @ phi_k.T
    return weights @ value / weights.sum(axis=1, keepdims=True)


T = gg.size("T")
query, key, value, wanted = (gg.input(name, (T, FEATURES)) for name in ("query", "key", "value", "wanted"))
networks = {}
for name, attention in (("softmax", softmax_attention), ("linear", linear_attention)):
    y = attention(query, key, value)
    outputs = {"y": y, "loss": gg.mean((y - wanted) ** 2)}
    networks[name] = gg.compile(outputs, name=f"{name}_attention", wrt=[query, key, value])


def seconds(net: gg.Network, arrays: dict[str, np.ndarray]) -> float:
    """The best of five, after one that may compile."""
    net.value_and_grad(**arrays)
    times = []
    for _ in range(5):
        start = perf_counter()
        net.value_and_grad(**arrays)
        times.append(perf_counter() - start)
    return min(times)


def exponent(lengths: list[int], times: list[float]) -> float:
    """Of the power of T that fits times best."""
    return float(np.polyfit(np.log(lengths), np.log(times), 1)[0])


def times_by_length(axes: Any, lengths: list[int], times: dict[str, list[float]]) -> None:
    """Times over lengths; a straight line is a power."""
    for name, values in times.items():
        axes.loglog(lengths, values, marker="o", label=f"{name} attention, as T^{exponent(lengths, values):.2f}")
    axes.set_xticks(lengths, lengths)
    axes.set_xticks([], minor=True)
    axes.set(xlabel="length T of the sequence", ylabel="seconds", title="Time of a value and its gradients")
    axes.legend()


def main(lengths: list[int], out: Path) -> None:
    """Check, measure, fit."""
    random = np.random.default_rng(0)
    names = ("query", "key", "value", "wanted")
    drawn = {length: random.normal(size=(4, length, FEATURES)).astype(np.float32) for length in lengths}
    arrays = {length: dict(zip(names, drawn[length], strict=True)) for length in lengths}

    apart = np.abs(networks["linear"](**arrays[lengths[0]])["y"] - of_all_pairs(*drawn[lengths[0]][:3])).max()
    print(f"largest difference from the formula of all pairs: {apart:.1e}")
    times: dict[str, list[float]] = {name: [] for name in networks}
    print("     T   milliseconds: " + "  ".join(times), flush=True)
    for length in lengths:
        for name, net in networks.items():
            times[name].append(seconds(net, arrays[length]))
        print(f"{length:6} {1e3 * times['softmax'][-1]:23.3f} {1e3 * times['linear'][-1]:7.3f}", flush=True)
    call_without_gradgen(networks["linear"], arrays[lengths[0]], out, T=lengths[0])
    panel = partial(times_by_length, lengths=lengths, times=times)
    draw(out / "times.png", "Attention in linear time", panel, width=6)
    for name, values in times.items():
        print(f"{name}: time as T^{exponent(lengths, values):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "linear_attention")
    options = parser.parse_args()
    main(options.lengths, options.out)
