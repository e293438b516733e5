"""The text of a saved module: what the compiler wrote, with a docstring, makers of arguments and a test of its own.

In: the text of a module, its interface, how first values are drawn. Out: the text of the file.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType

from gradgen.emit.cpu_module import NOQA
from gradgen.errors import ShapeError
from gradgen.graph.nodes import Compute, Node, all_inputs, show_size, toposort
from gradgen.lang.declare import Initialiser
from gradgen.program.holders import CLASS_NAMES
from gradgen.runtime.interface import Interface
from gradgen.runtime.trial_sizes import trial_sizes
from gradgen.standalone.head import head
from gradgen.standalone.makers import makers
from gradgen.standalone.surface import Surface
from gradgen.standalone.trial import trial

__all__ = ["standalone"]


def standalone(
    source: str,
    module: ModuleType,
    interface: Interface,
    initial: Mapping[str, Initialiser],
    loss: str | None,
    roots: Sequence[Node],
    file: str,
) -> str:
    """The text to save under the name `file`.

    Args:
        source, module: what the compiler wrote, and the same imported, for the fields of its named tuples.
        initial: by name, how parameters and states get their first values.
        loss: the output that `value_and_grad` differentiates.
        roots: of the model as declared; at the sizes of the test no formula is empty, if that can be.
    """
    names = {key: getattr(module, name)._fields for key, name in CLASS_NAMES.items() if hasattr(module, name)}
    surface = Surface.of(interface, names, initial)
    tried = _tried(surface, loss, roots)
    above, imports = source.split(NOQA, 1)
    docstring = "\n".join(head(surface, file, loss, is_tried=bool(tried)))
    timed = "from time import perf_counter\n" if tried else ""
    space = "\n" if timed and not imports.lstrip("\n").startswith("from typing") else ""
    parts = ["\n".join(lines) for lines in makers(surface)]
    body = f"{above}{NOQA}\n{docstring}\n\n{timed}{space}{imports.strip(chr(10))}"
    return "\n\n\n".join([body, *parts, *([tried] if tried else [])]) + "\n"


def _tried(surface: Surface, loss: str | None, roots: Sequence[Node]) -> str:
    """The test of the module; nothing where no sizes are found at which it means something."""
    nodes = toposort(roots, all_inputs)
    shapes = [*(x.shape for x in nodes), *(x.extents for x in nodes if isinstance(x, Compute))]
    extents = {show_size(extent) for shape in shapes for extent in shape}
    try:
        return trial(surface, trial_sizes(surface.interface, {}, 4, extents), loss).strip("\n")
    except ShapeError:
        return ""
