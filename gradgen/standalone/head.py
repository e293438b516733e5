"""What a saved module says of itself: what it needs, a call to copy, and what every argument is.

In: a `Surface`, and the name of the file. Out: the lines of a docstring.
"""

import textwrap

from gradgen.emit.layout import WIDTH, wrap
from gradgen.graph.nodes import tuple_text
from gradgen.program.holders import CLASS_NAMES
from gradgen.runtime.interface import Argument, EntryPoint
from gradgen.runtime.requirements import Label
from gradgen.standalone.makers import MAKERS, given_values
from gradgen.standalone.surface import Surface

__all__ = ["head"]


def head(surface: Surface, file: str, loss: str | None, is_tried: bool) -> list[str]:
    """The docstring, quotes included; `is_tried`: the file has a test of its own."""
    entries = [e for e in surface.interface.entries if e.name != "check"]
    listed = ", ".join(e.name for e in entries)
    lines = [f'"""{surface.interface.name}: {listed}. It needs numpy, scipy and numba.', ""]
    lines += [f"    {line}" for line in _example(surface, entries)]
    table = _table(surface)
    width = max((len(name) for name, _ in table), default=0)
    lines += ["", *(f"{name:{width}}  {what}" for name, what in table)] if table else []
    lines += ["", *_promises(surface, loss)]
    does = "compares the gradient with differences, and takes" if surface.makes("g") else "takes"
    lines += ["", f"`python {file}` {does} the time of calls."] if is_tried else []
    return [part for line in [*lines, '"""'] for part in (wrap(line, 120) if len(line) > 120 else [line])]


def _example(surface: Surface, entries: list[EntryPoint]) -> list[str]:
    """What makes the arguments, and one call of each function."""
    used = {key for entry in entries for key in entry.holders}
    keys = [key for key in CLASS_NAMES if key in used]
    made = [_made(surface, key) for key in keys]
    line = f"{', '.join(keys)} = {', '.join(made)}"
    lines = [line] if len(line) < WIDTH - 4 else [f"{key} = {text}" for key, text in zip(keys, made, strict=True)]
    calls = []
    for entry in entries:
        call = f"{entry.name}({', '.join([*entry.parameters, *entry.holders])})"
        calls.append(f"{', '.join(entry.returns)} = {call}" if entry.returns else call)
    return [*(lines if keys else []), *calls]


def _promises(surface: Surface, loss: str | None) -> list[str]:
    """What the functions do to their arguments, and what they leave to their callers."""
    entries = {e.name: e for e in surface.interface.entries}
    said = ["Arrays are C-contiguous and of these dtypes; no function looks at the shapes of those in named tuples."]
    if "value_and_grad" in entries and len(entries["value_and_grad"].returns) > 1:
        said.append(f"The gradient of value_and_grad is that of {loss}.")
    if "step" in entries:
        said.append(f"step writes its new values into {' and '.join(key for key in ('p', 's') if surface.makes(key))}.")
    if "check" in entries:
        check = f"check({', '.join([*entries['check'].parameters, *entries['check'].holders])})"
        said.append(f"{check} counts subscripts outside of their axes: call the others only where that is 0.")
    return textwrap.wrap(" ".join(said), 116)


def _made(surface: Surface, key: str) -> str:
    given = [x.name for x in given_values(surface, key)] if key in ("p", "s") else []
    return f"{MAKERS.get(key, 'workspace')}({', '.join([*given, *surface.sizes(key)])})"


def _table(surface: Surface) -> list[tuple[str, str]]:
    """Every argument that is no named tuple."""
    given = [x for key in ("p", "s") if surface.makes(key) for x in given_values(surface, key)]
    taken = {name for entry in surface.interface.entries for name in entry.parameters}
    arguments = [x for x in (*surface.interface.leaves, *surface.interface.cotangents) if x.name in taken]
    labels = {label.leaf: label for label in surface.interface.labels}
    rows = [(x.name, _described(x, labels.get(x.name))) for x in arguments]
    return rows + [(x.name, f"{_described(x, None)}, a first value that is yours to choose") for x in given]


def _described(x: Argument, label: Label | None) -> str:
    shape = f" {tuple_text(x.shape)}" if x.shape else ""
    inside = ""
    if label is not None and (label.factor, label.low, label.high) == (1, "0", "0"):
        last = str(int(label.extent) - 1) if label.extent.isdecimal() else f"{label.extent} - 1"
        inside = f", 0 to {last}"
    of = f", the derivative by {x.of}" if x.of else ""
    return f"{x.dtype}{shape}{inside}{of}"
