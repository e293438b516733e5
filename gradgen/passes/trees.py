"""Trees of loops over the nodes of one program: what `schedule` builds, `storage` places and `lower` writes out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gradgen.graph.nodes import Compute, Leaf, Node, Reshape, Scan, project
from gradgen.graph.scalar import Poly, Position, Scalar, loads, position
from gradgen.passes.contract import Contraction


@dataclass(eq=False, slots=True)
class Item:
    """A node to be computed: its body over what is really in memory, and its loops that are still to be placed."""

    node: Compute
    body: Scalar
    target: tuple[Poly, ...]
    extents: tuple[Poly, ...]
    free: list[int]
    contraction: Contraction | None = None
    bound: dict[int, str] = field(default_factory=dict)
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
class ScanLoop:
    """The loop of a scan with the trees of its body; `results` are the wanted projections."""

    scan: Scan
    letter: str
    members: "list[Tree]"
    items: list[Item]


Tree = Loop | Item | ScanLoop


@dataclass(eq=False, slots=True)
class Schedule:
    """The trees of one program and what was decided on the way."""

    trees: list[Tree]
    items: dict[Node, Item]
    inlined: dict[Node, Scalar]
    decisions: list[str]


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


def needed(item: Item) -> set[Node]:
    """The tensors that an item reads, and those that these are another shape of."""
    return {node for access in loads(item.body, *item.target) for node in memory(access.tensor)}


def produced(tree: Tree) -> set[Node]:
    match tree:
        case Loop():
            return {item.node for item in tree.axis}
        case ScanLoop():
            return set(_projections(tree))
    return {tree.node}


def _projections(tree: ScanLoop) -> set[Node]:
    states = {project(tree.scan, "states", k) for k in range(len(tree.scan.carries))}
    return states | {project(tree.scan, "stack", k) for k in range(len(tree.scan.outputs))}


def reads_memory_of(tree: Tree, leaf: Leaf | None) -> bool:
    """Whether anything in the tree reads the leaf."""
    if leaf is None:
        return False
    if isinstance(tree, ScanLoop):
        captured = (*tree.scan.inits, *tree.scan.nexts, *tree.scan.outputs)
        return any(leaf in memory(n) for n in captured) or any(leaf in needed(item) for item in tree.items)
    return any(leaf in needed(item) for item in (tree.axis if isinstance(tree, Loop) else [tree]))


def unsafe_overwrites(trees: Sequence[Tree]) -> set[Node]:
    """The nodes that may not take over a leaf's memory: they, or what runs after them, still read its old values."""
    order = list(flatten(trees))
    found: set[Node] = set()
    for k, item in enumerate(order):
        leaf = item.overwrites
        if leaf is None:
            continue
        own = [access for access in loads(item.body, *item.target) if leaf in memory(access.tensor)]
        aligned = all(
            access.tensor is leaf and all(bare_position(s) == k for k, s in enumerate(access.subscripts))
            for access in own
        )
        pointwise = item.gathers and len(item.extents) == item.rank
        if (own and not (aligned and pointwise)) or any(leaf in needed(later) for later in order[k + 1 :]):
            found.add(item.node)
    return found


def bare_position(p: Poly) -> int | None:
    """The position that a subscript is, and nothing else."""
    atoms = p.atoms
    if len(atoms) == 1 and isinstance(atoms[0], Position) and p is position(atoms[0].position):
        return atoms[0].position
    return None
