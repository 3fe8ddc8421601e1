"""What people call things: `po`, `deploy/web`, `services web api`, `widgets.example.com`.

Kinds that users define are known to the cluster alone, so it is asked for words that no kind of the table is called by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from mizzen.api import kinds
from mizzen.api.kinds import Kind

Others: TypeAlias = Callable[[], Sequence[Kind[Any]]]
"""Finds the kinds that are not in the table."""


class NameProblem(ValueError):
    """The words do not name a resource."""


def kind_called(word: str, others: Others) -> Kind[Any]:
    """The kind of a word: plural, singular, short name, kind, or with its group. Raises NameProblem."""
    wanted = word.lower()
    found = _called(wanted, kinds.KINDS) or _called(wanted, others())
    if found is not None:
        return found
    known = ", ".join(sorted({kind.plural for kind in (*kinds.KINDS, *others())}))
    raise NameProblem(f'the server doesn\'t have a resource type "{word}"; there are: {known}')


def _called(wanted: str, among: Iterable[Kind[Any]]) -> Kind[Any] | None:
    for kind in among:
        versioned = f"{kind.plural}.{kind.version}.{kind.group}"
        if wanted in (kind.plural, kind.singular, kind.kind.lower(), kind.resource, versioned, *kind.short_names):
            return kind
    return None


def targets(words: Sequence[str], others: Others) -> list[tuple[Kind[Any], str]]:
    """`deploy/web svc/web` or `pods a b`: every object that is named. Raises NameProblem."""
    if not words:
        raise NameProblem("name something, for example: pod/web-1, or: deployment web")
    if all("/" in word for word in words):
        return [_pair(word, others) for word in words]
    if any("/" in word for word in words):
        raise NameProblem("name either TYPE NAME... or TYPE/NAME TYPE/NAME..., not both")
    kind = kind_called(words[0], others)
    if len(words) == 1:
        raise NameProblem(f"name the {kind.plural} that you mean, for example: {kind.singular}/web")
    return [(kind, name) for name in words[1:]]


def _pair(word: str, others: Others) -> tuple[Kind[Any], str]:
    kind, _, name = word.partition("/")
    if not name or "/" in name:
        raise NameProblem(f"{word!r} must be like TYPE/NAME, for example deployment/web")
    return kind_called(kind, others), name


def label(kind: Kind[Any], name: str) -> str:
    """What an object is called in messages: `pod/web-1`, `deployment.apps/web`."""
    return f"{kind.singular}{'.' + kind.group if kind.group else ''}/{name}"


def _nobody() -> Sequence[Kind[Any]]:
    """Nothing beside the table: what is meant is in it."""
    return ()


def pod_called(word: str) -> str:
    """The pod of `web-1`, `pod/web-1` or `po/web-1`. Raises NameProblem."""
    if "/" not in word:
        return word
    kind, name = _pair(word, _nobody)
    if kind is not kinds.POD:
        raise NameProblem(f"{word!r} is no pod; `mizzen get pods` shows what there is")
    return name


def target(words: Sequence[str], others: Others) -> tuple[Kind[Any], str]:
    """Exactly one object. Raises NameProblem."""
    found = targets(words, others)
    if len(found) != 1:
        raise NameProblem("name exactly one object, for example: deployment/web")
    return found[0]
