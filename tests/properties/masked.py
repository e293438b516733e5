"""Random models whose rows do not mix before a mask closes over them, with data for the rows that it hides.

In: nothing. Out: `Masked`: a loss, its derivatives, and the arrays of a call, in which hidden elements may be anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import gradgen as gg

ROWS, COLUMNS = 4, 3

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Masked:
    """`arrays(filling)` are the arguments with `filling` wherever the mask hides."""

    outputs: dict[str, gg.Tensor]
    leaves: dict[str, gg.Tensor]
    shown: np.ndarray
    hides_x: bool
    text: tuple[str, ...]

    def arrays(self, filling: float) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        found = {
            "x": rng.uniform(0.3, 1.2, ROWS),
            "k": rng.uniform(0.3, 1.2, ROWS),
            "K": rng.uniform(0.3, 1.2, (ROWS, COLUMNS)),
            "w": rng.uniform(0.3, 1.2, COLUMNS),
            "t": rng.normal(size=ROWS),
            "order": rng.permutation(ROWS),
            "m": self.shown,
        }
        for name in ("k", "K", *(["x"] if self.hides_x else [])):
            found[name][~self.shown] = filling
        return {name: found[name] for name in self.leaves}


def _leaves() -> dict[str, gg.Tensor]:
    f64 = "float64"
    return {
        "x": gg.param("x", (ROWS,), dtype=f64),
        "k": gg.input("k", (ROWS,), dtype=f64),
        "K": gg.input("K", (ROWS, COLUMNS), dtype=f64),
        "w": gg.input("w", (COLUMNS,), dtype=f64),
        "t": gg.input("t", (ROWS,), dtype=f64),
        "order": gg.input("order", (ROWS,), dtype="int64"),
        "m": gg.input("m", (ROWS,), dtype="bool"),
    }


def _columns(v: Any) -> Any:
    return gg.reshape(v, (ROWS, 1))


def _there_and_back(v: Any, u: Any, order: Any) -> Any:
    """v * u in another order of rows, and in the first one again."""
    there = v[order] * u[order]
    return there[gg.argsort(order)]


# Every row of a result reads that row of v and u only.
STEPS: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {
    "product": lambda v, u, x: v * u,
    "quotient": lambda v, u, x: v / (u * u + 0.5),
    "reciprocal": lambda v, u, x: v / u,
    "sum": lambda v, u, x: v + u,
    "sin": lambda v, u, x: gg.sin(v),
    "exp": lambda v, u, x: gg.exp(gg.tanh(v) * u),
    "log": lambda v, u, x: gg.log(1 + v * v),
    "sqrt": lambda v, u, x: gg.sqrt(v * v + 0.1),
    "elu": lambda v, u, x: gg.elu(v - u),
    "relu": lambda v, u, x: gg.relu(v) * u,
    "materialize": lambda v, u, x: gg.materialize(v * u),
    "choice": lambda v, u, x: gg.where(v > u, v * u, u),
    "reshape": lambda v, u, x: gg.reshape(_columns(v) * _columns(u), (ROWS,)),
    "flip": lambda v, u, x: (v[::-1] * u[::-1])[::-1],
    "gather": lambda v, u, x: _there_and_back(v, u, x["order"]),
    "halves": lambda v, u, x: gg.concatenate([v[:2] * u[:2], gg.sin(v[2:])]),
    "joined": lambda v, u, x: gg.concatenate([v, u])[ROWS:] * v,
    "matrix": lambda v, u, x: (x["K"] * _columns(v)) @ x["w"],
    "rows": lambda v, u, x: gg.sum(gg.sin(x["K"] * _columns(v)) * _columns(u), axis=1),
    "logsumexp": lambda v, u, x: gg.logsumexp(x["K"] * _columns(v), axis=1),
    "softmax": lambda v, u, x: gg.sum(gg.nn.softmax(x["K"] * _columns(v)) * x["K"], axis=1),
    "max": lambda v, u, x: gg.max(x["K"] * _columns(v), axis=1) * u,
    "prod": lambda v, u, x: gg.prod(x["K"] + _columns(v), axis=1),
    "scan": lambda v, u, x: gg.scan(lambda s, _: (gg.tanh(s * u) + v, None), v, length=2)[0],
    "stacked scan": lambda v, u, x: gg.sum(gg.scan(lambda s, k: (s * k, s * k * u), v, x["K"].T)[1], axis=0),
    "custom": lambda v, u, x: gg.custom(lambda a, b: a * b, lambda d, a, b: (d * b, d * a), v, u),
    "formula": lambda v, u, x: (
        lambda i, j: gg.compute((i,), gg.sum(x["K"][i, j] * v[i] * x["w"][j], over=j) * u[i])
    )(*gg.indices("i j")),
}  # fmt: skip

CLOSINGS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "sum": lambda v, x: gg.sum(gg.where(x["m"], v, 0.0)),
    "squares": lambda v, x: gg.sum(gg.where(x["m"], v, 0.0) ** 2),
    "opposite": lambda v, x: gg.sum(gg.where(~x["m"], x["t"], v) * x["t"]),
    "exp": lambda v, x: gg.sum(gg.exp(gg.where(x["m"], -(v * v), -np.inf))),
    "logsumexp": lambda v, x: gg.logsumexp(gg.where(x["m"], v, -np.inf)),
    "max": lambda v, x: gg.max(gg.where(x["m"], v, -np.inf)),
    "attention": lambda v, x: gg.sum(gg.nn.softmax(gg.where(x["m"], v, -np.inf)) * gg.where(x["m"], v, 0.0)),
    "wide": lambda v, x: gg.sum(gg.where(_columns(x["m"]), _columns(v) * x["K"], 0.0) @ x["w"]),
    "twice": lambda v, x: gg.sum(gg.where(x["m"], v, 0.0) + gg.where(x["m"], gg.sin(v) * v, 1.0)),
    "steps": lambda v, x: gg.scan(
        lambda s, row: (gg.where(row[1], gg.tanh(s * row[0] + row[0]), s), None), gg.sum(x["w"]), (v, x["m"])
    )[0],
    "steps inside": lambda v, x: gg.scan(
        lambda s, row: (gg.where(row[1], gg.sin(s + row[0] * row[2]), s), None), gg.sum(x["w"]), (v, x["m"], x["k"])
    )[0],
    "gathered": lambda v, x: gg.sum(gg.where(x["m"], v, 0.0)[x["order"]] * x["t"]),
}  # fmt: skip


@st.composite
def masked_models(draw: Draw) -> Masked:
    x = _leaves()
    pool: list[Any] = [x["x"] * x["k"], x["x"], x["k"]]
    text: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(sorted(STEPS)))
        v, u = (draw(st.integers(0, len(pool) - 1)) for _ in range(2))
        pool.append(STEPS[name](pool[v], pool[u], x))
        text.append(f"{len(pool) - 1} = {name}({v}, {u})")
    closings = draw(st.lists(st.sampled_from(sorted(CLOSINGS)), min_size=1, max_size=2))
    loss: Any = 0.1 * gg.sum(gg.where(x["m"], x["x"] * x["k"], 0.0))
    for n, name in enumerate(closings):
        v = len(pool) - 1 if n == 0 else draw(st.integers(0, len(pool) - 1))
        loss = loss + CLOSINGS[name](pool[v], x)
        text.append(f"{name}({v})")
    hides_x = draw(st.booleans())
    if not hides_x:
        loss = loss + gg.sum(gg.sin(x["x"]) * x["x"])
    shown = np.array(draw(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)))
    shown[draw(st.integers(0, ROWS - 1))] = True
    gradient = gg.grad(loss, x["x"])
    outputs = {
        "loss": loss,
        "gradient": gradient,
        "tangent": gg.jvp(loss, x["x"], x["t"]),
        "forward_over_reverse": gg.hvp(loss + loss * loss, x["x"], x["t"]),
        "reverse_over_reverse": gg.grad(gg.sum(gg.grad(loss + loss * loss, x["x"]) * x["t"]), x["x"]),
    }
    return Masked(outputs, x, shown, hides_x, tuple(text))
