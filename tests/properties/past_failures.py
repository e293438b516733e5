"""Graphs on which the compiler once was wrong, each the smallest that showed it.

In: nothing. Out: outputs for every name; `test_past_failures` holds them to all properties, not only to the one that
failed. What a random graph finds is added here, by the mistake that it showed.
"""

from collections.abc import Callable
from typing import Any

import gradgen as gg

Outputs = list[gg.Tensor]
M = gg.size("M")


def floats(name: str, *shape: Any) -> gg.Tensor:
    return gg.input(name, shape, dtype="float64")


def read_in_two_shapes() -> Outputs:
    """A formula joined the loop of a tensor that it also read in another shape."""
    p = gg.exp(floats("a", 2, 4))
    return [p + gg.reshape(p, (4, 2)).T]


def step_that_reads_its_carry_in_two_shapes() -> Outputs:
    last, _ = gg.scan(lambda c, _: (gg.tanh(gg.reshape(c.T, (2, 4)) + 0.5 * c), None), floats("w", 2, 4), length=3)
    return [last]


def element_of_a_reshaped_carry() -> Outputs:
    """Code motion did not see that the loop writes what is read in another shape."""
    w = floats("w")

    def step(c: gg.Tensor, _: None) -> tuple[gg.Tensor, gg.Tensor]:
        flat = c.reshape((4,))
        return gg.tanh(c * flat[0] * flat[3] * w + c), flat[1] * flat[2]

    return [*gg.scan(step, floats("start", 2, 2), length=3)]


def last_state_without_steps() -> Outputs:
    """Of a loop without steps, the last state is the first one."""
    x = floats("x", 2)
    last, _ = gg.scan(lambda c, t: (gg.sin(c) * t, None), x, floats("xs", 0))
    return [last * x]


