"""Arrays of a module: one for each name, and no name for two things."""

from gradgen.graph.scalar import integer
from gradgen.passes.storage import Buffers


def test_an_array_that_needs_another_name_takes_no_name_of_the_entry() -> None:
    """The entry has a scalar `sum_2` of its own: as a parameter beside an array of that name it would be one twice."""
    arrays = Buffers()
    first = arrays.make("sum", (integer(3),), "float64", "work")
    arrays.taken = frozenset({"sum", "sum_2"})
    second = arrays.make("sum", (integer(2),), "float64", "work")
    assert (first.name, second.name) == ("sum", "sum_3")
    assert arrays.make("sum", (integer(2),), "float64", "work") is second
    assert arrays.make("sum_2", (), "float64", "local").name == "sum_2"
