"""Runs of equal calls become loops over stacked arrays, so that the size of a module does not follow the depth.

In: a `Program` from `unify`. Out: one whose entries repeat, and the stacks that hold the arrays of the repetitions.
Compiling a driver of hundreds of calls takes Numba a minute; a loop over rows of stacked arrays a fraction of a second.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import gcd

from gradgen.graph.intern import intern
from gradgen.graph.names import CALLED, common_name, free_letter
from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import integer
from gradgen.machine import machine
from gradgen.program.holders import HOLDERS
from gradgen.program.kernels import (
    Entry,
    KernelCall,
    Program,
    Repeat,
    Row,
    Stack,
)
from gradgen.program.loops import Buffer

__all__ = ["roll"]

STACKED = {role: key for key in ("p", "s", "w", "g") for role in HOLDERS[key]}
STACKED["constant"] = "constant"  # constants and states come from different places, and are rows of different arrays


@dataclass(frozen=True, slots=True)
class Run:
    """`count` repetitions of `period` calls, from the call `start` of an entry."""

    entry: int
    start: int
    period: int
    count: int
    chains: tuple[tuple[Buffer, ...], ...]  # the buffers that a slot steps through


def roll(program: Program) -> Program:
    """Runs of calls as loops, the arrays of these loops as stacks."""
    entries = program.entries
    runs = [run for at, entry in enumerate(entries) for run in _runs(at, entry)]
    runs, families = _families(runs)
    if not runs:
        return program
    stacks = _stacks(program, entries, families)
    rolled = tuple(_rolled(e, [r for r in runs if r.entry == at], stacks) for at, e in enumerate(entries))
    formulas = shortened(program.formulas) if stacks else program.formulas
    every = (*program.stacks, *dict.fromkeys(stacks.values()))
    return replace(program, entries=rolled, stacks=every, formulas=formulas)


# ---------------------------------------------------------------- runs


def _runs(at: int, entry: Entry) -> list[Run]:
    """Runs that do not overlap, from the first call on, each the one that covers most."""
    calls = [c for c in entry.calls if isinstance(c, KernelCall)]
    found: list[Run] = []
    start, least = 0, machine().repetitions
    while start < len(calls):
        best: Run | None = None
        for period in range(1, min(machine().repetition, (len(calls) - start) // least) + 1):
            run = _run(at, calls, start, period)
            if run.count >= least and (best is None or run.count * period > best.count * best.period):
                best = run
        if best is not None:
            found.append(best)
            start += best.period * best.count
        else:
            start += 1
    return found


def _run(at: int, calls: Sequence[KernelCall], start: int, period: int) -> Run:
    """The longest run of this period."""
    opening = calls[start : start + period]
    slots = [[b] for call in opening for b in call.arguments if isinstance(b, Buffer)]
    count = 0 if any(call.results for call in opening) else 1
    while count and start + (count + 1) * period <= len(calls):
        here = calls[start + count * period : start + (count + 1) * period]
        if any(a.kernel != b.kernel or a.sizes != b.sizes or b.results for a, b in zip(opening, here, strict=True)):
            break
        arguments = [b for call in here for b in call.arguments if isinstance(b, Buffer)]
        if not all(_continues(slot, b) for slot, b in zip(slots, arguments, strict=True)):
            break
        for slot, b in zip(slots, arguments, strict=True):
            slot.append(b)
        count += 1
    chains = dict.fromkeys(tuple(slot) for slot in slots if len(slot) > 1 and slot[0] is not slot[1])
    return Run(at, start, period, count, tuple(chains))


def _continues(slot: Sequence[Buffer], b: Buffer) -> bool:
    """Whether a slot stays with its buffer, or steps to another one like those before."""
    if b is slot[-1] and b is slot[0]:
        return True
    if (len(slot) > 1 and slot[0] is slot[1]) or b in slot:
        return False
    return all(x.role in STACKED and x.shape and x.alias_of is None for x in (slot[0], b)) and (
        STACKED[b.role] == STACKED[slot[0].role] and same_shape(b.shape, slot[0].shape) and b.dtype == slot[0].dtype
    )


# ---------------------------------------------------------------- families


def _families(runs: list[Run]) -> tuple[list[Run], list[list[Buffer]]]:
    """The runs whose chains agree on an order, and the buffers of every family in that order."""
    kept = sorted(runs, key=lambda r: -r.count)
    while True:
        bad, families = _merged(kept)
        if bad is None:
            return kept, families
        kept = [r for r in kept if r is not bad]


def _merged(runs: Sequence[Run]) -> tuple[Run | None, list[list[Buffer]]]:
    """All chains in one order per family, or a run that does not fit."""
    families: list[dict[Buffer, int]] = []
    for run in runs:
        for chain in run.chains:
            touched = [f for f in families if any(b in f for b in chain)]
            if len(touched) > 1:
                return run, []
            if not touched:
                families.append({b: k for k, b in enumerate(chain)})
            elif not _extend(touched[0], chain):
                return run, []
    ordered: list[list[Buffer]] = []
    for family in families:
        low = min(family.values())
        step = gcd(*[place - low for place in family.values()])
        at = {(place - low) // step: b for b, place in family.items()}
        if sorted(at) != list(range(len(family))):
            return next(r for r in reversed(runs) if any(b in family for chain in r.chains for b in chain)), []
        buffers = [at[k] for k in range(len(at))]
        ordered.append(buffers if _natural(buffers[0].name) < _natural(buffers[-1].name) else buffers[::-1])
    return None, ordered


def _extend(family: dict[Buffer, int], chain: Sequence[Buffer]) -> bool:
    """Give every buffer of a chain its place; False where the chain steps unevenly, or onto a place that is taken."""
    known = [k for k, b in enumerate(chain) if b in family]
    first, last = known[0], known[-1]
    steps = [1, -1]
    if last > first:
        steps = [(family[chain[last]] - family[chain[first]]) // (last - first)]
    owners = {place: b for b, place in family.items()}
    for step in steps:
        places = {b: family[chain[first]] + (k - first) * step for k, b in enumerate(chain)}
        if step and all(owners.get(place, b) is b and family.get(b, place) == place for b, place in places.items()):
            family.update(places)
            return True
    return False


def _natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _stacks(program: Program, entries: Sequence[Entry], families: Sequence[Sequence[Buffer]]) -> dict[Buffer, Stack]:
    """A stack for every family, by member."""
    found: dict[Buffer, Stack] = {}
    inside = {b for family in families for b in family if STACKED[b.role] == "w"}
    taken = {b.name for b in program.buffers if b not in inside} | {b.name for e in entries for b in e.parameters}
    place = {b: k for k, b in enumerate(program.buffers)}
    for family in sorted(families, key=lambda f: min(place[b] for b in f)):
        name = common_name([b.name for b in family], taken)
        taken.add(name)
        first = family[0]
        role = "saved" if any(b.role == "saved" for b in family) else first.role
        buffer = intern(Buffer, name, (integer(len(family)), *first.shape), first.dtype, role, None)
        stack = Stack(buffer, tuple(family))
        found |= dict.fromkeys(family, stack)
    return found


# ---------------------------------------------------------------- loops


def _rolled(entry: Entry, runs: Iterable[Run], stacks: dict[Buffer, Stack]) -> Entry:
    """An entry with its runs as loops."""
    calls = [c for c in entry.calls if isinstance(c, KernelCall)]
    taken = {b.name for b in entry.parameters} | {b.name for c in calls for b in (*c.arguments, *c.results)}
    letter = free_letter("l", taken.union(HOLDERS, CALLED, *(c.sizes for c in calls)))
    found: list[KernelCall | Repeat] = []
    end = 0
    for run in sorted(runs, key=lambda r: r.start):
        found += calls[end : run.start]
        end = run.start + run.period * run.count
        second = calls[run.start + run.period : run.start + 2 * run.period]
        body = [
            replace(
                a,
                arguments=tuple(
                    _row(x, y, run.count, letter, stacks) for x, y in zip(a.arguments, b.arguments, strict=True)
                ),
            )
            for a, b in zip(calls[run.start :], second, strict=False)
        ]
        found.append(Repeat(letter, run.count, tuple(body)))
    return replace(entry, calls=(*found, *calls[end:]))


def _row(
    first: Buffer | Row, second: Buffer | Row, count: int, letter: str, stacks: dict[Buffer, Stack]
) -> Buffer | Row:
    """The argument of a repetition, from those of the first two."""
    if first is second or isinstance(first, Row) or isinstance(second, Row):
        return first
    stack = stacks[first]
    start = stack.members.index(first)
    return Row(stack, start, stack.members.index(second) - start, count, letter)


# ---------------------------------------------------------------- the head of the file


def shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """Formulas that repeat with other numbers, once, with a count: the head of a file does not follow the depth."""
    keys = [_formula_key(line) for line in lines]
    found: list[str] = []
    at, least = 0, machine().repetitions
    while at < len(lines):
        period, count = 0, 0
        for p in range(1, min(machine().repetition, (len(lines) - at) // least) + 1):
            times = 1
            while keys[at + times * p : at + (times + 1) * p] == keys[at : at + p]:
                times += 1
            if times >= least and times * p > period * count:
                period, count = p, times
        if not count:
            found.append(lines[at])
            at += 1
            continue
        found += lines[at : at + 2 * period]
        found.append(f"      ... and so on, {count} times in all, up to")
        at += period * count
        found += lines[at - period : at]
    return tuple(found)


def _formula_key(line: str) -> str:
    """A formula with its names numbered by their appearance."""
    order: dict[str, str] = {}
    return re.sub(r"[^\W\d]\w*", lambda m: order.setdefault(m.group(), f"v{len(order)}"), line)
