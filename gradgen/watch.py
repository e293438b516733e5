"""Passes run in order; what they did is kept for `explain`, and printed where GRADGEN_DEBUG asks for it.

In: a table of passes, and the roots of a graph, the statements of entry points, or a program. Out: the same behind the
last pass, and notes in words.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gradgen import env
from gradgen.graph.nodes import Leaf, Node, all_inputs, toposort
from gradgen.graph.origin import display_name, origin
from gradgen.inspect.programs import drafts_text, program_text
from gradgen.inspect.text import graph_text
from gradgen.passes.lower.drafts import Draft, OnStatements
from gradgen.passes.lower.naming import name_nodes
from gradgen.passes.rebuild.promises import verify_graph
from gradgen.passes.rebuild.rewrites import Passes, Rewrite
from gradgen.passes.rewrite.separate_scans import separate_carries
from gradgen.program.kernels import Program
from gradgen.program.verify import Seen, verify_program, verify_statements

__all__ = ["OnProgram", "Watch"]

T = TypeVar("T")
OnProgram = Callable[[Program], Program]

GRAPHS, PROGRAMS, TEXT = 2, 3, 4  # from which level of GRADGEN_DEBUG on they are printed


@dataclass(slots=True)
class Watch:
    """One compilation, watched at a level of GRADGEN_DEBUG."""

    level: int = field(default_factory=env.debug)
    texts: dict[str, str] | None = None  # statements and programs behind every pass, for who asks for them
    verifies: bool = field(default_factory=env.check)  # behind every pass; behind the last one in any case
    seen: Seen = field(default_factory=Seen)

    def run(self, passes: Passes, roots: Sequence[Node], what: str) -> tuple[list[Node], tuple[str, ...]]:
        """The roots behind every pass, and a note for each rewrite that fired or was refused."""
        current, notes = list(roots), dict[str, None]()
        for k, (name, run, _) in enumerate(passes, 1):
            began = time.perf_counter()
            result = run(current)
            current, records = result if isinstance(result, tuple) else (result, [])
            if self.verifies or k == len(passes):
                verify_graph(current, [passed for passed, *_ in passes[:k]], f"{what} behind {name}")
            notes.update(dict.fromkeys(map(_note, records)))
            if self.level:
                took = 1000 * (time.perf_counter() - began)
                _print(f"{what}, {name}: {len(toposort(current, all_inputs))} nodes, {took:.1f} ms")
            if self.level >= GRAPHS:
                _print(_graph(current))
        return current, tuple(notes)

    def statements(self, passes: Sequence[tuple[str, OnStatements, str]], drafts: Sequence[Draft]) -> list[Draft]:
        """The statements of every entry point behind every pass; `lower` is what they were before."""
        current = list(drafts)
        self._look("lower", drafts_text, current)
        for name, run, _ in passes:
            began = time.perf_counter()
            current = [run(draft) for draft in current]
            self._took(f"statements, {name}", began)
            for piece, draft in ((piece, d) for d in current if self.verifies for piece in d.everything):
                verify_statements(piece.body, f"{piece.name} of {draft.entry} behind {name}", self.seen)
            self._look(name, drafts_text, current)
        return current

    def programs(self, passes: Sequence[tuple[str, OnProgram, str]], program: Program) -> Program:
        """The program behind every pass; `cut` is what it was before."""
        apart: Program | None = None  # the program behind "keep inside", each of its functions called once
        self._look("cut", program_text, program)
        for name, run, _ in passes:
            began = time.perf_counter()
            program = run(program)
            self._took(f"program, {name}", began)
            if name == "keep inside":  # before, accesses may still miss their guards
                apart = program
            if self.verifies and apart is not None:
                verify_program(apart, program, self.seen)
            self._look(name, program_text, program)
        if self.level >= PROGRAMS:
            _print(program_text(program))
        return program

    def _took(self, what: str, began: float) -> None:
        if self.level:
            _print(f"{what}: {1000 * (time.perf_counter() - began):.1f} ms")

    def _look(self, name: str, show: Callable[[T], str], what: T) -> None:
        if self.texts is not None:
            self.texts[name] = show(what)

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
