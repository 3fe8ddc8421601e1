"""One OpenAPI v2 document out of several: our own, and what extension servers say of their groups and versions.

Of another's document only the paths of its own group and version count, and what these refer to. A definition of a
name that is taken by a different one gets a number behind its name, as kube-aggregator does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mizzen.api.openapi_schema import V2, Json


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What another server says of its paths; compared by identity, since documents are large."""

    prefix: str
    """Of its paths: `/apis/GROUP/VERSION`."""
    document: Json


def merged(own: Json, parts: Iterable[Part]) -> Json:
    """Our document with the paths of others; what in theirs is not as the format has it is left out."""
    paths, definitions = dict(own["paths"]), dict(own["definitions"])
    for part in parts:
        theirs = _objects(part.document.get("paths"))
        mine = {
            path: item for path, item in theirs.items() if path == part.prefix or path.startswith(f"{part.prefix}/")
        }
        known = _objects(part.document.get("definitions"))
        used = {name: known[name] for name in _used(mine, known) if name in known}
        names = {name: _free(name, definition, definitions) for name, definition in used.items()}
        definitions |= {names[name]: _renamed(definition, names) for name, definition in used.items()}
        paths |= {path: _renamed(item, names) for path, item in mine.items()}
    return {**own, "paths": dict(sorted(paths.items())), "definitions": definitions}


def _objects(value: Any) -> Mapping[str, Json]:
    """The entries of an object that are objects themselves."""
    return {name: one for name, one in value.items() if isinstance(one, dict)} if isinstance(value, dict) else {}


def _used(paths: Mapping[str, Json], known: Mapping[str, Json]) -> list[str]:
    """The names that paths refer to, also through other definitions, in the order in which they are met."""
    found: dict[str, None] = {}
    waiting = list(_references(paths))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting.extend(_references(known.get(name)))
    return list(found)


def _references(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(to := one.get("$ref"), str) and to.startswith(V2.references):
                yield to.removeprefix(V2.references)
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _free(name: str, definition: Json, taken: Mapping[str, Json]) -> str:
    """The name, or the first one with a number behind it that nothing else has."""
    found, number = name, 2
    while found in taken and taken[found] != definition:
        found, number = f"{name}_v{number}", number + 1
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        to = value.get("$ref")
        made = {key: _renamed(one, names) for key, one in value.items()}
        if isinstance(to, str) and (name := names.get(to.removeprefix(V2.references))) is not None:
            made["$ref"] = V2.references + name
        return made
    return [_renamed(one, names) for one in value] if isinstance(value, list) else value
