"""The command: `python -m tests.benchmarks --markdown out.md` (from the root of the repository)."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from .cases import CASES
from .harness import Peer, Row, compare
from .report import markdown

PEERS = {
    "gradgen": "peers_gradgen",
    "torch eager": "peers_torch",
    "torch compiled": "peers_torch",
    "jax": "peers_jax",
    "pytensor": "peers_pytensor",
}
LIBRARIES = {"peers_gradgen": "gradgen", "peers_torch": "torch", "peers_jax": "jax", "peers_pytensor": "pytensor"}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def importable(peer: Peer) -> bool:
    """Asked of the interpreter that would run it, without importing the library here."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({LIBRARIES[peer.module]!r}) is None)"
    return subprocess.run([peer.python, "-c", code], check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of about 0.2 s each")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds a peer may take to compile a case")
    parser.add_argument("--markdown", type=Path, help="write the tables here too")
    parser.add_argument(
        "--pytensor-python", default=sys.executable, metavar="PATH", help="interpreter of an environment with PyTensor"
    )
    options = parser.parse_args()

    peers: list[Peer] = []
    absent: list[Peer] = []
    for name in options.peers:
        peer = Peer(name, PEERS[name], options.pytensor_python if name == "pytensor" else sys.executable)
        (peers if importable(peer) else absent).append(peer)
    if not peers:
        parser.error("none of the peers can be imported")
    notes = ""
    for peer in absent:
        remedy = " Install it in an environment of its own, --pytensor-python PATH." if peer.name == "pytensor" else ""
        notes += f"\n{peer.name} is absent: its Python finds no module {LIBRARIES[peer.module]}.{remedy}\n"
    rows: list[Row] = []
    for name in options.cases:
        rows.append(compare(CASES[name], peers, options.rounds, options.timeout, say))
        if options.markdown:  # after every case: a long run that is stopped keeps what it has
            options.markdown.write_text(markdown(rows, options.rounds) + notes, encoding="utf-8")
    print(markdown(rows, options.rounds) + notes)
    say(f"load average {os.getloadavg()[0]:.1f} at the end; much above 2, others used the cores: repeat it idle")


if __name__ == "__main__":
    main()
