"""The gradient of a deep network written parameter by parameter, beside backpropagation: O(k^2 m^2) against O(k m^2).

    python examples/naive_gradient.py [--layers 4 8 16 32] [--widths 64 128 256 512] [--out build/naive_gradient]

The network has k layers a <- relu(X a) of width m and a squared loss. Backpropagation is what gradgen makes of it: one
pass forward, one backward, all derivatives. The naive way is a function for the derivative by one layer's matrix: it
runs the whole network for it, then multiplies Jacobians from the loss down to that layer. Called for each of the k
layers, it computes again what the calls before it had. It is a compiled network of its own, whose other layers are
inputs: in one network with k gradients, gradgen would share what they have in common, and that is backpropagation.

Operations are counted in the two generated files: every +, -, * and / of floats, as often as its loops run. Times are
the best of five, on one core. Both are fitted by c k^p m^q. The counts obey the law; times grow slower where calls are
short, and faster where the matrices leave a cache. The last line says how far the derivatives are apart. The picture
has the costs. The loss of the smallest network is also computed in a process without gradgen.
"""

import argparse
import ast
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import gradgen as gg
from drawing import draw
from without_gradgen import call_without_gradgen

HERE = Path(__file__).resolve().parent

K, M = gg.size("K"), gg.size("M")
a, b = gg.input("a", (M,)), gg.input("b", (M,))


def layer(a: gg.Tensor, X: gg.Tensor) -> tuple[gg.Tensor, None]:
    """One layer, a step of a scan."""
    return gg.relu(X @ a), None


X = gg.param("X", (K, M, M))
output, _ = gg.scan(layer, a, X)
backpropagation = gg.compile({"loss": gg.sum((b - output) ** 2)}, name="backpropagation")

before, behind = gg.input("before", (gg.size("P"), M, M)), gg.input("behind", (gg.size("S"), M, M))
own = gg.param("own", (M, M))
reached, _ = gg.scan(layer, a, before)
output, _ = gg.scan(layer, gg.relu(own @ reached), behind)
naive = gg.compile({"loss": gg.sum((b - output) ** 2)}, name="naive")


def operations(net: gg.Network) -> Callable[[dict[str, Any]], int]:
    """How many operations on floats one `value_and_grad` is, given the arrays and sizes that its loops run over."""
    functions = {x.name: x for x in ast.parse(net.source).body if isinstance(x, ast.FunctionDef)}

    def count(node: ast.AST, values: dict[str, Any]) -> int:
        match node:
            case ast.Subscript() | ast.Attribute() | ast.If():  # places; tests of the arguments
                return 0
            case ast.For():
                return len(eval(ast.unparse(node.iter), values)) * sum(count(x, values) for x in node.body)
            case ast.Call(func=ast.Name(id=name)) if name in functions:
                return sum(count(x, values) for x in functions[name].body)
        own = isinstance(node, ast.BinOp | ast.AugAssign)
        return own + sum(count(x, values) for x in ast.iter_child_nodes(node))

    body = functions["value_and_grad"].body
    return lambda values: sum(count(x, values) for x in body)


operations_of_naive, operations_of_backpropagation = operations(naive), operations(backpropagation)


def seconds(call: Callable[[], None]) -> float:
    """The best of five, after one that compiles."""
    call()
    times = []
    for _ in range(5):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def fitted(k: np.ndarray, m: np.ndarray, y: np.ndarray) -> str:
    """c k^p m^q by least squares of logarithms."""
    powers = np.column_stack([np.ones(len(k)), np.log(k), np.log(m)])
    c, p, q = np.linalg.lstsq(powers, np.log(y), rcond=None)[0]
    return f"{np.exp(c):.3g} k^{p:.2f} m^{q:.2f}"


