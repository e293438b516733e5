"""Rows of results as Markdown: times, ratios to gradgen, first calls, and what ran it."""

import math
import os
import platform
import shlex
import sys

import scipy.linalg  # noqa: F401  # loads its BLAS, so that it can be asked

from gradgen.inspect.machine import loaded_openblas

from .harness import Row

GRADGEN = "gradgen"
EMITTED = ("lines", "characters", "workspace bytes")
EAGER = "torch eager"
ANY = "best of all"
FRAMEWORKS = "best of torch, jax"

# Least wanted ratio of a peer's time to gradgen's.
WANTED: dict[str, dict[str, float]] = {
    "tiny": {FRAMEWORKS: 10.0, ANY: 3.0},
    "digits": {FRAMEWORKS: 2.5, ANY: 1.25},
    "medium": {ANY: 0.95},
    "wide": {ANY: 0.95},
    "deep": {ANY: 0.95},
    "conv3x3": {"jax": 1.0, EAGER: 0.7},
    "conv5x5": {"jax": 1.0, EAGER: 0.7},
    "embedding": {"jax": 1.0, EAGER: 0.55},
    "lstm": {"jax": 1.0, EAGER: 0.55},
    "attention": {"jax": 1.0, EAGER: 0.55},
    "layernorm": {"jax": 1.0, EAGER: 0.55},
}


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])


def number(x: float) -> str:
    if not math.isfinite(x):
        return "-"
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def times(row: Row) -> dict[str, float]:
    return {name: r.median_us for name, r in row.results.items() if r.rounds_us}


def ratio(row: Row, peer: str) -> float:
    """Time of a peer, or of the fastest of several, over gradgen's."""
    found = times(row)
    own = found.pop(GRADGEN, math.nan)
    if peer == FRAMEWORKS:
        found.pop("pytensor", None)
    if peer not in (ANY, FRAMEWORKS):
        return found.get(peer, math.nan) / own
    return min(found.values(), default=math.nan) / own


def verdict(row: Row) -> str:
    parts = []
    for peer, least in WANTED.get(row.case.name, {}).items():
        found = ratio(row, peer)
        mark = "" if found >= least else ", missed" if math.isfinite(found) else ", not measured"
        parts.append(f"{peer} {number(found)} of {least:g}{mark}")
    return "; ".join(parts)


def machine(rows: list[Row]) -> str:
    versions = sorted({r.versions for row in rows for r in row.results.values() if r.versions})
    loaded = loaded_openblas("scipy.libs")
    blas = [] if loaded is None else [f"OpenBLAS of SciPy with kernels for {loaded.kernels}"]
    return ", ".join(
        [f"{os.cpu_count()} cores ({platform.machine()})", f"Python {platform.python_version()}", *versions, *blas]
    )


def markdown(rows: list[Row], rounds: int) -> str:
    peers = list(rows[0].results)
    others = [name for name in peers if name != GRADGEN]
    medians, spreads, ratios, firsts, phases, emitted, notes = [], [], [], [], [], [], []
    for row in rows:
        name, results = row.case.name, [row.results[peer] for peer in peers]
        medians.append([f"{name}: {row.case.title}", *(number(r.median_us) for r in results)])
        spreads.append([name, *(" to ".join(map(number, extent(r.rounds_us))) for r in results)])
        ratios.append([name, *(number(ratio(row, peer)) for peer in others), verdict(row)])
        firsts.append([name, *(f"{r.cold_s:.2f} / {r.cached_s:.2f}" if r.rounds_us else "-" for r in results)])
        phases += [
            [name, number(r.passes_s), number(r.cold_s - r.passes_s)] for r in results if r.passes_s and r.rounds_us
        ]
        emitted += [[name, *(f"{x:,}" for x in r.emitted.values())] for r in results if r.emitted]
        notes += [f"- {name}, {r.peer}: {r.error}" for r in results if r.error]
    command = shlex.join(["python", "-m", "tests.benchmarks", *sys.argv[1:]])
    imports = {peer: max(row.results[peer].import_s for row in rows) for peer in peers}
    parts = [
        "# Benchmark",
        f"{machine(rows)}. Repeat with `{command}`.",
        f"Median of {rounds} interleaved rounds, us per step (training) or per value and gradient (kernels), float32.",
        table(["case", *peers], medians),
        "Fastest to slowest round, us.",
        table(["case", *peers], spreads),
        "Time of a peer / time of gradgen (above 1: gradgen is faster), and what is wanted.",
        table(["case", *others, "wanted"], ratios),
        "Build and first call in a new process, s: cold / with the caches of the process before. Importing takes "
        + ", ".join(f"{peer} {s:.1f}" for peer, s in imports.items() if s)
        + " s on top.",
        table(["case", *peers], firsts),
    ]
    if phases:
        parts += [
            "What gradgen's cold time is made of, s: its passes until the text is there; Numba, and the first run.",
            table(["case", "passes", "Numba"], phases),
        ]
    if emitted:
        parts += ["The generated file, and what it works in.", table(["case", *EMITTED], emitted)]
    if notes:
        parts += ["Not measured:", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def extent(rounds_us: list[float]) -> tuple[float, float]:
    return min(rounds_us, default=math.nan), max(rounds_us, default=math.nan)
