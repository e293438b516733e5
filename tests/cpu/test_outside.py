"""Subscripts that only the data of a call decides: refused where the interpreter finds them outside, and only there."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from tests.cpu.running import unjitted
from tests.repeats import parameter

ROWS = 5
FAR = 10**7  # so far outside that a read of it would not go unnoticed

N = gg.size("N")
table = gg.param("table", (ROWS, 3), dtype="float64")
label = gg.input("label", (N,), dtype="int64")
factor = gg.input("factor", (N,), dtype="int64")
weight = gg.input("weight", (N,), dtype="float64")
line = gg.param("line", (N,), dtype="float64")
start = gg.input("start", (), dtype="int64")
n, f = gg.indices("n f")
m = gg.index("m", N)


def selected(at: Any) -> Any:
    return gg.compute((n, f), table[at, f])


def guarded(condition: Any, at: Any) -> Any:
    return gg.compute((n, f), gg.where(condition, table[at, f], 0.0))


def through_a_table() -> Any:
    """The place in a table that is a place in another one: the check itself must not read outside."""
    places = gg.compute((n,), label[label[n] * 1] + factor[n])
    return selected(places[n])


def scattered(masked: bool) -> Any:
    added = weight[n] * table[0, 0]
    place = label[n] * factor[n]
    return gg.accumulate((place,), gg.where(place >= 0, added, 0.0) if masked else added, (ROWS,))


def walked() -> Any:
    """A place that a recurrence computes: every step moves by what the labels say."""

    def body(at: Any, move: Any) -> tuple[Any, Any]:
        return at + move, table[at, 0]

    return gg.scan(body, gg.compute((), 0 * gg.sum(label[n], over=n)), label)[1]


def stepped() -> Any:
    """A computed place in the body of a scan that does not depend on the recurrence."""

    def body(total: Any, xs: Any) -> tuple[Any, Any]:
        move, scale = xs
        new = total * 0.5 + table[move * scale, 1]
        return new, new

    return gg.scan(body, gg.compute((), 0.0 * table[0, 0]), [label, factor])[1]


MODELS: dict[str, Callable[[], Any]] = {
    "guarded label": lambda: guarded(label[n] >= 0, label[n]),
    "guarded by equality": lambda: guarded(label[n] != -1, label[n]),
    "guarded by another tensor": lambda: guarded(weight[n] > 0.0, label[n]),
    "guarded and raised": lambda: guarded(label[n] >= 0, gg.maximum(label[n], 0)),
    "read in a condition": lambda: guarded((label[n] >= 0) & (table[label[n], 0] > 1.0), 0 * n),
    "product of labels": lambda: selected(label[n] * factor[n]),
    "by a formula": lambda: selected(gg.compute((n,), label[n] * 2)[n]),
    "through a table": through_a_table,
    "scatter": lambda: scattered(False),
    "masked scatter": lambda: scattered(True),
    "recurrence": walked,
    "a size that nothing read has": lambda: gg.compute((m,), line[start[()] * start[()] + m]),
    "step": stepped,
}  # fmt: skip

DATA: tuple[tuple[list[int], list[int]], ...] = (
    ([0, 1, 2, 1], [1, 1, 2, 0]),
    ([0, 1, 2, 4], [1, 1, 1, 0]),
    ([0, -1, 2, 1], [1, 1, 0, 3]),
    ([0, -FAR, 2, 1], [1, -FAR, 0, 1]),
    ([0, FAR, 0, 0], [FAR, 1, 1, 1]),
    ([0, 1, 2, 5], [1, 1, 1, -1]),
    ([0, 1, 1, 1], [0, FAR, 1, -1]),
    ([], []),
)


def network(y: Any) -> Network:
    return gg.compile({"y": y, "loss": gg.sum(y * y)}, name="outside", dtype="float64", loss="loss")


@pytest.mark.parametrize(
    ("name", "way"),
    [
        parameter(x, way, default=way == "plain" or k % 2 == 0)
        for k, x in enumerate(MODELS)
        for way in ("plain", "jitted")
    ],
)
def test_refused_where_the_interpreter_is_outside(name: str, way: str) -> None:
    y = MODELS[name]()
    net = network(y) if way == "jitted" else unjitted(network(y))
    rng = np.random.default_rng(0)
    answers = set()
    for labels, factors in DATA:
        arrays = {
            "table": rng.normal(size=(ROWS, 3)),
            "label": np.array(labels, np.int64),
            "factor": np.array(factors, np.int64),
            "weight": np.array([1.0, -1.0, 0.5, 2.0][: len(labels)]),
            "line": rng.normal(size=len(labels)),
            "start": np.int64(max(factors, default=1) - 1),
        }
        given = {x.name: arrays[x.name] for x in net.interface.leaves}
        leaves = {x.node: arrays[x.node.name] for x in (table, label, factor, weight, line, start)}
        try:
            (wanted,) = interpret([y.node], leaves)
        except IndexError:
            wanted = None
        answers.add(wanted is None)
        if wanted is None:
            for call in (net, net.forward, net.value_and_grad):
                with pytest.raises(BindingError, match=r"outside|leaves axis"):
                    call(**given)
            continue
        for _ in range(3):  # the third call is a direct one
            outputs, gradients = net.value_and_grad(**given)
        np.testing.assert_allclose(outputs["y"], wanted, rtol=1e-12, atol=1e-12)
        _, saved = net.forward(**given)
        pulled = net.backward(saved, loss=1.0)
        for key, gradient in gradients.items():
            np.testing.assert_allclose(pulled[key], gradient, rtol=1e-12, atol=1e-12)
    assert answers == {True, False}, "the data must show both"


def test_what_is_proved_needs_no_check() -> None:
    row = gg.index("row", ROWS)
    best = gg.compute((n,), gg.argmax(weight[n] * table[row, 0], over=row))
    proved = (
        selected(best[n]),
        selected((label[n] + factor[n]) % ROWS),
        selected(gg.compute((n,), (label[n] + factor[n]) % ROWS)[n]),
        gg.sort(table, axis=0),
        gg.take_along_axis(line, gg.argsort(weight), 0),
        gg.topk(table, 2)[0],
        guarded((label[n] >= 0) & (label[n] < ROWS), label[n]),
    )
    for y in proved:
        assert "check" not in [e.name for e in network(y).interface.entries]
    labelled = network(selected(label[n])).interface
    assert "check" in [e.name for e in labelled.entries]
    assert not labelled.counts  # a call of the network looks at labels itself


def test_the_message() -> None:
    net = unjitted(network(selected(label[n] * factor[n])))
    given = {"table": np.zeros((ROWS, 3)), "label": np.array([1, 3]), "factor": np.array([2, 2])}
    with pytest.raises(BindingError) as refused:
        net(**given)
    text = str(refused.value)
    assert "test_outside.py:" in text
    assert text.endswith(
        "a computed subscript leaves axis 0 of table, whose size is 5, once here. "
        "An element that is not there is not read."
    )


def test_columns_of_integers_select_from_different_axes() -> None:
    """What one column holds is no business of the axis that another selects from."""
    few, many = gg.input("few", (gg.size("F"),), dtype="float64"), gg.input("many", (gg.size("M"),), dtype="float64")
    pick = gg.input("pick", (gg.size("P"), 2), dtype="int64")
    n = gg.index("n")
    net = gg.compile({"y": gg.compute((n,), few[pick[n, 0]] * many[pick[n, 1]])}, name="columns", wrt=[])
    given = {"few": np.array([1.0, 2.0]), "many": np.arange(9.0)}
    np.testing.assert_array_equal(net(pick=np.array([[1, 8], [0, 5]]), **given)["y"], [16.0, 5.0])
    for bad in ([[2, 8], [0, 5]], [[1, 9], [0, 5]], [[1, -1], [0, 5]]):
        with pytest.raises(BindingError):
            net(pick=np.array(bad), **given)


def test_a_place_that_indices_shield_is_not_written() -> None:
    """Neither condition on indices bounds a loop by itself; where one fails, the computed place may not be there."""
    x = gg.param("x", (gg.size("N"),), dtype="float64")
    a, b = gg.input("a", (4,), dtype="int64"), gg.input("b", (4,), dtype="int64")
    i, j = gg.index("i", 4), gg.index("j", 2)
    shielded = (2 * j > i) | (j % 2 == 0)
    y = gg.compute((i, j), gg.where(~shielded, gg.sin(x[a[i] * b[i]]), 0.25))
    net = unjitted(gg.compile({"y": y}, name="shielded"))
    given = {"x": np.array([0.3, 0.7]), "a": np.array([2, 7, 1, 0]), "b": np.array([1, 3, 1, 1])}
    _, saved = net.forward(**given)
    found = net.backward(saved, y=np.ones((4, 2)))["x"]
    np.testing.assert_allclose(found, np.cos(given["x"]), rtol=1e-6)


def test_every_condition_around_a_place_shields_it() -> None:
    """One on indices around one on data: the adjoint writes where both hold."""
    x, a = gg.param("x", (2,), dtype="float64"), gg.input("a", (3,), dtype="int64")
    i, j = gg.index("i", 3), gg.index("j", 2)
    place = i + a[i]
    y = gg.compute((i, j), gg.where(j % 2 == 0, 0.5, gg.where((place >= 0) & (place < 2), x[place], 0)))
    net = unjitted(gg.compile({"y": y}, name="twice_shielded"))
    _, saved = net.forward(x=np.ones(2), a=np.array([1, -1, 7]))
    np.testing.assert_array_equal(net.backward(saved, y=np.ones((3, 2)))["x"], [1, 1])


def test_places_that_neighbours_in_one_array_select() -> None:
    """As in the likelihood of a Markov chain: no access reads all of the array, so the subscripts are counted."""
    square = gg.param("square", (ROWS, ROWS), dtype="float64")
    k = gg.index("k", N - 1)
    net = unjitted(gg.compile({"y": gg.compute((k,), square[label[k], label[k + 1]])}, name="chain", dtype="float64"))
    assert "label[k] < 0 or label[k] >= 5" in net.source
    values = np.random.default_rng(0).normal(size=(ROWS, ROWS))
    labels = np.array([3, 0, 4, 4])
    np.testing.assert_array_equal(net(square=values, label=labels)["y"], values[labels[:-1], labels[1:]])
    for bad in ([3, 0, ROWS, 4], [3, 0, 4, ROWS], [-1, 0, 4, 4]):
        with pytest.raises(BindingError):
            net(square=values, label=np.array(bad))


@pytest.mark.parametrize("way", ["plain", "jitted"])
def test_nothing_is_read_before_an_empty_loop(way: str) -> None:
    """What does not change with a loop is computed before it, also if the loop has no steps: so it is checked."""
    x, w, places = gg.input("x", (N, ROWS)), gg.param("w", ()), gg.input("places", (3,), dtype="int64")
    i = gg.index("i")
    doubled = gg.compute((n,), gg.sum(x[n, 0] * table[places[i] * 2, 0], over=i))
    _, stepped = gg.scan(lambda c, row: (c, c * gg.sum(row) * gg.sum(table[places * 2, 1])), w, x)
    for y, each in ((doubled, 3), (stepped, 3 * ROWS)):
        net = gg.compile({"y": gg.sum(y)}, name="empty_loop", dtype="float64")
        net = net if way == "jitted" else unjitted(net)
        for rows in (0, 2):
            given = {"x": np.ones((rows, ROWS)), "table": np.ones((ROWS, 3)), "places": np.array([0, 1, 2])}
            given |= {"w": np.float64(1)} if "w" in [leaf.name for leaf in net.interface.leaves] else {}
            assert net(**given)["y"] == each * rows
            with pytest.raises(BindingError, match=r"outside|leaves axis"):
                net(**{**given, "places": np.array([0, 1, FAR])})


def test_an_element_of_an_empty_axis_is_not_read_before_the_loop() -> None:
    """The condition holds in every step of the loop, so it is gone; in front of a loop without steps it does not."""
    rows, w = gg.input("rows", (N, 2), dtype="float64"), gg.param("w", (2,), dtype="float64")
    places = gg.input("places", (1,), dtype="int64")

    def step(c: Any, row: Any) -> tuple[Any, None]:
        return c * gg.sum(row) + gg.compute(m, gg.where(m < N, rows[m, places[0]], 0.0) * c[m]), None

    m = gg.index("m", 2)
    last, _ = gg.scan(step, w, rows)
    net = unjitted(gg.compile({"y": last}, name="empty_axis", dtype="float64"))
    for count in (0, 1, 3):
        given = {"rows": np.ones((count, 2)), "w": np.ones(2), "places": np.array([1])}
        (wanted,) = interpret([last.node], {leaf.node: given[leaf.node.name] for leaf in (rows, w, places)})
        np.testing.assert_allclose(net(**given)["y"], wanted)
