"""The JSON paths that columns of custom resources are written in: `.spec.ports[0].name`, `.items[*].id`.

Names, quoted names, indexes, slices, `*`, `..` and filters such as `[?(@.type=="Ready")]`: what Kubernetes' documents
use. A path gives all values that it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterable[Any]]

DEPTH_MAX = 64
"""How deep `..` looks."""
_TOKEN = re.compile(
    r"""
    (?P<deep>\.\.(?=[\w*\[-]))
    | \.(?P<name>(?:[\w$/-]|\\.)+)
    | (?P<bare>(?:[\w$/-]|\\.)+)
    | \.?(?P<all>\*|\[\*\])
    | \[(?P<slice>-?\d*:-?\d*)\]
    | \[(?P<index>-?\d+)\]
    | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]
    | \[\?\((?P<filter>[^\[\]]*(?:\['[^']*'\][^\[\]]*)*)\)\]
    """,
    re.VERBOSE,
)
_FILTER = re.compile(r"\s*@(?P<path>[^\s=!<>]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class BadPath(ValueError):
    """The text is no JSON path."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path that has been understood."""

    steps: tuple[Step, ...]

    def find(self, value: Any) -> list[Any]:
        """All values that the path finds, in order."""
        found = [value]
        for step in self.steps:
            found = [item for one in found for item in step(one)]
        return found


@lru_cache(maxsize=1024)
def parse(text: str) -> Path:
    """The path that a text means. Raises BadPath."""
    steps: list[Step] = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None or (found["bare"] and not (place == 0 or text[place - 2 : place] == "..")):
            raise BadPath(f"can't understand {text[place:]!r} in the path {text!r}")
        steps.append(_step(found, text))
        place = found.end()
    return Path(tuple(steps))


def _step(found: re.Match[str], text: str) -> Step:
    if found["deep"]:
        return lambda value: _below(value, 0)
    if found["all"]:
        return lambda value: list(value.values()) if isinstance(value, Mapping) else value if _is_list(value) else ()
    if found["slice"] is not None:
        first, last = (int(part) if part else None for part in found["slice"].split(":"))
        return lambda value: value[first:last] if _is_list(value) else ()
    if found["index"] is not None:
        return _at(int(found["index"]))
    if found["filter"] is not None:
        return _filter(found["filter"], text)
    name = found["name"] or found["bare"] or found["quoted"] or ""
    return _named(name.replace("\\", "") if found["quoted"] is None else name)


def _named(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, Mapping) and name in value else ()


def _at(index: int) -> Step:
    return lambda value: [value[index]] if _is_list(value) and -len(value) <= index < len(value) else ()


def _filter(text: str, whole: str) -> Step:
    found = _FILTER.fullmatch(text)
    if found is None:
        raise BadPath(f"can't understand the filter {text!r} in the path {whole!r}")
    path = parse(found["path"])
    operator, literal = found["op"], _literal(found["value"] or "", whole)

    def passes(item: Any) -> bool:
        values = path.find(item)
        if operator is None or not values:
            return bool(values)
        try:
            return _COMPARE[operator](values[0], literal)
        except TypeError:
            return False

    return lambda value: [item for item in value if passes(item)] if _is_list(value) else ()


def _literal(text: str, whole: str) -> Any:
    if not text:
        return None
    if text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise BadPath(f"can't understand {text!r} in the path {whole!r}") from None


def _below(value: Any, depth: int) -> Iterator[Any]:
    yield value
    items = value.values() if isinstance(value, Mapping) else value if _is_list(value) else ()
    if depth < DEPTH_MAX:
        for item in items:
            yield from _below(item, depth + 1)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
