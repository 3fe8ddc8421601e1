"""Every house rule bites: a sample that breaks it is caught, its well-behaved twin is not."""

from __future__ import annotations

import pytest

from tests.architecture import rules
from tests.architecture.rules import RULES, Rule, missing_readmes
from tests.architecture.source import Source

PURE = "mizzen/engine/sample.py"
EDGE = "controlplane/server/sample.py"
TEST = "tests/unit/test_sample.py"
MARK = "TO" + "DO"
HOME = "/" + "root/somebody"

Case = tuple[Rule, str, str, str]
CASES: list[Case] = [
    (rules.module_length, PURE, "x = 1\n" * 501, "x = 1\n" * 500),
    (rules.function_length, PURE, "def f():\n" + "    x = 1\n" * 60, "def f():\n" + "    x = 1\n" * 59),
    (rules.pure_is_synchronous, PURE, "async def f(): ...", "def f(): ..."),
    (rules.pure_is_closed, PURE, "import datetime\nx = datetime.datetime.now()", "x = now.now()"),
    (rules.pure_is_closed, PURE, "x = open('file')", "x = shop.opening()"),
    (rules.pure_is_closed, PURE, "x = hash('text')", "x = digest('text')"),
    (rules.pure_is_ordered, PURE, "for x in {1, 2}: print(x)", "for x in (1, 2): print(x)"),
    (rules.pure_is_ordered, PURE, "y = [f(x) for x in set(names)]", "y = {f(x) for x in set(names)}"),
    (rules.pure_is_ordered, PURE, "y = list(x for x in frozenset(names))", "y = sorted(x for x in frozenset(names))"),
    (rules.docstrings, EDGE, "x = 1", '"""Why."""'),
    (rules.docstrings, EDGE, '"""Why."""\ndef f(): ...', '"""Why."""\ndef _f(): ...'),
    (rules.docstrings, EDGE, '"""Why."""\nclass C: ...', '"""Why."""\nclass C:\n    """What."""'),
    (rules.docstrings, EDGE, '"""Why."""\n@cache\ndef f(): ...', '"""Why."""\n@overload\ndef f(): ...'),
    (rules.no_swallowed_errors, EDGE, "try: f()\nexcept Exception: pass", "try: f()\nexcept KeyError: pass"),
    (rules.no_swallowed_errors, EDGE, "try: f()\nexcept: ...", "try: f()\nexcept Exception: log()"),
    (rules.no_swallowed_errors, EDGE, "with suppress(Exception): f()", "with suppress(KeyError): f()"),
    (rules.tests_do_not_sleep, TEST, "import time\ntime.sleep(1)", "wait_for('it', done, 1)"),
    (rules.skips_have_reasons, TEST, "import pytest\npytest.skip()", "import pytest\npytest.skip('no etcd')"),
    (rules.skips_have_reasons, TEST, "@pytest.mark.skip\ndef f(): ...", "@pytest.mark.skip(reason='x')\ndef f(): ..."),
    (rules.skips_have_reasons, TEST, "m = pytest.mark.skipif(True)", "m = pytest.mark.skipif(True, reason='x')"),
    (rules.owned_libraries, EDGE, "from aetcd.rpc import rpc_pb2", "from controlplane.store import port"),
    (rules.owned_libraries, EDGE, "import docker", "import dockerfile"),
    (rules.finished, EDGE, f"x = 1  # {MARK} later", "x = 1  # done"),
    (rules.runs_anywhere, "docs/page.md", f"see {HOME}/notes", "see ~/notes and /run/lock"),
]


@pytest.mark.parametrize(("rule", "path", "bad", "good"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_rule_bites(rule: Rule, path: str, bad: str, good: str) -> None:
    """One violation in the bad sample, with advice; none in the good one."""
    violations = list(rule(Source(path, bad)))
    assert len(violations) == 1, violations
    assert violations[0].path == path
    assert not list(rule(Source(path, good)))


def test_every_rule_has_a_sample() -> None:
    """A rule without a sample may have stopped working long ago."""
    assert {rule for rule, *_ in CASES} == set(RULES)


def test_rules_know_where_they_apply() -> None:
    """Edges may wait, product code may retry with a pause, only tests may not."""
    assert not list(rules.pure_is_synchronous(Source(EDGE, "async def f(): ...")))
    assert not list(rules.tests_do_not_sleep(Source(EDGE, "import time\ntime.sleep(1)")))
    assert not list(rules.owned_libraries(Source("controlplane/store/client.py", "import aetcd")))


def test_missing_readme_is_found() -> None:
    """A package with a module wants a README; an empty one does not yet."""
    empty = [Source("mizzen/new/__init__.py", "")]
    assert not list(missing_readmes(empty))
    filled = [*empty, Source("mizzen/new/thing.py", "")]
    assert len(list(missing_readmes(filled))) == 1
    assert not list(missing_readmes([*filled, Source("mizzen/new/README.md", "")]))
    assert len(list(missing_readmes([Source("mizzen/bare/thing.py", "")]))) == 1
