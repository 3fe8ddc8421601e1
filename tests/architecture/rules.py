"""The house rules that no linter knows, each a function from a file to its violations.

A message says what to do instead. `test_tidy.py` runs the rules over the repository, `test_rules.py` shows that each
one catches what it is for. Complexity, import order and types are left to ruff and mypy, imports to import-linter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TypeVar

from tests.architecture.source import Source

N = TypeVar("N", bound=ast.AST)

MODULE_LINES = 500
FUNCTION_LINES = 60

OWNED_LIBRARIES = {
    "aetcd": ("controlplane.store.*",),
    "docker": ("nodeagent.runtime.docker*",),
}
"""Libraries that only one place may import, so that the rest can run against a twin."""

NO_REASON = "say why: reason=... tells the reader of a test run what is missing on this machine"
AMBIENT = {
    "datetime.now": "take `now: Instant` as an argument",
    "datetime.utcnow": "take `now: Instant` as an argument",
    "datetime.today": "take `now: Instant` as an argument",
    "date.today": "take `now: Instant` as an argument",
    "open": "let the driver read and write files, and pass values",
    "print": "return a value and let the driver show it",
    "input": "take a value as an argument",
    "hash": "it differs from process to process for text; use a digest or compare values",
    "id": "it differs from run to run; compare values or names",
}
ORDERLESS = ("sorted", "set", "frozenset", "sum", "min", "max", "any", "all", "len")
Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS: tuple[type[Function], ...] = (ast.FunctionDef, ast.AsyncFunctionDef)
DECORATED: tuple[type[Function | ast.ClassDef], ...] = (*FUNCTIONS, ast.ClassDef)
WAITS: tuple[type[ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith], ...] = (
    ast.AsyncFunctionDef,
    ast.Await,
    ast.AsyncFor,
    ast.AsyncWith,
)
LOOPS: tuple[type[ast.For | ast.comprehension], ...] = (ast.For, ast.comprehension)
COMPREHENSIONS = (ast.SetComp, ast.GeneratorExp, ast.ListComp)
MARKS = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.~$}])/(?:work|root|home|Users)/")


@dataclass(frozen=True)
class Violation:
    """One broken rule at one place."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


Rule = Callable[[Source], Iterator[Violation]]


def module_length(source: Source) -> Iterator[Violation]:
    """A module says one thing."""
    lines = source.text.count("\n")
    if source.is_module and lines > MODULE_LINES:
        yield Violation(source.path, 1, f"{lines} lines, cap {MODULE_LINES}: split it by meaning")


def function_length(source: Source) -> Iterator[Violation]:
    """A function fits on a screen."""
    for node in _nodes(source, FUNCTIONS):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield Violation(source.path, node.lineno, f"{node.name} has {lines} lines, cap {FUNCTION_LINES}: split it")


def pure_is_synchronous(source: Source) -> Iterator[Violation]:
    """A decision never waits."""
    if source.is_pure:
        for node in _nodes(source, WAITS):
            yield Violation(source.path, node.lineno, "pure code does not wait: return effects, let the driver perform")


def pure_is_closed(source: Source) -> Iterator[Violation]:
    """A decision sees nothing but its arguments."""
    if source.is_pure:
        for node in _nodes(source, (ast.Call,)):
            called = ast.unparse(node.func)
            for name, instead in AMBIENT.items():
                if called == name or ("." in name and called.endswith(f".{name}")):
                    yield Violation(source.path, node.lineno, f"pure code does not call {name}(): {instead}")


def pure_is_ordered(source: Source) -> Iterator[Violation]:
    """A decision does not depend on the order in which a set happens to be walked."""
    if source.is_pure:
        for node in _nodes(source, LOOPS):
            if _is_set(node.iter) and not _feeds_a_set(source, node):
                yield Violation(source.path, node.iter.lineno, "the order of a set is not fixed: walk sorted(...)")


def docstrings(source: Source) -> Iterator[Violation]:
    """A reader learns what a thing is for before how it works."""
    if not source.is_product:
        return
    if not ast.get_docstring(source.tree):
        yield Violation(source.path, 1, "no module docstring: say why it exists and what it is not")
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        overload = any(ast.unparse(decorator) in ("overload", "typing.overload") for decorator in node.decorator_list)
        if not overload and not ast.get_docstring(node):
            yield Violation(source.path, node.lineno, f"{node.name} is public and has no docstring")


def no_swallowed_errors(source: Source) -> Iterator[Violation]:
    """An error that nobody expected is never dropped in silence."""
    advice = "name the errors you expect, or log and count the unexpected ones"
    for node in _nodes(source, (ast.ExceptHandler,)):
        idle = all(isinstance(step, ast.Pass | ast.Continue) or _is_ellipsis(step) for step in node.body)
        if idle and (node.type is None or _catches_all(node.type)):
            yield Violation(source.path, node.lineno, f"swallows every error: {advice}")
    for call in _nodes(source, (ast.Call,)):
        if ast.unparse(call.func).endswith("suppress") and any(_catches_all(arg) for arg in call.args):
            yield Violation(source.path, call.lineno, f"suppresses every error: {advice}")


