"""Names that nothing else has, and letters for loops."""

import gradgen as gg
from gradgen.graph.names import free_letter, free_letters, free_name, index_letters


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert free_name("row", set()) == "row"
    assert free_name("row", {"row", "row_2", "row_4"}) == "row_3"


def test_a_letter_that_is_taken_is_another_one() -> None:
    assert free_letter("n", {"i"}) == "n"
    assert free_letter("n", {"n", "i"}) == "j"
    assert free_letters(3, {"j"}) == ["i", "k", "n"]
    assert free_letters(40, ())[-1] == "i25"
    assert len(set(free_letters(40, ()))) == 40


def test_a_formula_keeps_the_letters_of_the_user() -> None:
    x, a, b = gg.input("x", (3, 4)), gg.index("a"), gg.index("b")
    assert index_letters(gg.compute((a, b), 2 * x[a, b]).node) == ["a", "b"]
    assert index_letters(gg.compute((a, b), 2 * x[a, b]).node, {0: "b"}) == ["b", "n"]
