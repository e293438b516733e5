"""Options, Hypothesis profiles, and the features that the random formulas had."""

import pytest
from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "ci", max_examples=180, derandomize=True, database=None, deadline=None, print_blob=True, suppress_health_check=SLOW
)
for name, examples in {"long": 5_000, "longer": 10_000}.items():
    settings.register_profile(name, max_examples=examples, deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.load_profile("ci")  # --hypothesis-profile=long comes later, and wins


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`-n 2` keeps the tests of a group in one process, which then has what the first of them compiled."""
    if config.getoption("numprocesses", None) and config.getoption("dist") == "no":
        config.option.dist = "loadgroup"
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file is a group; of compiled models, each model. Properties share nothing and take long, so they come first."""
    items.sort(key=lambda item: item.path.parent.name != "properties")
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.path.parent.name != "properties":
            model = item.callspec.params.get("name", "") if hasattr(item, "callspec") else ""
            of = f"{item.path.name} {model}" if item.path.name == "test_models.py" else item.path.name
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name} {of}"))


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
