"""Functions of bounded size: the statements of a program cut into kernels.

In: the statements of every top-level tree with the buffers they use. Out: kernels and the calls of them, for `emit`.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from typing import assert_never

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name
from gradgen.graph.scalar import Load, walk
from gradgen.machine import machine
from gradgen.passes.loops.unify import body_key
from gradgen.passes.lower.drafts import Piece
from gradgen.program.extents import sizes_mentioned
from gradgen.program.kernels import Kernel, KernelCall
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Note,
    Parts,
    Statement,
    expressions,
    reads,
    statements,
    writes,
)
from gradgen.program.registers import names_in


def cut(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Consecutive pieces that belong into one function: products then loops, or loops then products."""
    pieces = _products_early(pieces)
    groups: list[list[Piece]] = []
    keys = {id(piece): body_key(piece.body) for piece in pieces}
    counts = Counter(keys.values())
    for piece in pieces:
        again = counts[keys[id(piece)]] >= machine().kind
        if groups and again and any(keys[id(p)] == keys[id(piece)] for p in groups[-1]):
            groups.append([piece])  # one function for all of a kind
        elif groups and _fits(groups[-1], piece):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _products_early(pieces: Sequence[Piece]) -> list[Piece]:
    """Products that stand alone move up to what completes their operands, which is still near."""
    found: list[Piece] = []
    touched = {id(piece): (_touched(piece, reads), _touched(piece, writes)) for piece in pieces}
    for piece in pieces:
        at = len(found)
        if len(piece.body) == 1 and isinstance(piece.body[0], (Dot, Contract)):
            while at and not _depends(*touched[id(piece)], *touched[id(found[at - 1])]):
                at -= 1
            if not at:
                at = len(found)  # on nothing but arguments
        found.insert(at, piece)
    return found


def _depends(mine: set[Buffer], writing: set[Buffer], its: set[Buffer], written: set[Buffer]) -> bool:
    """Whether two pieces must keep their order: one writes what the other one reads or writes."""
    return not (written.isdisjoint(mine) and written.isdisjoint(writing) and writing.isdisjoint(its))


def _touched(piece: Piece, touched: Callable[[Statement], set[Buffer]]) -> set[Buffer]:
    return {b for s in piece.body for b in touched(s)}


def _fits(group: Sequence[Piece], piece: Piece) -> bool:
    size = sum(1 for p in (*group, piece) for _ in statements(p.body))
    if group[-1].alone or piece.alone or _names_clash(group, piece):
        return False
    if size > machine().statements or any(_is_scan(p) for p in (*group, piece)):
        return False
    kinds = [_is_product(p) for p in (*group, piece)]
    changes = sum(a is not b for a, b in itertools.pairwise(kinds))
    if changes > 1 or sum(kinds) > 2:
        return False
    if all(_is_straight(p) for p in (*group, piece)):
        return True
    return any(not _touched(p, writes).isdisjoint(_touched(piece, reads)) for p in group)


def _names_clash(group: Sequence[Piece], piece: Piece) -> bool:
    """Whether a name is a variable in one and an array in the other: a value that two requests compute."""
    mine = {b.name: b.by_value for b in _touched(piece, reads) | _touched(piece, writes)}
    theirs = (b for p in group for b in _touched(p, reads) | _touched(p, writes))
    return any(mine.get(b.name, b.by_value) != b.by_value for b in theirs)


def _is_product(piece: Piece) -> bool:
    return any(isinstance(s, (Dot, Contract)) for s in piece.body)


def _is_scan(piece: Piece) -> bool:
    return any(isinstance(s, For) and s.kind == "serial" for s in piece.body)


def _is_straight(piece: Piece) -> bool:
    return all(isinstance(s, Assign) for s in piece.body)


def make_kernel(group: Sequence[Piece], later: set[Buffer], taken: Set[str]) -> tuple[Kernel, KernelCall]:
    """One function: its parameters are what it reads and writes, the scalars needed later are its results.

    Its name, and that of its part, is none of those in `taken`.
    """
    body: list[Statement] = []
    for piece in group:
        body += _explained(piece)
    touched = ordered_buffers(body)
    written = {b for s in body for b in writes(s)}
    assigned_first = defined_locals(body)
    parameters = [b for b in touched if not (b.is_thread_array or (b.by_value and b in assigned_first))]
    returns = tuple(b for b in touched if b.by_value and b in written and b in later)
    name = free_name(f"compute_{group[-1].name}", taken)
    divided = next((s for s in body if isinstance(s, Parts)), None)
    part = None
    if divided is not None:
        part = _part_kernel(free_name(f"{name}_part", taken | names_in(body)), divided)
    sizes = tuple(sorted(sizes_mentioned(body, part)))
    kernel = Kernel(name, tuple(parameters), sizes, tuple(body), returns, part)
    return kernel, KernelCall(name, tuple(parameters), sizes, returns)


def _explained(piece: Piece) -> list[Statement]:
    """The statements of a piece behind its notes; where threads share its loop, these stand in what one thread runs."""
    if not any(isinstance(s, Parts) for s in piece.body):
        return [*piece.notes, *piece.body]
    return [replace(s, body=(*piece.notes, *s.body)) if isinstance(s, Parts) else s for s in piece.body]


def _part_kernel(name: str, parts: Parts) -> Kernel:
    """What one thread runs: its parameters are those of the part, then the range of its iterations."""
    assigned_first = defined_locals(parts.body)
    touched = ordered_buffers(parts.body)
    arrays = [b for b in touched if not (b.by_value and b in assigned_first)]
    bounds = [intern(Buffer, bound, (), "int64", "input", None) for bound in (parts.first, parts.last)]
    return Kernel(name, (*arrays, *bounds), tuple(sorted(sizes_mentioned(parts.body, None))), parts.body, ())


def defined_locals(body: Sequence[Statement]) -> set[Buffer]:
    """The scalar variables that statements assign: they have no value before."""
    return {
        s.buffer for s in statements(body) if isinstance(s, Assign) and not s.buffer.shape and s.buffer.role == "local"
    }


def ordered_buffers(body: Sequence[Statement]) -> list[Buffer]:
    """Every buffer, what is read before what is written, in the order of the text."""
    read: dict[Buffer, None] = {}
    written: dict[Buffer, None] = {}
    for statement in statements(body):
        for x in expressions(statement):
            read.update({part.tensor: None for part in walk(x) if isinstance(part, Load)})
        match statement:
            case Assign() | Accumulate():
                written[statement.buffer] = None
            case Dot():
                read.update({statement.left.buffer: None, statement.right.buffer: None})
                written[statement.out.buffer] = None
                if statement.scratch is not None:
                    written[statement.scratch] = None
            case Contract():
                read.update({statement.left.buffer: None, statement.right.buffer: None})
                written[statement.out.buffer] = None
            case For() | If() | Parts() | Note():
                pass
            case _:
                assert_never(statement)
    rows = {mine: behind for s in statements(body) if isinstance(s, Parts) for mine, behind in s.own}
    found = [b for b in read if b not in written] + list(written)
    return list(dict.fromkeys(rows.get(b, b) for b in found))
