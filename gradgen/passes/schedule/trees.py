"""Trees of loops over the nodes of one program: what `schedule` builds, `storage` places and `lower` writes out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Compute, Leaf, Node, Reshape, Scan, project
from gradgen.graph.scalar import Poly, Scalar, loads
from gradgen.passes.rewrite.contract import Contraction
from gradgen.passes.rewrite.outer_products import AffineSum


@dataclass(eq=False, slots=True)
class Item:
    """A node to be computed: its body over what is really in memory, and its loops that are still to be placed."""

    node: Compute
    body: Scalar
    target: tuple[Poly, ...]
    extents: tuple[Poly, ...]
    free: list[int]
    contraction: Contraction | None = None
    outer: AffineSum | None = None  # a contraction that brings all its loops itself
    bound: dict[int, str] = field(default_factory=dict)
    tile: int | None = None  # the position of which a `Tile` around it does a part
    tile_letter: str = ""
    overwrites: Leaf | None = None  # the tensor whose memory the result takes over

    @property
    def rank(self) -> int:
        return len(self.node.shape)

    @property
    def gathers(self) -> bool:
        return self.node.gathers


@dataclass(eq=False, slots=True)
class Loop:
    """A loop shared by several items; `axis` names the position of each that it runs over."""

    letter: str
    extent: Poly
    axis: dict[Item, int]
    members: "list[Tree]" = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Tile:
    """A loop over parts of an axis, `rows` elements each, from `letter` up to `stop`: what its items pass to each other
    is never whole. `axis` names the position of each that it runs over; inside, `index` is the letter of that axis."""

    index: str
    letter: str
    stop: str
    extent: Poly
    rows: int
    axis: dict[Item, int] = field(default_factory=dict)
    members: "list[Tree]" = field(default_factory=list)


@dataclass(eq=False, slots=True)
class ScanLoop:
    """The loop of a scan with the trees of its body, and what its carries begin with, over their axes."""

    scan: Scan
    letter: str
    starts: tuple[Scalar, ...]
    members: "list[Tree]"


Tree = Loop | Tile | Item | ScanLoop


@dataclass(eq=False, slots=True)
class Schedule:
    """The trees of one program and what was decided on the way."""

    trees: list[Tree]
    items: dict[Node, Item]
    inlined: dict[Node, Scalar]
    large: set[Node]  # what should not be kept whole
    decisions: list[str]
    letters: set[str]  # of all loops


def flatten(trees: Sequence[Tree]) -> Iterator[Item]:
    """The items in the order of their execution."""
    for tree in trees:
        if isinstance(tree, Item):
            yield tree
        else:
            yield from flatten(tree.members)


def memory(node: Node) -> Iterator[Node]:
    """A node and the nodes that it is another shape of."""
    yield node
    while isinstance(node, Reshape):
        node = node.source
        yield node


def needed(tree: Tree) -> set[Node]:
    """The tensors that an item, or what stands in loops, reads, and those that these are another shape of."""
    match tree:
        case Item():
            return {node for access in loads(tree.body, *tree.target) for node in memory(access.tensor)}
        case ScanLoop():
            scan = tree.scan
            begun = [access.tensor for access in loads(*tree.starts)]
            direct = {n for x in (*begun, *scan.nexts, *scan.outputs) for n in memory(x)}
            return direct | {n for member in tree.members for n in needed(member)}
    return {n for item in tree.axis for n in needed(item)}


def reshaped(item: Item) -> set[Node]:
    """The tensors that an item reads in another shape, whether it reads them as they are or not."""
    return {n for access in loads(item.body, *item.target) for n in memory(access.tensor) if n is not access.tensor}


def produced(tree: Tree) -> set[Node]:
    match tree:
        case Loop() | Tile():
            return {item.node for item in tree.axis}
        case ScanLoop():
            return set(_projections(tree))
    return {tree.node}


def _projections(tree: ScanLoop) -> set[Node]:
    states = {project(tree.scan, "states", k) for k in range(len(tree.scan.carries))}
    return states | {project(tree.scan, "stack", k) for k in range(len(tree.scan.outputs))}


def reads_memory_of(tree: Tree, leaf: Leaf | None) -> bool:
    """Whether anything in the tree reads the leaf."""
    return leaf is not None and leaf in needed(tree)


def unsafe_overwrites(trees: Sequence[Tree]) -> set[Node]:
    """The nodes that may not take over a leaf's memory: they, or what runs after them, still read its old values.

    What shares loops with them runs after them, too, in the next iterations: unless these reach other elements.
    """
    order = list(_in_order(trees, ()))
    reading = [needed(tree) for tree, _ in order]
    found: set[Node] = set()
    for k, (item, path) in enumerate(order):
        if not isinstance(item, Item) or item.overwrites is None:
            continue
        leaf = item.overwrites
        own = [access for access in loads(item.body, *item.target) if leaf in memory(access.tensor)]
        aligned = all(
            access.tensor is leaf and all(bare_position(s) == k for k, s in enumerate(access.subscripts))
            for access in own
        )
        pointwise = item.gathers and len(item.extents) == item.rank
        others = ((j, tree, at) for j, (tree, at) in enumerate(order) if j != k and leaf in reading[j])
        late = any(j > k or not _reads_in_time(tree, at, item, path) for j, tree, at in others)
        if late or (own and not (aligned and pointwise)):
            found.add(item.node)
    return found


def _in_order(trees: Sequence[Tree], path: tuple[Tree, ...]) -> Iterator[tuple[Item | ScanLoop, tuple[Tree, ...]]]:
    """Items and scans in the order in which they are done, with the loops around them."""
    for tree in trees:
        if not isinstance(tree, Item):
            yield from _in_order(tree.members, (*path, tree))
        if isinstance(tree, (Item, ScanLoop)):
            yield tree, path


def _reads_in_time(reader: Item | ScanLoop, at: Sequence[Tree], item: Item, path: Sequence[Tree]) -> bool:
    """Whether every element of a leaf is read before its next value is written, by what stands in front of that."""
    shared = [loop for loop, other in zip(path, at, strict=False) if loop is other]
    if not shared:
        return True
    if not isinstance(reader, Item) or not item.gathers:
        return False
    own = [x for x in loads(reader.body, *reader.target) if any(n is item.overwrites for n in memory(x.tensor))]
    for loop in shared:
        if not isinstance(loop, (Loop, Tile)) or item not in loop.axis or reader not in loop.axis:
            return False
        axis = loop.axis[item]
        if axis >= item.rank or any(x.tensor is not item.overwrites for x in own):
            return False
        if any(bare_position(x.subscripts[axis]) != loop.axis[reader] for x in own):
            return False
    return True
