"""The cluster that the tests share, a namespace for each of them, and the figures they found."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import pytest

from deploy.lab import Lab
from deploy.shell import tail
from tests.e2e import traces
from tests.e2e.cluster import Cluster, running
from tests.e2e.kubectl import Kubectl, programs

_figures: list[str] = []
"""Those of the running phase of a test. They travel in its report, to the process that prints the summary."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three nodes, for all tests; each test leaves it as it was."""
    if not programs():
        pytest.skip("no kubectl on the path: see https://kubernetes.io/docs/tasks/tools")
    began = time.monotonic()
    with running(tmp_path_factory.mktemp("cluster") / "lab") as made:
        _figures.append(f"a control plane and {len(made.nodes)} machines are Ready: {time.monotonic() - began:.1f} s")
        yield made


@pytest.fixture
def kubectl(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """The newest kubectl, for a namespace that ends with the test, and without a trace on any machine."""
    with traces.none_left(cluster, request.node.originalname[5:40].replace("_", "-").strip("-")) as made:
        yield made


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keeps a figure, to be printed at the end."""
    return lambda text: _figures.append(f"{request.node.name}: {text}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the figures into the report, and what the daemons said if the test failed."""
    report = yield
    report.user_properties.extend(("figure", text) for text in _figures)
    _figures.clear()
    labs = [lab for arg in item.funcargs.values() if isinstance(lab := getattr(arg, "lab", None), Lab)]
    if report.failed:
        # A lab that went with its last test leaves its logs, but not where they are.
        for machine in (machine for lab in labs if lab.exists for machine in lab.machines):
            for service in machine.services:
                report.sections.append((f"{service} on {machine.name}", tail(machine.log(service), 25)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    if figures := [str(text) for name, text in properties if name == "figure"]:
        terminalreporter.section("figures")
        for text in sorted(figures):
            terminalreporter.write_line(text)
