"""Passes run in order; what they did is kept for `explain`, and printed where GRADGEN_DEBUG asks for it.

In: a table of passes and the roots of a graph. Out: the roots behind the last pass, and notes in words.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gradgen import env
from gradgen.graph.nodes import Leaf, Node, all_inputs, toposort
from gradgen.graph.origin import display_name, origin
from gradgen.inspect.text import graph_text, program_text
from gradgen.passes.lower.naming import name_nodes
from gradgen.passes.rebuild.rewrites import Passes, Rewrite
from gradgen.passes.rewrite.separate_scans import separate_carries
from gradgen.program.loops import Program

__all__ = ["Watch"]

GRAPHS, PROGRAMS, TEXT = 2, 3, 4  # from which level of GRADGEN_DEBUG on they are printed


@dataclass(slots=True)
class Watch:
    """One compilation, watched at a level of GRADGEN_DEBUG."""

    level: int = field(default_factory=env.debug)

    def run(self, passes: Passes, roots: Sequence[Node], what: str) -> tuple[list[Node], tuple[str, ...]]:
        """The roots behind every pass, and a note for each rewrite that fired or was refused."""
        current, notes = list(roots), dict[str, None]()
        for name, run, _ in passes:
            began = time.perf_counter()
            result = run(current)
            current, records = result if isinstance(result, tuple) else (result, [])
            notes.update(dict.fromkeys(map(_note, records)))
            if self.level:
                took = 1000 * (time.perf_counter() - began)
                _print(f"{what}, {name}: {len(toposort(current, all_inputs))} nodes, {took:.1f} ms")
            if self.level >= GRAPHS:
                _print(_graph(current))
        return current, tuple(notes)

    def program(self, program: Program) -> None:
        """Print the loops of a program."""
        if self.level >= PROGRAMS:
            _print(program_text(program))

    def text(self, source: str) -> None:
        """Print the text of a module."""
        if self.level >= TEXT:
            _print(source)


def _note(record: Rewrite) -> str:
    found = origin(record.before)
    place = f"{found.place}: " if found is not None else ""
    reason = f", {record.reason}" if record.reason else ""
    return f"{place}{display_name(record.before)}: {record.rule}{reason}"


def _graph(roots: Sequence[Node]) -> str:
    roots = separate_carries(roots)
    order = toposort(roots, all_inputs)
    names = name_nodes(order, {})
    return graph_text({names[root]: root for root in roots if not isinstance(root, Leaf)}, names)


def _print(text: str) -> None:
    sys.stderr.write(f"{text}\n")
