"""One peer and one case in a process of its own, driven by lines of JSON (`harness.py` holds the other end).

A process each keeps the thread pools, caches and compile times of the peers apart, and lets a peer
live in another environment. It needs NumPy and its peer, nothing else.

    python -m tests.benchmarks.worker PEERS_MODULE VARIANT CASE
    < "prepare"      > {"import_s", "first_s", "versions", "emitted", "passes_s", "numbers"}
    < "time N"       > {"seconds"}          N steps from the first parameters, after one untimed
"""

import importlib
import json
import os
import sys
import time
from typing import Any

from .case import Case
from .cases import CASES
from .runner import Runner, numbers


def prepare(module: str, variant: str, case: Case) -> tuple[Runner, dict[str, Any]]:
    """Import the peer, build the case, run it once: what a new process waits for."""
    start = time.perf_counter()
    peer = importlib.import_module(f"tests.benchmarks.{module}")
    imported = time.perf_counter()
    runner: Runner = peer.make(variant, case)
    runner.run(1)
    ready = time.perf_counter()
    return runner, {
        "import_s": imported - start,
        "first_s": ready - imported,
        "versions": peer.versions(),
        "emitted": dict(runner.emitted),
        "passes_s": runner.passes_s,
        "numbers": numbers(case, runner),
    }


def seconds(runner: Runner, times: int) -> float:
    runner.reset()
    runner.run(1)
    start = time.perf_counter()
    runner.run(times)
    return time.perf_counter() - start


def main() -> None:
    module, variant, case = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a peer prints must not be taken for an answer
    runner: Runner | None = None
    for line in sys.stdin:
        match line.split():
            case ["prepare"]:
                runner, answer = prepare(module, variant, CASES[case])
            case ["time", times]:
                assert runner is not None
                answer = {"seconds": seconds(runner, int(times))}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
