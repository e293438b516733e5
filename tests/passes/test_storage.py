"""Arrays of a module: one for each name, and no name for two things."""

from gradgen.graph.scalar import integer
from gradgen.passes.lower.storage import Buffers


def test_an_array_that_needs_another_name_takes_no_name_of_the_entry() -> None:
    """The entry has a scalar `sum_2` of its own: as a parameter beside an array of that name it would be one twice."""
    arrays = Buffers()
    first = arrays.make("sum", (integer(3),), "float64", "work")
    arrays = arrays.begin({"sum", "sum_2"})
    second = arrays.make("sum", (integer(2),), "float64", "work")
    assert (first.name, second.name) == ("sum", "sum_3")
    assert arrays.make("sum", (integer(2),), "float64", "work") is second
    assert arrays.make("sum_2", (), "float64", "local").name == "sum_2"


def test_what_is_no_tensor_takes_no_name_of_one() -> None:
    """Rows of `h` beside a tensor `h_row`, its running sum beside `h_acc`; what a function needs alone it may share."""
    arrays = Buffers().begin({"h", "h_row", "h_acc"})
    own = arrays.make("h_row", (integer(3),), "float64", "work")
    assert arrays.derive("h_row", (integer(3),), "float64", "work").name == "h_row_2"
    assert own.name == "h_row"
    sums = arrays.variable("sums of h", "h_acc", "float64")
    assert sums.name == "h_acc_2"
    assert arrays.variable("sums of h", "h_acc", "float64") is sums
    room = arrays.lend("h_parts", (integer(3),), "float64", "work")
    assert arrays.lend("h_parts", (integer(3),), "float64", "work") is room
    assert arrays.lend("h_parts", (integer(4),), "float64", "work").name == "h_parts_2"
