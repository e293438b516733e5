"""Thirty-five functions from the literature on optimisation: values, gradients, published figures, and descent.

The oracle is the same function in plain Python with 60 digits, differentiated by central differences.
"""

from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize

import gradgen as gg
from tests.oracle import optimisation_plain
from tests.oracle.optimisation_functions import FUNCTIONS, Function

BY_NAME = {f.name: f for f in FUNCTIONS}
TOLERANCE = 1e-12
POINTS = 5  # the starting point, and points around it


@cache
def network() -> gg.Network:
    """All functions in one module: every one is an output, their sum is what is differentiated."""
    outputs: dict[str, gg.Tensor] = {}
    for f in FUNCTIONS:
        x = gg.param(f"x_{f.name}", (len(f.start),))
        data = [gg.input(f"data_{f.name}_{k}", (len(row),)) for k, row in enumerate(f.data)]
        outputs[f.name] = f.formula(x, *data)
    total: Any = 0
    for y in outputs.values():
        total = total + y
    return gg.compile({**outputs, "total": total}, name="optimisation_functions", dtype="float64", loss="total")


def evaluate(points: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All values and gradients by the name of the function; at the starting point where no other is given."""
    start = {f"x_{f.name}": np.array(f.start, float) for f in FUNCTIONS}
    data = {f"data_{f.name}_{k}": np.array(row, float) for f in FUNCTIONS for k, row in enumerate(f.data)}
    given = {f"x_{name}": x for name, x in points.items()}
    values, gradients = network().value_and_grad(**{**start, **data, **given})
    return values, {f.name: gradients[f"x_{f.name}"] for f in FUNCTIONS}


def point(f: Function, number: int) -> np.ndarray:
    start = np.array(f.start, float)
    rng = np.random.default_rng(number)
    return start + (number > 0) * 0.05 * rng.standard_normal(len(start)) * np.maximum(np.abs(start), 0.1)


@cache
def found(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return evaluate({f.name: point(f, number) for f in FUNCTIONS})


@pytest.mark.parametrize("name", BY_NAME)
def test_values_and_gradients(name: str) -> None:
    f, residuals = BY_NAME[name], getattr(optimisation_plain, name)
    for number in range(POINTS):
        at = point(f, number)
        values, gradients = found(number)
        with mpmath.workdps(60):
            value = float(optimisation_plain.value(residuals, at, f.data))
            gradient = np.array([float(g) for g in optimisation_plain.gradient(residuals, at, f.data)])
        assert abs(values[name] - value) <= TOLERANCE * abs(value)
        assert np.abs(gradients[name] - gradient).max() <= TOLERANCE * np.abs(gradient).max()


@pytest.mark.parametrize("name", [f.name for f in FUNCTIONS if f.at_start is not None])
def test_published_values_at_the_start(name: str) -> None:
    assert found(0)[0][name] == pytest.approx(BY_NAME[name].at_start, rel=5e-6)


@pytest.mark.parametrize("name", [f.name for f in FUNCTIONS if f.least is not None])
def test_descent_reaches_the_published_minimum(name: str) -> None:
    f = BY_NAME[name]

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = evaluate({name: x})
        return float(values[name]), gradients[name].copy()

    done = minimize(objective, f.start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    assert done.fun == pytest.approx(f.least, rel=1e-5, abs=1e-15)