def start_of_an_inner_loop() -> Outputs:
    """What a scan in a scan begins with is computed by the step around it."""
    w = floats("w", 3)

    def outer(c: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        last, ys = gg.scan(lambda q, _: (gg.sin(q) * c, q), gg.sum(w * x) + c, length=2)
        return gg.tanh(last), gg.sum(ys)

    return [*gg.scan(outer, floats("s"), floats("xs", 3))]


def reshaped_results_of_an_inner_loop() -> Outputs:
    """A step returned another shape of what an inner scan gives, and read one."""
    w = floats("w", 4)

    def outer(c: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        _, pairs = gg.scan(lambda q, _: (gg.sin(q * c), gg.stack([q, c])), x * c, length=2)
        return gg.sum(gg.sin(pairs.reshape((4,)) * w)) * c, pairs.reshape((4, 1))

    return [*gg.scan(outer, floats("s"), floats("xs", 2))]


def equal_carries() -> Outputs:
    """Two carries that become one value had one array."""
    x = floats("x", 2)
    (a, b), _ = gg.scan(lambda c, t: ((gg.sin(c[0]) + t, gg.sin(c[1]) + t), None), (x, x), floats("xs", 3))
    return [a * 2 + b, a]


def carry_handed_on_unchanged() -> Outputs:
    (a, b), _ = gg.scan(
        lambda c, t: ((c[0], gg.tanh(c[1] * c[0]) + t), c[0] * t), (floats("x"), floats("y")), floats("xs", 3)
    )
    return [a, b]


def carries_that_are_no_floats() -> Outputs:
    """Forward mode gave booleans a tangent."""

    def step(c: tuple[gg.Tensor, gg.Tensor], x: gg.Tensor) -> tuple[tuple[gg.Tensor, gg.Tensor], gg.Tensor]:
        seen, total = c
        return (gg.logical_or(seen, x > 0.5), gg.where(seen, total * x, total + x)), total

    (_, total), sums = gg.scan(step, (gg.zeros((), dtype="bool"), floats("s")), floats("xs", 4))
    return [total, sums]


def sums_in_the_bodies_of_two_loops() -> Outputs:
    x, w = floats("x", 3), floats("w", 3)
    a, _ = gg.scan(lambda c, t: (gg.tanh(gg.sum(c * w) * x + t), None), x, floats("xs", 2))
    b, _ = gg.scan(lambda c, t: (gg.sin(gg.sum(c * w) * x + t), None), w, floats("ys", 2))
    return [a * b]


def sorted_computed_values() -> Outputs:
    """Two roundings of one value were compared."""
    x, y = floats("x", 3, 4), floats("y", 3, 4)
    v = x * y + gg.sin(x)
    best, at = gg.topk(v, 2)
    return [gg.sort(v), best, gg.argsort(v, axis=0), at]


def empty_axis_in_order() -> Outputs:
    return [gg.sort(gg.exp(floats("x", 3, 0))), gg.argsort(floats("y", 0))]


def element_of_one() -> Outputs:
    """A tensor of one element in another shape, which may be a variable."""
    s = gg.sum(gg.sin(floats("x", 3)))
    return [s.reshape((1, 1)) * 2, s.reshape((1,)) + s]


def size_one_around_a_product() -> Outputs:
    x, w = floats("x", 1, 4, 1), floats("w", 4, 3)
    return [gg.sum(x[0, :, 0] @ w), (x.reshape((1, 4)) @ w).reshape((3, 1))]


def one_element_of_an_axis() -> Outputs:
    """A tensor read at one element of an axis was taken for a transposed one."""
    x, g = floats("x", 4, 3), floats("g", 3, 2)
    i, j, k = gg.index("i", 2), gg.index("j", 3), gg.index("k", 3)
    return [gg.compute((i, j), gg.min(x[i + k, j] * g[k, i], over=k))]


def stride_beyond_the_kernel() -> Outputs:
    """Weights were read behind their end where the stride exceeds the kernel."""
    x, w = floats("x", 2, 11), floats("w", 3, 2, 2)
    h, o, c, p = gg.index("h", 4), gg.index("o", 3), gg.index("c", 2), gg.index("p", 2)
    return [gg.compute((o, h), gg.sum(w[o, c, p] * x[c, 3 * h + p], over=(c, p)))]


def guards_around_a_place_in_data() -> Outputs:
    """Of nested conditions, only the outermost guarded the write of the adjoint."""
    x, at = floats("x", 3), gg.input("at", (5,), dtype="int64")
    n = gg.index("n", 5)
    guarded = gg.where(n >= 1, gg.where(at[n] < 3, gg.sin(gg.padded(x)[at[n]]), 0.5), 0.25)
    return [gg.compute(n, guarded)]


def leaf_that_is_masked_away() -> Outputs:
    """Its gradient is 0, and not missing."""
    x, y = floats("x", 3), floats("y", 3)
    i = gg.index("i", 3)
    return [gg.compute(i, gg.where(i >= 3, x[i], gg.sin(y[i]))), x[0:0]]


def derivative_that_is_zero_everywhere() -> Outputs:
    """Such an access lost its condition."""
    x, i = floats("x", 3), gg.index("i", 5)
    return [gg.compute(i, gg.where(i < 3, gg.sign(x[gg.minimum(i, 2)]) * 2.0, 1.0)), x]


def one_of_three_factors() -> Outputs:
    """A product of three with an index that only one of them has."""
    a, b, c = floats("a", 3, 2), floats("b", 2, 4), floats("c", 4)
    i, j, k, m = gg.index("i", 3), gg.index("j", 4), gg.index("k", 2), gg.index("m", 4)
    return [gg.compute((i, j), gg.sum(a[i, k] * b[k, j] * c[m], over=(k, m)))]


def zero_times_a_guarded_value() -> Outputs:
    """The adjoint 0 of the choice went on into the branch, and left its condition behind."""
    x, i, j = floats("x", 3), gg.index("i", 3), gg.index("j", 2)
    y = x * x * x
    return [gg.compute(i, gg.sum(0.0 * gg.where(i >= 1, gg.sin(y[i - 1]), 0.5) + y[j], over=j)), x]


def order_with_a_product_that_leaves_int64() -> Outputs:
    """i >= -i * large was decided at the ends of i, and not of the product."""
    x, i = floats("x", 4), gg.index("i", 4)
    return [gg.compute(i, gg.where(i >= -i * (2**62 + 2**44 + 1), gg.sin(x[i]), 0.5)), x]


PAST: tuple[Callable[[], Outputs], ...] = (
    read_in_two_shapes,
    step_that_reads_its_carry_in_two_shapes,
    element_of_a_reshaped_carry,
    last_state_without_steps,
    start_of_an_inner_loop,
    reshaped_results_of_an_inner_loop,
    equal_carries,
    carry_handed_on_unchanged,
    carries_that_are_no_floats,
    sums_in_the_bodies_of_two_loops,
    sorted_computed_values,
    empty_axis_in_order,
    element_of_one,
    size_one_around_a_product,
    one_element_of_an_axis,
    stride_beyond_the_kernel,
    guards_around_a_place_in_data,
    leaf_that_is_masked_away,
    derivative_that_is_zero_everywhere,
    one_of_three_factors,
    zero_times_a_guarded_value,
    order_with_a_product_that_leaves_int64,
)