def compared(k: int, m: int) -> tuple[dict[str, tuple[int, float]], float]:
    """Operations and seconds of both ways at one size, and the largest difference of their derivatives."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, m)).astype(np.float32)
    X = (random.normal(size=(k, m, m)) * np.sqrt(2 / m)).astype(np.float32)
    d_X, d_X_naive = np.empty_like(X), np.empty_like(X)

    module = backpropagation.module
    p, work, g = module.Params(X=X), module.workspace(k, m), module.Gradients(d_X=d_X)

    def at_once() -> None:
        module.value_and_grad(a=a, b=b, p=p, w=work, g=g)

    each = naive.module
    works = [each.workspace(m, before, k - 1 - before) for before in range(k)]

    def one_by_one() -> None:
        for at, w in enumerate(works):
            own, d_own = each.Params(own=X[at]), each.Gradients(d_own=d_X_naive[at])
            each.value_and_grad(a=a, b=b, before=X[:at], behind=X[at + 1 :], p=own, w=w, g=d_own)

    values = {"a": a, "b": b, "X": X, "K": k, "M": m}
    counts = [
        operations_of_naive({**values, "before": X[:at], "behind": X[at + 1 :], "S": k - 1 - at}) for at in range(k)
    ]
    found = {
        "naive": (sum(counts), seconds(one_by_one)),
        "backpropagation": (operations_of_backpropagation(values), seconds(at_once)),
    }
    return found, float(np.abs(d_X - d_X_naive).max() / np.abs(d_X).max())


def costs(axes: Any, grid: np.ndarray, found: dict[str, np.ndarray], what: str, over: str) -> None:
    """Operations or seconds, over the layers at the largest width or over the widths at most layers."""
    row, column = ("operations", "seconds").index(what), ("layers k", "width m").index(over)
    most = grid[:, 1 - column].max()
    chosen = grid[:, 1 - column] == most
    for name, values in found.items():
        label = f"{name}, {fitted(*grid.T, values[:, row])}"
        axes.loglog(grid[chosen, column], values[chosen, row], marker="o", label=label)
    axes.set_xticks(grid[chosen, column], grid[chosen, column])
    axes.set_xticks([], minor=True)
    other = f"width m = {most}" if column == 0 else f"k = {most} layers"
    axes.set(xlabel=over, ylabel=what, title=f"{what.capitalize()} at {other}")
    axes.legend(fontsize="small")


def main(layers: list[int], widths: list[int], out: Path) -> None:
    """Count and measure over all sizes, and fit."""
    grid = np.array([(k, m) for k in layers for m in widths])
    found: dict[str, list[tuple[int, float]]] = {"naive": [], "backpropagation": []}
    difference = 0.0
    print("  k    m   operations: naive  backpropagation   milliseconds: naive  backpropagation")
    for k, m in grid:
        both, apart = compared(int(k), int(m))
        difference = max(difference, apart)
        for name, pair in both.items():
            found[name].append(pair)
        (count, time), (count_2, time_2) = both.values()
        print(f"{k:3} {m:4} {count:19,} {count_2:16,} {1e3 * time:21.3f} {1e3 * time_2:16.3f}", flush=True)
    arrays = {name: np.array(pairs) for name, pairs in found.items()}
    k, m = grid[0]
    random = np.random.default_rng(0)
    shapes = {"a": (m,), "b": (m,), "X": (k, m, m)}
    drawn = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    call_without_gradgen(backpropagation, drawn, out, K=k, M=m)
    pairs = [(what, over) for what in ("operations", "seconds") for over in ("layers k", "width m")]
    panels = (partial(costs, grid=grid, found=arrays, what=what, over=over) for what, over in pairs)
    draw(out / "costs.png", "All derivatives of k layers of width m: at once, and one by one", *panels, columns=2)
    for name, values in arrays.items():
        counts, times = (fitted(*grid.T, values[:, column]) for column in range(2))
        print(f"{name}: operations {counts}; seconds {times}")
    print(f"largest difference of a derivative, relative to the largest: {difference:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "naive_gradient")
    options = parser.parse_args()
    main(options.layers, options.widths, options.out)
