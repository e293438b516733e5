"""What the iterations of a parallel loop own, and what each could have for itself.

In: loops. Out: the buffers that iterations share although they must not, for `verify`; what parts need a copy of, for
`passes.loops.place`.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import Atom, Poly, Scalar, atom_poly, integer, loads, mentions, require_poly
from gradgen.graph.sizes import index_atoms, nonnegative
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Operation,
    Parts,
    Statement,
    expressions,
    letter,
    letter_atom,
    reads,
    statements,
    touched,
    writes,
)

Subscripts = tuple[Poly, ...]
Block = list[tuple[Scalar, Scalar]]  # from where to where, axis by axis
Touched = Mapping[int, set[Buffer]]  # by the id of a statement, what it and its body read or write
Place = tuple[int, Poly, Poly]  # an axis, the step from one iteration to the next along it, and where iteration 0 is


def unowned(loop: For) -> list[str]:
    """What the iterations of a loop write and other iterations reach too; nothing if they may run in any order."""
    mine = private(loop)
    found = []
    for buffer in sorted({b for s in loop.body for b in writes(s)}, key=lambda b: b.name):
        if buffer not in mine and not owns(loop, buffer):
            reached = (s for b in shapes(loop.body, buffer) for s in accesses(loop.body, b))
            at = ", ".join(_shown(s) for s in dict.fromkeys(reached))
            found.append(f"the parallel loop over {loop.letter} does not own what it writes of {buffer.name}: {at}")
    return found


def owns(loop: For, buffer: Buffer) -> bool:
    """Whether no iteration of a loop reaches what another one writes of an array, through one of its shapes alone."""
    through = shapes(loop.body, buffer)
    if len(through) > 1:
        return False
    (buffer,) = through
    inner = _inner_loops(loop)
    reached = list(dict.fromkeys(accesses(loop.body, buffer)))
    written = dict.fromkeys(_written(loop.body, buffer))
    places = {subscripts: _places(subscripts, loop.letter, inner) for subscripts in reached}
    varying = {letter_atom(loop.letter), *inner}
    return all(places[a] & places[b] or _apart(a, b, varying) for a in written for b in reached)


def combined(loop: For, buffer: Buffer) -> Operation | None:
    """The one operation by which iterations combine what they have with what an array holds, if that is all they do.

    Ranges of iterations may then combine apart, from what changes nothing, and their results in order.
    """
    inside = [s for s in statements(loop.body) if isinstance(s, (Assign, Accumulate)) and s.buffer is buffer]
    operations = {s.operation if isinstance(s, Accumulate) else None for s in inside}
    alone = shapes(loop.body, buffer) == [buffer] and len(list(accesses(loop.body, buffer))) == len(inside)
    return operations.pop() if alone and len(operations) == 1 else None


def shared_wrongly(loop: For) -> list[str]:
    """What the threads that share a loop write and others reach too, in spite of what its `Sharing` says."""
    assert loop.shared is not None
    mine = set(private(loop, {*loop.shared.own}))
    sums = {x.buffer: x.operation for x in loop.shared.sums}
    found = []
    for buffer in sorted({b for s in loop.body for b in writes(s)}, key=lambda b: b.name):
        is_sum = buffer in sums and combined(loop, buffer) == sums[buffer]
        if not (buffer in mine or is_sum or (buffer.shape and owns(loop, buffer))):
            found.append(f"the threads of the loop over {loop.letter} share what they write of {buffer.name}")
    return found


def shared_by_parts(parts: Parts) -> list[str]:
    """What the parts of a loop write and other parts reach too: neither rows of their own, nor what iterations own."""
    loop, own = parts.loop, dict(parts.own)
    found = []
    for mine, behind in own.items():
        if not same_shape(behind.shape, (parts.count, *mine.shape)) or behind.dtype != mine.dtype:
            found.append(f"{behind.name} does not hold one {mine.name} for each part")
    for buffer in sorted({b for s in parts.body for b in writes(s)}, key=lambda b: b.name):
        if buffer in own or buffer.is_variable:
            continue
        outside = any(buffer in writes(s) | reads(s) for s in parts.body if s is not loop)
        if outside or not owns(loop, buffer):
            found.append(f"the parts of the loop over {loop.letter} share what they write of {buffer.name}")
    return found


def private(loop: For, among: Set[Buffer] | None = None) -> list[Buffer]:
    """What every iteration writes before it reads it, all of it anew: each could have a copy of its own.

    Places of an array that belong to one iteration alone are not private: they are there for whoever comes behind.
    `among` are those that are asked for, all of them without.
    """
    written = {b for s in loop.body for b in writes(s) if b.role in ("work", "local")}
    written = written if among is None else written & among
    through = _all_shapes(loop.body)
    reached = touched(loop.body)
    found = (b for b in sorted(written, key=lambda b: b.name) if through[b] == {b} and _is_private(loop, b, reached))
    return [b for b in found if not owns(loop, b)]


def _is_private(loop: For, buffer: Buffer, reached: Touched) -> bool:
    """Of an array with one shape: only where the iteration decides no place that is written.

    Unless it begins with all of them, or the iterations of a loop inside do. Where the iteration decides what is read,
    everything has been written by then.
    """
    if _begins_anew(loop.body, buffer, reached):
        return True
    touching = [s for s in loop.body if buffer in reached[id(s)]]
    if touching and all(isinstance(s, For) and _is_private(s, buffer, reached) for s in touching):
        return True
    own = letter_atom(loop.letter)
    if any(mentions(s, own) for subscripts in _written(loop.body, buffer) for s in subscripts):
        return False
    last = max((k for k, statement in enumerate(loop.body) if buffer in writes(statement)), default=-1)
    early = (x for subscripts in accesses(loop.body[: last + 1], buffer) for x in subscripts)
    return last >= 0 and not any(mentions(x, own) for x in early) and written_first(loop.body, buffer)


def _begins_anew(body: Sequence[Statement], buffer: Buffer, reached: Touched) -> bool:
    """Whether the first statements that touch a buffer assign all of its elements, in one block or in several in order.

    for i < n: row[i] = 0;  row[n] = x;  for n < i < N: row[i] = 0
    """
    whole = [(integer(0), extent) for extent in buffer.shape]
    blocks: list[Block] = []  # none of which goes on where the one before ends
    for statement in body:
        if buffer not in reached[id(statement)]:
            continue
        block = _block(statement, buffer, reached)
        if block is None:
            return False
        while blocks and (longer := _continued(blocks[-1], block)) is not None:
            blocks.pop()
            block = longer
        blocks.append(block)
        if all(x is y for own, all_ in zip(block, whole, strict=True) for x, y in zip(own, all_, strict=True)):
            return True
    return False


def _continued(first: Block, second: Block) -> Block | None:
    """Two blocks as one, where they differ along one axis, on which the second begins where the first ends."""
    other = [k for k, (a, b) in enumerate(zip(first, second, strict=True)) if a[0] is not b[0] or a[1] is not b[1]]
    if len(other) != 1 or first[other[0]][1] is not second[other[0]][0]:
        return None
    at = other[0]
    return [(first[k][0], x[1]) if k == at else x for k, x in enumerate(second)]


def _block(statement: Statement, buffer: Buffer, reached: Touched) -> Block | None:
    """From where to where a statement assigns the elements of a buffer, axis by axis, if that is all it does."""
    ranges: dict[Poly, tuple[Scalar, Scalar]] = {}
    while isinstance(statement, For) and statement.stride == 1:
        ranges[letter(statement.letter)] = (statement.start, statement.stop)
        touching = [s for s in statement.body if buffer in reached[id(s)]]
        if len(touching) != 1:
            return None
        statement = touching[0]
    if not isinstance(statement, Assign) or statement.buffer is not buffer or _reads(statement.value, buffer):
        return None
    subscripts = statement.subscripts
    if len(set(subscripts)) != len(subscripts) or any(mentions(s, a) for s in subscripts for a in _inside(s, ranges)):
        return None
    return [ranges.get(s, (s, require_poly(s + 1))) for s in subscripts]


def _inside(subscript: Poly, ranges: Mapping[Poly, object]) -> list[Atom]:
    """The loop variables that may not occur in a subscript: all of them, if it is not one itself."""
    return [] if subscript in ranges else [x.atoms[0] for x in ranges]


def accesses(body: Iterable[Statement], buffer: Buffer) -> Iterable[Subscripts]:
    """The subscripts of every read and write of a buffer; a product fixes only the leading ones."""
    for statement in statements(body):
        for x in loads(*expressions(statement)):
            if x.tensor is buffer:
                yield x.subscripts
        match statement:
            case Assign() | Accumulate() if statement.buffer is buffer:
                yield statement.subscripts
            case Dot() | Contract():
                for side in (statement.left, statement.right, statement.out):
                    if side.buffer is buffer:
                        yield side.fixed
                if isinstance(statement, Dot) and statement.scratch is buffer:
                    yield ()


def shapes(body: Iterable[Statement], memory: Buffer) -> list[Buffer]:
    """The buffers through which statements reach an array: itself, and its other shapes."""
    return sorted(_all_shapes(body).get(memory, ()), key=lambda b: b.name)


def _all_shapes(body: Iterable[Statement]) -> dict[Buffer, set[Buffer]]:
    """For every array that statements reach, the buffers through which they do."""
    found: set[Buffer] = set()
    for statement in statements(body):
        found |= {x.tensor for x in loads(*expressions(statement))}
        match statement:
            case Assign() | Accumulate():
                found.add(statement.buffer)
            case Dot() | Contract():
                found |= {statement.left.buffer, statement.right.buffer, statement.out.buffer}
                if isinstance(statement, Dot) and statement.scratch is not None:
                    found.add(statement.scratch)
    by_memory: dict[Buffer, set[Buffer]] = {}
    for b in found:
        by_memory.setdefault(b.memory, set()).add(b)
    return by_memory


def _written(body: Iterable[Statement], buffer: Buffer) -> Iterable[Subscripts]:
    for statement in statements(body):
        match statement:
            case Assign() | Accumulate() if statement.buffer is buffer:
                yield statement.subscripts
            case Dot() | Contract():
                if statement.out.buffer is buffer:
                    yield statement.out.fixed
                if isinstance(statement, Dot) and statement.scratch is buffer:
                    yield ()


def _apart(a: Subscripts, b: Subscripts, varying: set[Atom]) -> bool:
    """Whether two accesses never meet, whatever the iterations: another step of a recurrence."""
    return any(
        require_poly(x - y).constant not in (None, 0) and not any(mentions(x, atom) for atom in varying)
        for x, y in zip(a, b, strict=False)
    )


def _places(subscripts: Subscripts, name: str, inner: Mapping[Atom, For | None]) -> set[Place]:
    """For each axis along which iterations are apart: how far, and from where on."""
    own = letter_atom(name)
    found: set[Place] = set()
    for axis, subscript in enumerate(subscripts):
        step = subscript.coefficient(own)
        if step is None or index_atoms(step) or step.constant == 0:
            continue
        rest = require_poly(subscript - step * atom_poly(own))
        spread, least = _spread(rest, inner)
        if least is None or loads(rest):
            continue
        if nonnegative(require_poly(step - spread - 1)) or nonnegative(require_poly(-step - spread - 1)):
            found.add((axis, step, least))
    return found


def _spread(rest: Poly, inner: Mapping[Atom, For | None]) -> tuple[Poly, Poly | None]:
    """How many places the loops inside reach beyond the first one, and that one; None where that is not known."""
    spread, least = integer(0), rest
    for atom, loop in inner.items():
        factor = rest.coefficient(atom)
        if factor is None:
            return spread, None
        if factor.constant == 0:
            continue
        if loop is None:
            return spread, None
        start, stop = loop.start, loop.stop
        if not isinstance(start, Poly) or not isinstance(stop, Poly) or loop.stride < 1 or index_atoms(factor):
            return spread, None
        if factor.constant is None or factor.constant < 0 or start.constant is None or index_atoms(stop):
            return spread, None
        spread = require_poly(spread + factor * (stop - 1 - start))
        least = require_poly(least - factor * (atom_poly(atom) - start))
    return spread, least


def _inner_loops(loop: For) -> dict[Atom, For | None]:
    """The loops inside of a loop by their letters; of several that run on where the one before ends, all of them."""
    found: dict[Atom, For | None] = {}
    for s in statements(loop.body):
        if isinstance(s, For):
            atom = letter_atom(s.letter)
            found[atom] = _joined(found[atom], s) if atom in found else s
    return found


def _joined(first: For | None, second: For) -> For | None:
    """One loop over what two loops of one letter run over, at least; None where that is not known."""
    if first is None or first.stride != second.stride:
        return None
    if first.start is second.start and first.stop is second.stop:
        return first
    if first.stop is second.start:
        return replace(first, stop=second.stop)
    if second.stop is first.start:
        return replace(first, start=second.start)
    ends = [(x.start, x.stop) for x in (first, second)]
    known = [(a.constant, b.constant) for a, b in ends if isinstance(a, Poly) and isinstance(b, Poly)]
    starts, stops = [a for a, _ in known if a is not None], [b for _, b in known if b is not None]
    if len(starts) < len(ends) or len(stops) < len(ends):
        return None
    return replace(first, start=integer(min(starts)), stop=integer(max(stops)))


def written_first(body: Sequence[Statement], buffer: Buffer) -> bool:
    """Whether no read of a buffer comes before a statement that assigns it, loops counted as entered."""
    for statement in body:
        if isinstance(statement, (For, If)):
            if any(_reads(x, buffer) for x in expressions(statement)):
                return False
            for branch in (statement.body,) if isinstance(statement, For) else (statement.then, statement.otherwise):
                if buffer in {b for s in branch for b in reads(s) | writes(s)} and not written_first(branch, buffer):
                    return False
        elif buffer in reads(statement):
            return isinstance(statement, Dot) and statement.scratch is buffer
        if buffer in writes(statement):
            return True
    return False


def _reads(x: Scalar, buffer: Buffer) -> bool:
    return any(access.tensor is buffer for access in loads(x))


def _shown(subscripts: Subscripts) -> str:
    return f"[{', '.join(str(s) for s in subscripts)}]"
