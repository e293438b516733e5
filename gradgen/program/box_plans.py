"""The cheapest of a small family of schedules of an affine contraction in registers, by one cost table.

In: a contraction over named indices. Out: its boxes; `passes.rewrite.outer_products` asks whether there are any,
`passes.loops.register_loops` writes them out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod

from gradgen.machine import Machine, machine
from gradgen.program.boxes import Affine, Affinity, Box, Boxes, Operand, Plan, owns, padded

__all__ = ["choose", "schedules"]

# ---------------------------------------------------------------- costs


def cost(boxes: Boxes, here: Machine) -> float:
    """Cycles where cores share the outermost loop as evenly as it can be cut; what stands outside of it is serial."""
    trips = [-(-boxes.spec.extents[i] // boxes.plan.block.get(i, 1)) for i in boxes.plan.loops]
    outermost = next((t for t in trips if t > 1), 1)
    serial, shared = 0.0, _multiplying(boxes, trips, here)
    for b in (boxes.vector, boxes.scalar, boxes.out):
        contiguous = b.dims[-1] == b.operand.subscripts[-1].only(b.inner)
        times = prod(trips[: b.level])
        cleared = here.cleared if b is boxes.out else 0.0
        cycles = times * b.size * ((here.copied if contiguous else here.transposed) + cleared)
        if times > 1:
            shared += cycles
        else:
            sums_of_parts = b.size * here.cores * (here.cleared + here.added) if b is boxes.out else 0.0
            serial += cycles + sums_of_parts
    return serial + shared * -(-outermost // here.cores) / outermost


def _multiplying(boxes: Boxes, trips: Sequence[int], here: Machine) -> float:
    """Cycles on one core: whichever of arithmetic and memory is slower."""
    spec, plan = boxes.spec, boxes.plan
    products = boxes.products
    pairs = [pair for found in products.values() for pair in found]
    accumulators, vectors, scalars = len(products), len({v for _, v in pairs}), len({s for s, _ in pairs})
    steps = padded(plan.vector, spec, plan) // here.box_lanes
    kept = vectors if len(pairs) > vectors and accumulators > 1 else min(accumulators, vectors)
    spilled = max(0, scalars + kept + 1 - here.registers)
    shifted = any(len(d.terms) > 1 and plan.vector in d.terms for d in boxes.vector.dims)
    moved = max(accumulators + vectors * (2 if shifted else 1) + spilled, 2 * accumulators)
    visit = steps * (max(len(pairs), moved) + spilled) + scalars + here.visit
    slowest = float(prod(trips) * visit)
    for room, rate in ((here.nearest, here.from_near), (here.near, here.from_far)):
        k = next((k for k in range(len(trips) + 1) if _window(boxes, k) <= room), len(trips))
        k = max(0, k - 1)  # the window that fits slides along the next loop
        traffic = 2 * _touched(boxes.out, boxes, k) + _touched(boxes.vector, boxes, k)
        slowest = max(slowest, prod(trips[:k]) * traffic / rate if k else 0.0)
    return slowest


def _window(boxes: Boxes, k: int) -> int:
    return sum(_touched(b, boxes, k) for b in (boxes.out, boxes.vector, boxes.scalar))


def _touched(b: Box, boxes: Boxes, k: int) -> int:
    """Bytes of a box that the loops from k on touch."""
    spec, plan = boxes.spec, boxes.plan
    outside = set(plan.loops[:k])
    size = {i: plan.block.get(i, 1) if i in outside else padded(i, spec, plan) for i in spec.extents}
    elements = 1
    for d, g in zip(b.dims, b.step, strict=True):
        low, high = d.span(size)
        elements *= (high - low) // g + 1
    return 4 * elements


# ---------------------------------------------------------------- schedules


def choose(spec: Affinity) -> Boxes | None:
    """The boxes of the cheapest schedule; None where no index can be that of a vector."""
    return _chosen(spec, machine())


@lru_cache(maxsize=512)
def _chosen(spec: Affinity, here: Machine) -> Boxes | None:
    best: tuple[float, Boxes] | None = None
    for contraction, plan in schedules(spec):
        block = prod(plan.block.values()) * prod(
            e for i, e in contraction.extents.items() if i not in plan.loops and i != plan.vector
        )
        if block > here.block:
            continue
        boxes = Boxes(contraction, plan)
        cycles = cost(boxes, here)
        if best is None or cycles < best[0]:
            best = cycles, boxes
    return None if best is None else best[1]


def schedules(spec: Affinity) -> Iterator[tuple[Affinity, Plan]]:
    """Which index is the vector, which are unrolled, how many positions at once, how many rows share a packing."""
    taps, companions = _taps(spec)
    for swapped in (spec, replace(spec, vector=spec.scalar, scalar=spec.vector)):
        holders = [*swapped.out.subscripts, *swapped.vector.subscripts]
        once = [x.subscripts for x in (swapped.out, swapped.vector)]
        for v, extent in spec.extents.items():
            if v not in spec.out.indices & swapped.vector.indices - swapped.scalar.indices or v in taps:
                continue
            if any(sum(v in s.terms for s in subscripts) > 1 for subscripts in once):
                continue  # the elements of a vector would not lie side by side
            if extent < machine().vector or v in spec.open_ended or any(s.terms.get(v, 1) != 1 for s in holders):
                continue
            yield from _blocked(swapped, v, taps, companions)


def _taps(spec: Affinity) -> tuple[list[str], list[str]]:
    """The small indices of affine subscripts, unrolled while they make no more than ten positions; the large ones."""
    affine = [s for x in (spec.vector, spec.scalar, spec.out) for s in x.subscripts if len(s.terms) > 1]
    pairs = [sorted(s.terms, key=lambda i: spec.extents[i]) for s in affine]
    taps = [i for i in spec.extents if any(i == p[0] for p in pairs)]
    while prod(spec.extents[i] for i in taps) > 10:
        taps = taps[1:]
    return taps, [i for i in spec.extents if any(i == p[-1] for p in pairs)]


def _blocked(spec: Affinity, v: str, taps: Sequence[str], companions: Sequence[str]) -> Iterator[tuple[Affinity, Plan]]:
    loops = [i for i in spec.extents if i not in taps and i != v]
    innermost = [i for i in companions if i in loops][-1:]
    rows = [i for i in loops if i in companions and i not in innermost][:1]
    others = [i for i in loops if i not in innermost and i not in rows]
    leads = sorted(spec.open_ended) or [i for i in others if i in spec.out.indices][:1]
    if not spec.open_ended:
        leads += [i for i in others if i not in spec.out.indices][:1]
    for lead in leads:
        middle = [i for i in others if i != lead]
        free = [i for i in middle if i in spec.scalar.indices][-1:]
        for row, contraction in _strips(spec, rows):
            first, second = [lead, *row[:1]], row[1:]
            for count in (1, 2, 3, 4, 6):
                for extra in (1, 2, 4) if free else (1,):
                    block = _block(innermost, count, free, extra)
                    if any(_overshoots(contraction, i, n) for i, n in block.items()):
                        continue
                    plan = Plan(v, (*first, *middle, *second, *innermost), block, {})
                    yield contraction, replace(plan, levels=_levels(contraction, plan, len(first)))


def _block(innermost: Sequence[str], count: int, free: Sequence[str], extra: int) -> dict[str, int]:
    wanted = [*((i, count) for i in innermost), *((i, extra) for i in free)]
    return {i: n for i, n in wanted if n > 1}


def _overshoots(spec: Affinity, i: str, count: int) -> bool:
    """Whether a block would add terms that the formula does not have."""
    alone = any(set(s.terms) == {i} for s in spec.out.subscripts)
    return spec.extents[i] % count != 0 and not alone


def _strips(spec: Affinity, rows: Sequence[str]) -> Iterator[tuple[list[str], Affinity]]:
    """The row index as loops: outside (one row for each packing), inside (all), or cut into strips."""
    if not rows:
        yield [], spec
        return
    row = rows[0]
    yield [row], spec
    for height in (2, 4, 8, spec.extents[row]):
        if height <= spec.extents[row] and spec.extents[row] % height == 0:
            outer = f"{row}_strip"
            extents: Mapping[str, int] = {outer: spec.extents[row] // height, **spec.extents, row: height}
            parts = [
                Operand(x.side, x.shape, tuple(_stripped(s, row, outer, height) for s in x.subscripts))
                for x in (spec.out, spec.vector, spec.scalar)
            ]
            yield [outer, row], Affinity(extents, parts[0], parts[1], parts[2], spec.open_ended)


def _stripped(s: Affine, row: str, outer: str, height: int) -> Affine:
    return s.plus(Affine({outer: s.terms[row] * height})) if row in s.terms else s


def _levels(spec: Affinity, plan: Plan, outer: int) -> dict[str, int]:
    """Boxes are filled inside the outer loops that move them; that of the result outside of what is summed."""
    out = 0
    while out < outer and owns(spec, plan, out):
        out += 1
    operands = {"vector": spec.vector, "scalar": spec.scalar}
    moved = {key: any(i in x.indices for i in plan.loops[:outer]) for key, x in operands.items()}
    return {"out": out, **{key: outer if moves else 0 for key, moves in moved.items()}}
