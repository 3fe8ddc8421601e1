"""Macros and functions that the evaluator lacks, written with those that it has.

It knows neither macros of ours nor optional results of our functions, and it lets nobody add overloads to functions of
its own. So these are rewritten before an expression is compiled:

- `x.transformMap(k, v, ...)` and `x.transformMapEntry(k, v, ...)`: as lists, which a function makes a map of;
- `format.named(n)` and `f.validate(text)`: what they find, as an optional value;
- `optional.unwrap(list)`, `list.unwrapOpt()`, `x.existsOne(v, ...)`: with other macros;
- `indexOf` and `lastIndexOf`, also of lists, `lists.range` within a bound, `string` of addresses: by functions of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mizzen.api.cel import tokens

MAPPED, MERGED, RANGE, SHOWN = "kubernetes.mapped", "kubernetes.merged", "kubernetes.range", "kubernetes.shown"
RENAMED = {"indexOf": "indexOf_", "lastIndexOf": "lastIndexOf_"}
_CALLS = (
    "transformMap", "transformMapEntry", "named", "validate", "unwrap", "unwrapOpt", "existsOne", "range", "string",
    *RENAMED,
)  # fmt: skip
_CONCERNED = re.compile(rf"\b(?:{'|'.join(_CALLS)})\s*\(")
_ADDRESSES = re.compile(r"\b(?:ip|cidr)\s*\(")
_OPTIONAL = "optional.ofNonZeroValue({})"
_UNWRAPPED = "{}.filter(kubernetes_one, kubernetes_one.hasValue()).map(kubernetes_one, kubernetes_one.value())"
_PAIRED, _FILTERED = 3, 4
"""Arguments of a macro with two variables, without and with a filter."""


@dataclass(slots=True)
class _Part:
    """A token, or what stands between two brackets."""

    kind: str
    text: str
    inner: list[_Part] = field(default_factory=list)
    """Of brackets; their kind is the opening one."""

    def __str__(self) -> str:
        return f"{self.kind}{_written(self.inner)}{tokens.CLOSING[self.kind]}" if self.kind in _OPEN else self.text


_OPEN = frozenset(tokens.CLOSING)


def expanded(text: str) -> str:
    """The expression without what the evaluator lacks; one with brackets that do not match stays, for the compiler."""
    if not _CONCERNED.search(text):
        return text
    parts = _nested(tokens.of(text))
    return text if parts is None else _rewritten(parts, addresses=_ADDRESSES.search(text) is not None)


def _nested(found: list[tokens.Token]) -> list[_Part] | None:
    stack: list[list[_Part]] = [[]]
    for kind, token in found:
        if kind == "other" and token in _OPEN:
            part = _Part(token, "")
            stack[-1].append(part)
            stack.append(part.inner)
        elif kind == "other" and token in tokens.CLOSING.values():
            stack.pop()
            if not stack or tokens.CLOSING[stack[-1][-1].kind] != token:
                return None
        else:
            stack[-1].append(_Part(kind, token))
    return stack[0] if len(stack) == 1 else None


def _rewritten(parts: list[_Part], *, addresses: bool) -> str:
    """Parts from left to right: whatever a call stands on has been rewritten before."""
    done: list[_Part] = []
    for part in parts:
        if part.kind in _OPEN:
            part.inner = _arguments(part, addresses=addresses)
        done.append(part)
        if part.kind == "(":
            _replace_call(done, addresses=addresses)
    return _written(done)


def _arguments(part: _Part, *, addresses: bool) -> list[_Part]:
    """What stands in brackets, one part for each argument and each comma."""
    groups: list[list[_Part]] = [[]]
    for piece in part.inner:
        if piece.text == "," and piece.kind == "other":
            groups.append([])
        else:
            groups[-1].append(piece)
    made: list[_Part] = []
    for i, group in enumerate(groups):
        if i:
            made.append(_Part("other", ","))
        made.append(_Part("done", _rewritten(group, addresses=addresses)))
    return made


def _replace_call(done: list[_Part], *, addresses: bool) -> None:
    """Put what a call means in its place, where the evaluator has no such call."""
    at = _before(done, len(done) - 1)
    if at is None or done[at].kind != "name" or done[at].text not in _CALLS:
        return
    name = done[at].text
    given = [part.text for part in done[-1].inner if part.kind == "done"]
    dot = _before(done, at)
    if dot is None or done[dot].text != ".":
        if name == "string" and addresses:
            done[-1].inner = [_Part("done", f"{SHOWN}({given[0]})")]
        return
    if name in RENAMED:
        done[at].text = RENAMED[name]
        return
    start = _start(done, dot)
    on = _written(done[start:dot])
    meant = _meant(name, on.strip(), given)
    if meant is not None:
        lead = on[: len(on) - len(on.lstrip())]
        done[start:] = [_Part("done", lead + meant)]


def _meant(name: str, on: str, given: list[str]) -> str | None:
    pairs = len(given) in (_PAIRED, _FILTERED)
    match name:
        case "transformMap" if pairs:
            key, value = given[0].strip(), given[-1]
            before = ",".join(given[:-1])
            return f"{MAPPED}({on}.transformList({before}, [dyn({key}), dyn({value})]))"
        case "transformMapEntry" if pairs:
            return f"{MERGED}({on}.transformList({','.join(given)}))"
        case "validate":
            return _OPTIONAL.format(f"{on}.validate({','.join(given)})")
        case "named" if on == "format":
            return _OPTIONAL.format(f"format.named({','.join(given)})")
        case "range" if on == "lists":
            return f"{RANGE}({','.join(given)})"
        case "unwrap" if on == "optional" and len(given) == 1:
            return _UNWRAPPED.format(f"({given[0]})")
        case "unwrapOpt" if not given[0].strip():
            return _UNWRAPPED.format(on)
        case "existsOne" if len(given) == _PAIRED - 1:
            return f"{on}.exists_one({','.join(given)})"
        case _:
            return None


def _start(done: list[_Part], dot: int) -> int:
    """Where what a dot stands behind begins."""
    at = _before(done, dot)
    while at is not None:
        before = _before(done, at)
        if done[at].kind in _OPEN and before is not None and _may_precede(done[before], done[at].kind):
            at = before
        elif before is not None and done[at].kind in ("name", "quoted") and _is_dot(done, before):
            at = _before(done, before if done[before].text == "." else before - 1)
        else:
            return at
    return 0


def _may_precede(part: _Part, bracket: str) -> bool:
    """Whether brackets behind a part belong to it: a call, an index, or a message."""
    if part.kind == "name":
        return part.text != "in"
    return bracket == "[" and part.kind in ("quoted", "text", "done", *_OPEN)


def _is_dot(done: list[_Part], at: int) -> bool:
    return done[at].text == "." or (done[at].text == "?" and at > 0 and done[at - 1].text == ".")


def _before(done: list[_Part], at: int) -> int | None:
    """The part before one, without space and comments."""
    return next((i for i in range(at - 1, -1, -1) if done[i].kind != "skip"), None)


def _written(parts: list[_Part]) -> str:
    return "".join(map(str, parts))
