"""What causal attention works in, by the number of positions: `python -m tests.benchmarks.workspace`.

The model of `examples/canaries.py`, float32, one sequence; nothing is run. A T x T array of scores alone would be
4 T^2 bytes; `--positions` chooses other T.
"""

import argparse
import runpy
import sys

from .harness import ROOT
from .peers_gradgen import emitted


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.workspace", description=__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    net = runpy.run_path(str(ROOT / "examples" / "canaries.py"))["attention_net"]
    sys.stdout.write(f"{'T':>6s} {'workspace bytes':>16s} {'bytes a position':>17s} {'T x T scores':>14s}\n")
    for T in parser.parse_args().positions:
        found = emitted(net, B=1, T=T)["workspace bytes"]
        sys.stdout.write(f"{T:6d} {found:16,d} {found / T:17.0f} {4 * T * T:14,d}\n")


if __name__ == "__main__":
    main()
