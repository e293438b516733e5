"""Options, Hypothesis profiles, and the features that the random formulas had."""

import os

# Before NumPy is imported: threads of BLAS that wait for work of microseconds keep the other process from its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # JAX compiles for longer than it computes

import gc
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "ci", max_examples=40, derandomize=True, database=None, deadline=None, print_blob=True, suppress_health_check=SLOW
)
for name, examples in {"long": 5_000, "longer": 10_000}.items():
    settings.register_profile(name, max_examples=examples, deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.load_profile("ci")  # --hypothesis-profile=long comes later, and wins

LEFT_OUT = pytest.StashKey[int]()

gc.set_threshold(50_000)  # Numba and jax make many objects that stay; to look at them again and again takes a tenth


COMPILED_MODELS = (
    "tests/cpu/test_models.py", "tests/cpu/test_names.py", "tests/cpu/test_nan.py", "tests/oracle/test_canaries.py",
    "tests/cpu/test_standalone.py", "tests/cpu/test_pickles.py", "tests/golden/test_golden.py",
    "tests/passes/test_naming.py",
)  # fmt: skip
APART = ("tests/nn/test_layers.py", "tests/test_examples.py")


def group(nodeid: str) -> str:
    """A file is a group; of compiled models, each model. Properties, rows of layers and examples share nothing."""
    file, _, rest = nodeid.partition("::")
    if "/properties/" in file or file.endswith(APART):
        return nodeid
    model = re.search(r"\[(\w+)", rest) if file.endswith(COMPILED_MODELS) else None
    return f"model {model[1]}" if model else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`-n 2` keeps the tests of a group in one process, which then has what the first of them compiled.

    Not by `--dist=loadgroup`, which marks the names of tests: xdist 3.8 does not reach those of pytest 9.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling  # it is there where this hook is called

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without what repeats other tests; properties and examples take long, so they come first."""
    if not config.getoption("--all"):
        left_out = [item for item in items if item.get_closest_marker("repeats")]
        items[:] = [item for item in items if not item.get_closest_marker("repeats")]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = len(left_out)
    items.sort(key=lambda item: item.path.parent.name != "properties" and item.path.name != "test_examples.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the files in tests/golden/emitted anew")
    parser.addoption("--all", action="store_true", help="also what repeats other tests: see tests/repeats.py")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of `-n 2` collects all tests, and hands over how many it left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out; and how many examples had each feature, as a table.

    The counts travel with the report, so xdist hands them over.
    """
    if left_out := terminalreporter.config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"left out: {left_out} tests that repeat others in another dtype, model or size")
        terminalreporter.write_line("to run them too: pytest --all")
    for kind in ("passed", "failed"):
        for report in terminalreporter.getreports(kind):
            recorded = dict(report.user_properties)
            if "features" in recorded:
                counts = sorted(recorded["features"].items(), key=lambda item: (item[1], item[0]))
                terminalreporter.section(f"features in {recorded['examples']} random {recorded['of']}")
                rows = -(-len(counts) // 4)
                for row in range(rows):
                    cells = [f"{feature[:27]:<27}{count:>6}" for feature, count in counts[row::rows]]
                    terminalreporter.write_line("  ".join(cells))
