"""Statements as first written: nothing is stored that only begins something else, no loop stands there twice."""

import re

import gradgen as gg
from gradgen.emit.plain import plain
from gradgen.graph.scalar import integer, load, number
from gradgen.program.loops import (
    Assign,
    Buffer,
    For,
    letter,
    side_by_side,
)

T = gg.size("T")


def test_a_scan_writes_what_it_begins_with_where_it_begins() -> None:
    x, h0 = gg.input("x", (T, 3)), gg.param("h0", (3,))

    def body(carry: tuple[gg.Tensor, gg.Tensor], x: gg.Tensor) -> tuple[tuple[gg.Tensor, gg.Tensor], None]:
        h, count = carry
        return (gg.tanh(h + x), count + 1.0), None

    (h, count), _ = gg.scan(body, (h0 * 2, gg.zeros((3,))), x)
    text = gg.compile({"h": h, "count": count}, name="begin").source
    assert re.search(r"states\[0, i\] = h0\[i\] \* np\.float32\(2\.0\)\n +\w+\[0, i\] = np\.float32\(0\.0\)\n", text)
    assert "constant" not in text[text.index("class Params") :]


def test_a_constant_is_written_where_it_is_read() -> None:
    x1, x2 = gg.param("x1", ()), gg.param("x2", ())
    text = gg.compile({"y": x1 * x2 - gg.sin(x2)}, name="constant").source
    assert "constant" not in text[text.index("class Params") :]


def test_loops_over_the_same_axes_are_one() -> None:
    a, b = (Buffer(name, (integer(4), integer(3)), "float32", "work") for name in "ab")
    c = Buffer("c", (integer(4),), "float32", "work")
    i, j = letter("i"), letter("j")
    zero = [Assign(x, (i, j), number(0)) for x in (a, b)]
    inner = [For("j", integer(0), integer(3), "parallel", (s,)) for s in zero]
    loops = [For("i", integer(0), integer(4), "parallel", (s,)) for s in (*inner, Assign(c, (i,), number(0)))]
    (merged,) = side_by_side(loops)
    assert isinstance(merged, For)
    assert [type(s) for s in merged.body] == [For, Assign]
    assert merged.body[0] == For("j", integer(0), integer(3), "parallel", tuple(zero))
    other = For("i", integer(0), integer(5), "parallel", (zero[0],))
    assert side_by_side([loops[0], other]) == [loops[0], other]


def test_a_sum_that_is_stored_is_read_where_it_was_added_up() -> None:
    x = gg.input("x", (gg.size("N"), 5))
    n, i, j = gg.indices("n i j")
    s = gg.compute((n,), gg.sum(x[n, j] * x[n, j], over=j))
    text = gg.compile({"s": s, "y": gg.compute((n, i), x[n, i] / s[n])}, name="sums").source
    assert "        s[n] = s_acc\n" in text
    assert "            y[n, i] = x[n, i] / s_acc\n" in text


def test_an_element_has_no_name_for_the_next_statement_alone() -> None:
    """x = a[i]; b[i] = x, in two loops; where it is read again it keeps its name."""
    a, b = (Buffer(name, (integer(4),), "float32", "work") for name in "ab")
    x = Buffer("x", (), "float32", "local")
    i = letter("i")
    pair = (Assign(x, (), load(a, (i,))), Assign(b, (i,), load(x, ())))
    loops = [For("i", integer(at), integer(at + 2), "parallel", pair) for at in (0, 2)]
    assert plain(loops, {"a", "b"}, ()) == [
        For("i", integer(at), integer(at + 2), "parallel", (Assign(b, (i,), load(a, (i,))),)) for at in (0, 2)
    ]
    twice = [For("i", integer(0), integer(2), "parallel", (*pair, Assign(a, (i,), load(x, ()))))]
    assert plain(twice, {"a", "b"}, ()) == twice
