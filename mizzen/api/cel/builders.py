"""`Object{...}` and `JSONPatch{...}`: how mutations write objects, turned into maps, which the language has.

`Object{spec: Object.spec{replicas: 3}}` becomes `{"spec": {"replicas": 3}}`; a type's name must be the path of the
field that it stands in. The tokens of the language are enough for that; what is in texts and comments stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mizzen.api.cel import tokens

OBJECT, PATCH = "Object", "JSONPatch"
_PATCH_FIELDS = ("op", "path", "from", "value")
_ESCAPED = re.compile(r"__(underscores|dot|dash|slash)__")
_PLAIN = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}
_RESERVED = re.compile(r"__([a-z]+)__")


class BadBuilder(ValueError):
    """An object cannot be built so."""


@dataclass(slots=True)
class _Open:
    """A brace that is open."""

    closing: str
    built: str
    """The type's name; empty for a map, a list or parentheses."""
    at_name: bool = False
    field: str = ""


def as_maps(text: str) -> tuple[str, frozenset[str]]:
    """The expression with maps for built objects, and the types that it builds. Raises BadBuilder."""
    found = tokens.of(text)
    out: list[str] = []
    stack: list[_Open] = []
    used: set[str] = set()
    i = 0
    while i < len(found):
        kind, token = found[i]
        if kind == "name" and (end := _builder(found, i)):
            name = "".join(part for form, part in found[i:end] if form != "skip")
            _check_place(name, stack)
            used.add(name.partition(".")[0])
            stack.append(_Open("}", name, at_name=True))
            out.append("{")
            i = end + 1
            continue
        if kind == "other" and token in "([{":
            stack.append(_Open(tokens.CLOSING[token], ""))
        elif kind == "other" and stack and token == stack[-1].closing:
            stack.pop()
        elif stack and stack[-1].built:
            token = _within(stack[-1], kind, token)
        out.append(token)
        i += 1
    return "".join(out), frozenset(used)


def _builder(found: list[tokens.Token], i: int) -> int:
    """Where the brace stands that a builder's name ends at; 0 where no builder begins."""
    before = next((token for kind, token in reversed(found[:i]) if kind != "skip"), "")
    if found[i][1] not in (OBJECT, PATCH) or before == ".":
        return 0
    wants_name = False
    for place in range(i + 1, len(found)):
        kind, token = found[place]
        if kind == "skip":
            continue
        if wants_name:
            if kind not in ("name", "quoted"):
                return 0
            wants_name = False
        elif token == ".":
            wants_name = True
        else:
            return place if token == "{" else 0
    return 0


def _check_place(name: str, stack: list[_Open]) -> None:
    if name == PATCH:
        return
    if name.startswith(PATCH):
        raise BadBuilder(f"undeclared reference to '{name}' (in container '')")
    outer = next((one for one in reversed(stack) if one.built), None)
    wanted = f"{outer.built}.{outer.field}" if outer and outer.built != PATCH else OBJECT
    if outer is not None and outer.built != PATCH and name != wanted:
        raise BadBuilder(f"unexpected type name {name!r}, expected {wanted!r}, which matches field name path")


def _within(open_: _Open, kind: str, token: str) -> str:
    if open_.at_name and kind in ("name", "quoted"):
        open_.at_name = False
        open_.field = token
        name = token.strip("`") if kind == "quoted" else _unescaped(token)
        if open_.built == PATCH and name not in _PATCH_FIELDS:
            raise BadBuilder(f"undefined field '{name}'")
        return f'"{name}"'
    if token == ",":
        open_.at_name = True
    return token


def _unescaped(name: str) -> str:
    if found := _RESERVED.fullmatch(name):
        return found[1] if found[1] not in _PLAIN else _PLAIN[found[1]]
    return _ESCAPED.sub(lambda one: _PLAIN[one[1]], name)