def tests_do_not_sleep(source: Source) -> Iterator[Violation]:
    """A test waits for a condition with a deadline, never for a duration."""
    if source.is_test:
        for node in _nodes(source, (ast.Call,)):
            if ast.unparse(node.func) == "time.sleep":
                yield Violation(source.path, node.lineno, "wait for the condition instead: deploy.shell.wait_for")


def skips_have_reasons(source: Source) -> Iterator[Violation]:
    """Whoever reads a test run learns why a test did not run."""
    if not source.is_test:
        return
    for node in _nodes(source, (ast.Call,)):
        called = ast.unparse(node.func)
        named = any(keyword.arg == "reason" for keyword in node.keywords)
        if called in ("pytest.skip", "pytest.xfail") and not (node.args or named):
            yield Violation(source.path, node.lineno, NO_REASON)
        if called in ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail") and not named:
            yield Violation(source.path, node.lineno, NO_REASON)
    for function in _nodes(source, DECORATED):
        for decorator in function.decorator_list:
            if ast.unparse(decorator) in ("pytest.mark.skip", "pytest.mark.xfail"):
                yield Violation(source.path, decorator.lineno, NO_REASON)


def owned_libraries(source: Source) -> Iterator[Violation]:
    """Some libraries have one door."""
    if not source.is_product:
        return
    for line, name in _imports(source):
        owners = OWNED_LIBRARIES.get(name.split(".")[0])
        if owners and not any(fnmatch(source.module, owner) for owner in owners):
            yield Violation(source.path, line, f"only {' and '.join(owners)} may import {name}: go through its port")


def finished(source: Source) -> Iterator[Violation]:
    """What is left to do stands in the issue tracker, not in the code."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if source.path != "tests/architecture/rules.py" and (mark := MARKS.search(line)):
            yield Violation(source.path, number, f"{mark.group()}: do it now or open an issue")


def runs_anywhere(source: Source) -> Iterator[Violation]:
    """Nothing refers to the folders of one person's machine."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if path := MACHINE_PATHS.search(line):
            yield Violation(source.path, number, f"{path.group()}... is a path of one machine: derive or configure it")


RULES: tuple[Rule, ...] = (
    module_length,
    function_length,
    pure_is_synchronous,
    pure_is_closed,
    pure_is_ordered,
    docstrings,
    no_swallowed_errors,
    tests_do_not_sleep,
    skips_have_reasons,
    owned_libraries,
    finished,
    runs_anywhere,
)


def missing_readmes(sources: list[Source]) -> Iterator[Violation]:
    """A package with code explains its flow and its words in a README.md beside it."""
    paths = {source.path for source in sources}
    folders = sorted({source.path.rpartition("/")[0] for source in sources if source.is_product})
    for folder in folders:
        modules = [path for path in paths if path.rpartition("/")[0] == folder and path.endswith(".py")]
        if f"{folder}/__init__.py" not in paths:
            yield Violation(folder, 1, "no __init__.py: an installed package would miss it")
        if len(modules) > 1 and f"{folder}/README.md" not in paths:
            yield Violation(folder, 1, "no README.md: describe the flow and the vocabulary of the package")


def _nodes(source: Source, kinds: tuple[type[N], ...]) -> Iterator[N]:
    if source.is_module:
        for node in ast.walk(source.tree):
            if isinstance(node, kinds):
                yield node


def _imports(source: Source) -> Iterator[tuple[int, str]]:
    for node in _nodes(source, (ast.Import,)):
        yield from ((node.lineno, alias.name) for alias in node.names)
    for origin in _nodes(source, (ast.ImportFrom,)):
        if origin.module and not origin.level:
            yield origin.lineno, origin.module


def _is_set(node: ast.expr) -> bool:
    """Whether the expression is visibly a set; what a name stands for is not followed."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("set", "frozenset")
    return isinstance(node, ast.Set | ast.SetComp)


def _feeds_a_set(source: Source, loop: ast.For | ast.comprehension) -> bool:
    """A comprehension whose result has no order either, or is put in order at once, may walk a set."""
    for node in ast.walk(source.tree):
        parts: list[ast.expr] = [node] if isinstance(node, ast.SetComp) else []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ORDERLESS:
            parts = node.args
        if any(isinstance(part, COMPREHENSIONS) and loop in part.generators for part in parts):
            return True
    return False


def _catches_all(node: ast.expr) -> bool:
    return ast.unparse(node) in ("Exception", "BaseException")


def _is_ellipsis(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) and step.value.value is Ellipsis
