"""The text of a saved module: what the compiler wrote, with a docstring, makers of arguments and a test of its own.

In: the text of a module, its interface, how first values are drawn. Out: the text of the file.
"""

from collections.abc import Mapping
from types import ModuleType

from gradgen.lang.declare import Initialiser
from gradgen.runtime.interface import Interface
from gradgen.runtime.trial_sizes import trial_sizes
from gradgen.standalone.head import head
from gradgen.standalone.makers import makers
from gradgen.standalone.surface import CLASSES, Surface
from gradgen.standalone.trial import trial

__all__ = ["standalone"]

FIRST = "from typing import NamedTuple\n"  # the first import of the template of a module


def standalone(
    source: str,
    module: ModuleType,
    interface: Interface,
    initial: Mapping[str, Initialiser],
    loss: str | None,
    file: str,
) -> str:
    """The text to save under the name `file`.

    Args:
        source, module: what the compiler wrote, and the same imported, for the fields of its named tuples.
        initial: by name, how parameters and states get their first values.
        loss: the output that `value_and_grad` differentiates.
    """
    names = {key: getattr(module, name)._fields for key, name in CLASSES.items() if hasattr(module, name)}
    surface = Surface.of(interface, names, initial)
    above, rest = source.split(FIRST, 1)
    docstring = "\n".join(head(surface, file))
    parts = ["\n".join(lines) for lines in makers(surface)]
    parts.append(trial(surface, trial_sizes(interface, {}, first=4), loss).strip("\n"))
    imports = f"from time import perf_counter\n{FIRST}"
    return "\n\n\n".join([f"{above}{docstring}\n\n{imports}{rest}".rstrip("\n"), *parts]) + "\n"
