"""Sizes and loop variables that statements mention, where their text has them and nowhere else."""

import pytest

from gradgen.graph.scalar import Poly, integer, load, number, require_poly, size_symbol
from gradgen.program.extents import is_mentioned, sizes_mentioned, sizes_of_arrays
from gradgen.program.loops import (
    Assign,
    Buffer,
    Dot,
    For,
    If,
    Matrix,
    letter,
)

N, M = size_symbol("N"), size_symbol("M")
n = letter("n")


def array(name: str, *shape: Poly | int) -> Buffer:
    return Buffer(name, tuple(require_poly(s) for s in shape), "float32", "work")


def matrix(buffer: Buffer, rows: Poly, columns: Poly, *fixed: Poly) -> Matrix:
    return Matrix(buffer, fixed, rows, columns)


def test_a_product_of_whole_matrices_mentions_no_size() -> None:
    a, b, c = array("a", N, M), array("b", M, 4), array("c", N, 4)
    four = integer(4)
    whole = Dot(matrix(a, N, M), matrix(b, M, four), matrix(c, N, four))
    assert sizes_mentioned([whole], None) == {}
    flat = array("a", require_poly(N * M))
    folded = Dot(matrix(flat, N, M), matrix(b, M, four), matrix(c, N, four))
    assert sizes_mentioned([folded], None) == {"N": 1, "M": 1}
    added = Dot(whole.left, whole.right, whole.out, scratch=array("term", N, 4))
    assert sizes_mentioned([added], None) == {"N": 1}


def test_every_mention_counts() -> None:
    x = array("x", N)
    store = Assign(x, (n,), number(0))
    assert sizes_mentioned([For("n", integer(0), N, "parallel", (store,))], None) == {"N": 1}
    twice = For("n", integer(0), N, "parallel", (If(require_poly(N - n), (store,)),))
    assert sizes_mentioned([twice], None) == {"N": 2}


@pytest.mark.parametrize(("subscript", "mentioned"), [(n, True), (integer(0), False)])
def test_a_loop_that_counts_only_has_no_variable(subscript: Poly, mentioned: bool) -> None:
    x = array("x", N)
    body = Assign(x, (subscript,), load(x, (integer(1),)))
    assert is_mentioned(For("n", integer(0), N, "serial", (body,))) is mentioned


def test_a_size_is_read_off_the_first_array_that_has_it() -> None:
    a, b = array("a", 4, N), array("b", N, M)
    assert sizes_of_arrays(["N", "M", "T"], [a, b]) == {"N": (a, 1), "M": (b, 1)}
