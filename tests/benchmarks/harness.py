"""Runs the peers of one case side by side: numbers checked first, then interleaved rounds of timing.

In: a case, the peers. Out: a Row of Results, one per peer. Next: `report.py` makes tables of them.
"""

import json
import os
import re
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .case import Case
from .runner import Numbers, disagreement

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-3  # relative, float32, also of the change after a few steps
ROUND_S = 0.2
SETTLE_S = 0.05  # thread pools of the peer before spin for a while


@dataclass(frozen=True)
class Peer:
    """A column of the table: a variant of a `peers_*` module, and the Python that runs it."""

    name: str
    module: str
    python: str = sys.executable


@dataclass
class Result:
    """What one peer did on one case. `error` instead of times if it could not, or was wrong."""

    peer: str
    error: str = ""
    versions: str = ""
    import_s: float = 0.0
    cold_s: float = 0.0
    cached_s: float = 0.0
    passes_s: float = 0.0  # of cold_s, until the text is there
    rounds_us: list[float] = field(default_factory=list)
    emitted: dict[str, int] = field(default_factory=dict)

    @property
    def median_us(self) -> float:
        return statistics.median(self.rounds_us) if self.rounds_us else float("nan")


@dataclass
class Row:
    case: Case
    results: dict[str, Result]


class Failed(Exception):
    """The exception that ended a worker, or the last line that it wrote."""


class Worker:
    """A process with one peer and one case."""

    def __init__(self, peer: Peer, case: Case, cache: Path) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process
        self.process = subprocess.Popen(
            [peer.python, "-m", "tests.benchmarks.worker", peer.module, peer.name, case.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            env={**os.environ, **caches(cache)},
        )

    def ask(self, question: str, timeout: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{question}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self.last_line()) from None
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            if not ready.select(timeout):
                raise Failed(f"no answer within {timeout:.0f} s")
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait()
            raise Failed(self.last_line())
        return dict(json.loads(answer))

    def last_line(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Unsupported)\b", line)]
        return (raised or lines or [f"exit status {self.process.returncode}"])[-1][:200]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.log.close()


def caches(folder: Path) -> dict[str, str]:
    """Every peer's cache on disk, in a folder that starts empty."""
    return {
        "GRADGEN_CACHE_DIR": str(folder / "gradgen"),
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}",
    }


def compare(case: Case, peers: list[Peer], rounds: int, timeout: float, say: Callable[[str], None]) -> Row:
    """Each peer cold, then again in a second process that finds its caches; then all in turn, `rounds` times."""
    results = {peer.name: Result(peer.name) for peer in peers}
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found: dict[str, Numbers] = {}
            for peer in peers:
                result, cache = results[peer.name], Path(folder) / peer.name.replace(" ", "_")
                try:
                    found[peer.name] = start(peer, case, cache, timeout, result, workers)
                except Failed as failure:
                    result.error = str(failure)
                say(f"{case.name}, {peer.name}: {result.error or f'ready in {result.cold_s:.2f} s'}")
            check(found, results, say)
            interleave(workers, results, rounds, timeout)
        finally:
            for worker in workers.values():
                worker.close()
    return Row(case, results)


def check(found: dict[str, Numbers], results: dict[str, Result], say: Callable[[str], None]) -> None:
    """Hold every peer against the first one that is not gradgen: who disagrees is not timed."""
    reference = min(found, key=lambda name: name == "gradgen", default="")
    for name, numbers in found.items():
        difference, where = disagreement(found[reference], numbers)
        if name != reference:
            say(f"  numbers of {name} and {reference} agree within {difference:.1e}")
        if not difference <= TOLERANCE:
            results[name].error = f"{where} differs from that of {reference} by {difference:.1e} of its norm"


def start(peer: Peer, case: Case, cache: Path, timeout: float, result: Result, workers: dict[str, Worker]) -> Numbers:
    cold = Worker(peer, case, cache)
    try:
        answer = cold.ask("prepare", timeout)
    finally:
        cold.close()
    result.cold_s, result.versions, result.emitted = answer["first_s"], answer["versions"], answer["emitted"]
    result.passes_s = answer["passes_s"]
    workers[peer.name] = Worker(peer, case, cache)
    answer = workers[peer.name].ask("prepare", timeout)
    result.cached_s, result.import_s = answer["first_s"], answer["import_s"]
    return dict(answer["numbers"])


def interleave(workers: dict[str, Worker], results: dict[str, Result], rounds: int, timeout: float) -> None:
    """Every peer in turn, `rounds` times; one that fails on the way is left out."""
    times: dict[str, int] = {}
    for turn in range(-1, rounds):
        for name, worker in workers.items():
            if results[name].error:
                continue
            time.sleep(SETTLE_S)
            try:
                if turn < 0:
                    times[name] = times_per_round(worker, timeout)
                else:
                    seconds = worker.ask(f"time {times[name]}", timeout)["seconds"]
                    results[name].rounds_us.append(seconds / times[name] * 1e6)
            except Failed as failure:
                results[name].error = str(failure)
                results[name].rounds_us.clear()


def times_per_round(worker: Worker, timeout: float) -> int:
    times = 1
    seconds = float(worker.ask("time 1", timeout)["seconds"])
    while seconds < ROUND_S / 4:
        times *= 2
        seconds = float(worker.ask(f"time {times}", timeout)["seconds"])
    return max(1, round(times * ROUND_S / seconds))
