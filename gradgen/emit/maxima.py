"""Running maxima and minima of floats as those of integers, which compilers turn into vector code.

In: the statements of a function. Out: the same values. A float comparison that lets a nan win is no operation of the
machine, so its loop runs element by element; `order` maps floats to integers in the same order, nan last. A minimum is
the maximum of the negated values. The CPU printer calls this before it prints.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gradgen.graph.declaration import ScalarFunction
from gradgen.graph.polynomials import applied
from gradgen.graph.scalar import FLOATS, Load, Scalar, as_poly, call, load, require_poly, rewrite, walk
from gradgen.machine import machine
from gradgen.program.loops import (
    Accumulate,
    Assign,
    For,
    Statement,
    expressions,
    statements,
)
from gradgen.program.registers import Registers
from gradgen.program.rewriting import with_bodies

__all__ = ["ORDERS", "with_integer_maxima"]

ORDERS = {"float32": "int32", "float64": "int64"}
ORDER = ScalarFunction("order", 1, "promote", "x")
FROM_ORDER = ScalarFunction("from_order", 1, "promote", "x")


def with_integer_maxima(body: Sequence[Statement], taken: Iterable[str]) -> list[Statement]:
    """Every innermost loop that finds a maximum finds it among integers; `taken` names are not used again."""
    return _rewritten(body, Registers(body, taken))


def _rewritten(body: Sequence[Statement], registers: Registers) -> list[Statement]:
    found: list[Statement] = []
    for statement in body:
        match statement:
            case For():
                before, loop, after = _loop(statement, registers)
                found += [*(_from_first_value(s, found) for s in before), loop, *after]
            case _:
                found.append(with_bodies(statement, lambda inner: _rewritten(inner, registers)))
    return found


def _loop(loop: For, registers: Registers) -> tuple[list[Assign], For, list[Assign]]:
    """A loop, with what stands in front of it and behind it."""
    if any(isinstance(s, For) for s in statements(loop.body)):
        return [], replace(loop, body=tuple(_rewritten(loop.body, registers))), []
    before: list[Assign] = []
    after: list[Assign] = []
    body = list(loop.body)
    for k, s in enumerate(body):
        if not isinstance(s, Accumulate) or not _is_running(s, loop):
            continue
        running, is_least = s.buffer, s.operation == "min"
        order = registers.make(f"{running.name}_order", ORDERS[running.dtype])
        before.append(Assign(order, (), _order(load(running, ()), is_least)))
        body[k] = Accumulate(order, (), "max", _order(s.value, is_least))
        result = applied(FROM_ORDER, (load(order, ()),), running.dtype)
        after.append(Assign(running, (), call("neg", result) if is_least else result))
    return before, replace(loop, body=tuple(body)), after


def _from_first_value(start: Assign, earlier: list[Statement]) -> Assign:
    """order(running) with the value that was just given to the variable; nobody else reads that one."""
    running = {x.tensor for x in walk(start.value) if isinstance(x, Load)}
    for k in range(len(earlier) - 1, -1, -1):
        s = earlier[k]
        if not isinstance(s, Assign) or s.buffer.shape:
            break
        if s.buffer in running:
            del earlier[k]
            first = s.value if s.value.dtype == s.buffer.dtype else call(s.buffer.dtype, s.value)
            return replace(start, value=_with_first(start.value, first))
        if any(isinstance(x, Load) and x.tensor in running for x in walk(s.value)):
            break
    return start


def _with_first(x: Scalar, first: Scalar) -> Scalar:
    return rewrite(x, lambda part: first if isinstance(part, Load) else None, lambda atom: None)


def _order(x: Scalar, is_least: bool) -> Scalar:
    return applied(ORDER, (call("neg", x) if is_least else x,), ORDERS[x.dtype])


def _is_running(s: Accumulate, loop: For) -> bool:
    """Whether an extremum of floats is kept in a variable that its loop does nothing else with."""
    if (
        s.operation == "sum"
        or not (s.buffer.is_variable and s.buffer.dtype in FLOATS)
        or s.value.dtype != s.buffer.dtype
        or _is_short(loop)
    ):
        return False
    others = [x for x in statements(loop.body) if x is not s]
    written = any(isinstance(x, (Assign, Accumulate)) and x.buffer is s.buffer for x in others)
    read = any(isinstance(x, Load) and x.tensor is s.buffer for o in loop.body for x in walk(*expressions(o)))
    return not written and not read


def _is_short(loop: For) -> bool:
    start, stop = as_poly(loop.start), as_poly(loop.stop)
    if start is None or stop is None:
        return False
    extent = require_poly(stop - start).constant
    return extent is not None and abs(extent) < machine().maximum * abs(loop.stride)
