"""Where values are while statements are written: places of nodes, the loops that are open, and what an access means.

In: expressions over tensors and positions. Out: the same over buffers and loop variables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradgen.graph.intern import intern
from gradgen.graph.nodes import Node
from gradgen.graph.scalar import Load, Poly, Position, Scalar, Step, integer, load, require_poly, rewrite
from gradgen.passes.lower.storage import Buffers, Storage
from gradgen.passes.schedule.trees import Item, Loop, ScanLoop, Tile
from gradgen.program.loops import Buffer, letter

__all__ = ["Here", "end_of"]


@dataclass(slots=True)
class Here:
    """Places of nodes, and the loops now open."""

    places: Mapping[Node, Storage]
    names: Mapping[Node, str]
    buffers: Buffers
    open: list[Loop | Tile | ScanLoop] = field(default_factory=list)

    # ------------------------------------------------------------ loops

    def span(self, item: Item, axis: int) -> tuple[Poly, Poly]:
        """Where the loop over an axis of an item begins and ends: a part of it inside a tile."""
        tile = self.tile_of(item)
        if tile is None or axis != item.tile:
            return integer(0), item.extents[axis]
        return letter(tile.letter), require_poly(load(end_of(tile), ()))

    def tile_of(self, item: Item) -> Tile | None:
        return next((tile for tile in self.open if isinstance(tile, Tile) and item in tile.axis), None)

    def count(self, item: Item, axis: int) -> Poly:
        start, stop = self.span(item, axis)
        return require_poly(stop - start)

    @property
    def taken(self) -> set[str]:
        """The loop variables that are open now, and the names of tensors, sizes and variables."""
        return {loop.letter for loop in self.open} | self.buffers.taken

    def letters(self, item: Item) -> dict[int, Poly]:
        single = {k: integer(0) for k, extent in enumerate(item.extents) if extent.constant == 1}
        return {**single, **{k: letter(name) for k, name in item.bound.items()}}

    def open_letters(self, item: Item) -> dict[int, Poly]:
        """The axes of the result that the open loops fix."""
        if not item.gathers:
            return {}
        return {
            loop.axis[item]: letter(loop.letter) for loop in self.open if isinstance(loop, Loop) and item in loop.axis
        }

    def value(self, item: Item, x: Scalar) -> Scalar:
        return self.read(x, self.letters(item))

    def read(self, x: Scalar, letters: Mapping[int, Poly]) -> Scalar:
        """An expression over tensors and positions as one over buffers and loop variables."""
        steps = {loop.scan.depth: letter(loop.letter) for loop in self.open if isinstance(loop, ScanLoop)}

        def atom(a: object) -> Poly | None:
            if isinstance(a, Position):
                return letters[a.position]
            return steps[a.depth] if isinstance(a, Step) else None

        def change(part: Scalar) -> Scalar | None:
            if not isinstance(part, Load) or isinstance(part.tensor, Buffer):
                return None
            assert part.tensor in self.places, f"{self.names.get(part.tensor)} has no place"
            place = self.places[part.tensor]
            if place.register is not None and self._is_here(part):
                return load(place.register, ())
            return load(place.buffer, place.subscripts(part.subscripts))

        return rewrite(x, change, atom)

    def _is_here(self, access: Load) -> bool:
        """Whether the access means the element that the innermost open loops have just computed."""
        mine = [
            (loop, item)
            for loop in self.open
            if isinstance(loop, Loop)
            for item in loop.axis
            if item.node is access.tensor
        ]
        return len(mine) == len(access.subscripts) and all(
            access.subscripts[loop.axis[item]] is letter(loop.letter) for loop, item in mine
        )

    # ------------------------------------------------------------ variables

    def variable(self, item: Item, what: str, dtype: str) -> Buffer:
        return self.buffers.variable((item.node, what), f"{self.names[item.node]}_{what}", dtype)


def end_of(tile: Tile) -> Buffer:
    """The variable that says where a part ends."""
    return intern(Buffer, tile.stop, (), "int64", "local", None)
