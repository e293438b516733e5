"""Options, Hypothesis profiles, and the features that the random formulas had."""

import pytest
from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "ci", max_examples=300, derandomize=True, database=None, deadline=None, print_blob=True, suppress_health_check=SLOW
)
settings.register_profile("long", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.load_profile("ci")  # --hypothesis-profile=long comes later, and wins


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the files in tests/golden/emitted anew")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many examples had each feature, as a table; the counts travel with the report, so xdist hands them over."""
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
