"""The formulas at the head of a generated file: the model as the user wrote it.

In: the declared outputs and the files they were written in. Out: lines, each with the number of its statement.
"""

from collections.abc import Mapping

from gradgen.graph.nodes import Node
from gradgen.graph.origin import Files
from gradgen.inspect.formulas import as_written

__all__ = ["header"]


def header(outputs: Mapping[str, Node], files: Files) -> list[str]:
    """The model as the user wrote it, for the head of the generated file: what one statement made is one formula."""
    written = as_written(outputs)
    found = [(files.lines(at), text) for node in written.formulas for at, text in written.lines(node)]
    width = max([4, *(len(line) for line, _ in found)])
    return [f"{line:>{width}}  {text}" for line, text in found]
