"""The house rules hold for the whole repository. Every violation is listed with its place and what to do."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.architecture.rules import RULES, Rule, Violation, missing_readmes
from tests.architecture.source import Source, contract, repository


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """All text files of the repository."""
    return repository()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule: Rule, sources: list[Source]) -> None:
    """Each rule over each file."""
    report(violation for source in sources for violation in rule(source))


def test_every_package_explains_itself(sources: list[Source]) -> None:
    """README.md and __init__.py stand where they should."""
    report(missing_readmes(sources))


def test_every_reconciler_is_under_contract(sources: list[Source]) -> None:
    """A reconciler that nobody listed would be free to import the others."""
    listed = contract("reconcilers")["modules"]
    found = [s for s in sources if s.module.startswith("controlplane.reconcilers.") and "def reconcile(" in s.text]
    report(
        Violation(s.path, 1, "list it in .importlinter, contract `reconcilers`")
        for s in found
        if s.is_module and s.module not in listed
    )


def report(violations: Iterable[Violation]) -> None:
    """Fail with one line per violation."""
    lines = [str(violation) for violation in violations]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_every_decision_has_a_number_of_its_own(sources: list[Source]) -> None:
    """Two that were made at the same time may have taken the same one."""
    taken: dict[str, Source] = {}
    decisions = [s for s in sources if s.path.startswith("docs/decisions/")]
    assert decisions
    report(
        Violation(s.path, 1, f"{taken[number].path} has this number; take the next free one")
        for s in decisions
        if taken.setdefault(number := s.path.split("/")[-1][:4], s) is not s
    )
