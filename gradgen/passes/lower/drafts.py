"""A request as statements before functions are cut, and the passes on statements in the form that they have in a list.

In: what `entries` has lowered. Out: drafts whose pieces a pass has changed, each on its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gradgen.graph.scalar import Poly
from gradgen.machine import machine
from gradgen.passes.loops.place import place
from gradgen.passes.loops.register_loops import in_registers
from gradgen.passes.loops.threads import on_threads
from gradgen.passes.lower.storage import Buffers
from gradgen.program.cost import products
from gradgen.program.loops import (
    Buffer,
    Note,
    Parts,
    Statement,
    reads,
)
from gradgen.program.ownership import written_first
from gradgen.program.registers import Registers, names_in

__all__ = ["Draft", "OnStatements", "Piece", "multiplied", "piece_by_piece", "placed", "threaded"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The statements of one top-level tree, the notes that explain them, and a name for what they compute."""

    name: str
    notes: tuple[Note, ...]
    body: tuple[Statement, ...]
    alone: bool = False  # a function of its own, whatever its size


@dataclass(frozen=True, slots=True)
class Draft:
    """A request as statements: what it returns, the leaves and saved values that it takes, and what was decided."""

    entry: str
    pieces: tuple[Piece, ...]
    early: tuple[Piece, ...]  # copies out of the way of what the pieces overwrite
    late: tuple[Piece, ...]  # copies to where results belong
    returns: tuple[Buffer, ...]
    given: tuple[Buffer, ...]
    decisions: tuple[str, ...]
    whole: bool  # whether it keeps values that outgrow the arguments
    empty: tuple[Buffer, ...]  # results without elements: no statement writes them, and yet they are asked for
    arrays: Buffers  # the names that it uses, and the arrays that it may ask for
    parts: Poly  # the size that says how many threads share a loop

    @property
    def everything(self) -> tuple[Piece, ...]:
        """The pieces in the order in which they run."""
        return (*self.early, *self.pieces, *self.late)


OnStatements = Callable[[Draft], Draft]


def piece_by_piece(change: Callable[[Sequence[Statement], Registers], Sequence[Statement]]) -> OnStatements:
    """A pass that sees the statements of one piece, and hands out variables with names that nothing else has."""

    def run(draft: Draft) -> Draft:
        def changed(piece: Piece) -> Piece:
            return replace(piece, body=tuple(change(piece.body, Registers(piece.body, draft.arrays.taken))))

        return _with_pieces(draft, [changed(piece) for piece in draft.pieces])

    return run


def multiplied(draft: Draft) -> Draft:
    """Every contraction as outer products of registers."""

    def changed(piece: Piece) -> Piece:
        taken = draft.arrays.taken | names_in(piece.body)
        return replace(piece, body=tuple(in_registers(piece.body, draft.arrays.lend, taken)))

    return _with_pieces(draft, [changed(piece) for piece in draft.pieces])


def placed(draft: Draft) -> Draft:
    """Every piece with the loops shared for which the machine has threads, beside the products of the draft."""
    busy = sum(products(piece.body) for piece in draft.pieces)
    readers: dict[Buffer, list[int]] = {}
    following = [*draft.pieces, *draft.late]
    for k, piece in enumerate(following):
        for b in {b for s in piece.body for b in reads(s)}:
            readers.setdefault(b, []).append(k)

    def changed(k: int, piece: Piece) -> Piece:
        def read_later(b: Buffer) -> bool:
            return any(at > k and not written_first(following[at].body, b) for at in readers.get(b, ()))

        return replace(piece, body=tuple(place(piece.body, draft.arrays.lend, busy, read_later)))

    draft = _with_pieces(draft, [changed(k, piece) for k, piece in enumerate(draft.pieces)])
    if machine().shared_by != "iterations":
        return draft  # copies alone are not worth starting threads for
    early, late = ([_copied(piece, draft) for piece in pieces] for pieces in (draft.early, draft.late))
    return replace(draft, early=tuple(early), late=tuple(late))


def _copied(piece: Piece, draft: Draft) -> Piece:
    return replace(piece, body=tuple(place(piece.body, draft.arrays.lend)))


def threaded(draft: Draft) -> Draft:
    """Every loop that is shared divided among the threads of a CPU, in a function of its own."""

    def changed(piece: Piece) -> Piece:
        body = tuple(on_threads(piece.body, draft.arrays.lend, draft.arrays.taken, draft.parts))
        return replace(piece, body=body, alone=piece.alone or any(isinstance(s, Parts) for s in body))

    return _with_pieces(draft, [changed(piece) for piece in draft.pieces])


def _with_pieces(draft: Draft, pieces: Sequence[Piece]) -> Draft:
    for piece in pieces:
        draft.arrays.passing.update(names_in(piece.body))
    return replace(draft, pieces=tuple(pieces))
