"""Statements as written by hand: what selects is written out, a cast or an element stands where it is read.

In: the statements of a function, before its lines are fitted. Out: the same values in fewer lines. `u = a[i] + b[i]`,
then `0 if u <= 0 else u` needs no function for `relu`; `np.float32(acc) / n` needs no name for the cast.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from gradgen.graph.scalar import FLOATS, Call, Load, Scalar, call, load, number, rewrite, walk
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    If,
    Note,
    Statement,
    bodies,
    expressions,
    loaded,
    statements,
)
from gradgen.program.registers import Registers
from gradgen.program.rewriting import with_bodies


def plain(body: Sequence[Statement], taken: Iterable[str], returned: Collection[Buffer]) -> list[Statement]:
    """The statements of a function that returns some of its variables."""
    read, written, paired = Counter[Buffer](), Counter[Buffer](), Counter[Buffer]()
    for s in statements(body):
        read.update(x.tensor for x in walk(*expressions(s)) if isinstance(x, Load))
        written.update([s.buffer] if isinstance(s, (Assign, Accumulate)) else [])
    for first, second in _neighbours(body):
        if isinstance(first, Assign) and isinstance(second, Assign):
            paired.update([first.buffer] if first.buffer in loaded(second.value) else [])
    once = {b for b, count in paired.items() if count == read[b] == written[b] and b not in returned}
    return _run(body, Registers(body, taken), once)


def _neighbours(body: Sequence[Statement]) -> Iterator[tuple[Statement, Statement]]:
    """Every statement with the one that follows it at once."""
    code = [s for s in body if not isinstance(s, Note)]
    yield from pairwise(code)
    for s in code:
        for branch in (s.then, s.otherwise) if isinstance(s, If) else (bodies(s),):
            yield from _neighbours(branch)


def _run(body: Sequence[Statement], registers: Registers, once: Collection[Buffer]) -> list[Statement]:
    found: list[Statement] = []
    for statement in body:
        match statement:
            case Assign():
                found += _selected(_with_last(statement, found, once), registers)
            case _:
                found.append(with_bodies(statement, lambda inner: _run(inner, registers, once)))
    return found


def _selected(statement: Assign, registers: Registers) -> list[Assign]:
    """y = relu(x) as two statements, or one where x is a variable."""
    match statement.value:
        case Call(function=f, arguments=(x,), dtype=dtype) if f.name == "relu" and dtype in FLOATS:
            before: list[Assign] = []
            if not (isinstance(x, Load) and x.tensor.by_value):
                before = [Assign(registers.make(f"{statement.buffer.name}_in", dtype), (), x)]
                x = load(before[0].buffer, ())
            zero = call(dtype, number(0))
            return [*before, replace(statement, value=call("where", call("le", x, zero), zero, x))]
    return [statement]


def _with_last(statement: Assign, found: list[Statement], once: Collection[Buffer]) -> Assign:
    """The statement with what the one before, which goes, gives a name for its sake alone: a cast, or an element."""
    at = next((k for k in reversed(range(len(found))) if not isinstance(found[k], Note)), -1)
    last = found[at] if at >= 0 else None
    if not isinstance(last, Assign) or last.buffer not in once or not _is_plain(last):
        return statement
    variable, value = last.buffer, last.value
    if variable not in loaded(statement.value):
        return statement
    del found[at]

    def change(x: Scalar) -> Scalar | None:
        return value if isinstance(x, Load) and x.tensor is variable else None

    return replace(statement, value=rewrite(statement.value, change, lambda atom: None))


def _is_plain(s: Assign) -> bool:
    """Whether a variable is an element of an array, or another variable in another dtype."""
    match s.value:
        case Load(tensor=tensor):
            return s.buffer.by_value and tensor.dtype == s.buffer.dtype
        case Call(function=f, arguments=(Load(tensor=tensor),)) if f.name in FLOATS:
            return tensor.by_value and s.buffer.by_value
    return False
