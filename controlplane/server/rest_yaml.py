"""YAML bodies, in and out.

What comes in is read event by event, never handed to a loader that makes whatever the text says: no aliases (a few
lines of them can stand for gigabytes), no tags, a bounded depth, keys that are texts, and times as the texts that they
are. What goes out is short; a long answer is written as JSON, which is YAML, too, and a hundred times faster.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from mizzen.api.errors import BadRequest, RequestEntityTooLarge

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

BODY_MAX_BYTES = 1024 * 1024
"""Largest YAML body; reading it takes some tenths of a second."""
DEPTH_MAX = 100
"""Deepest nesting."""
_BLOCK_MAX_BYTES = 64 * 1024
"""Longer answers are written in the flow style, as JSON."""
_READ_AS_TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
_STR = "tag:yaml.org,2002:str"


def written(body: bytes) -> bytes:
    """The YAML of a JSON text."""
    return body if len(body) > _BLOCK_MAX_BYTES else msgspec.yaml.encode(msgspec.json.decode(body))


def read(body: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON value of a YAML text, and the keys that it names twice. Raises BadRequest or RequestEntityTooLarge."""
    if len(body) > BODY_MAX_BYTES:
        raise RequestEntityTooLarge(f"limit of YAML is {BODY_MAX_BYTES}; send JSON")
    try:
        return _Reader(body.decode()).document()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise BadRequest(f"error converting YAML to JSON: {' '.join(str(error).split())}") from error


class _Reader:
    """Reads one document from the events of a YAML text."""

    def __init__(self, text: str) -> None:
        self._loader: Any = _Loader(text)
        self._twice: list[str] = []

    def document(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        loader = self._loader
        try:
            loader.get_event()  # the start of the stream
            if not loader.check_event(yaml.DocumentStartEvent):
                raise BadRequest("the body is empty; send an object")
            loader.get_event()
            value = self._value(loader.get_event(), 0)
            loader.get_event()
            if not loader.check_event(yaml.StreamEndEvent):
                raise BadRequest("the body holds several YAML documents; send one object at a time")
        finally:
            loader.dispose()
        if not isinstance(value, dict):
            raise BadRequest("the body is no object; send a mapping with apiVersion and kind")
        return value, tuple(self._twice)

    def _value(self, event: Any, depth: int) -> Any:
        where = f"line {event.start_mark.line + 1}"
        if depth > DEPTH_MAX:
            raise BadRequest(f"yaml: {where}: nested more than {DEPTH_MAX} deep")
        if isinstance(event, yaml.AliasEvent):
            raise BadRequest(f"yaml: {where}: aliases are not taken here; write the value out")
        if event.tag not in (None, "!"):
            raise BadRequest(f"yaml: {where}: tags such as {event.tag} are not taken here")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, where)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not self._loader.check_event(yaml.SequenceEndEvent):
                items.append(self._value(self._loader.get_event(), depth + 1))
            self._loader.get_event()
            return items
        return self._mapping(depth)

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            event: Any = self._loader.get_event()
            where = f"line {event.start_mark.line + 1}"
            if not isinstance(event, yaml.ScalarEvent):
                raise BadRequest(f"yaml: {where}: a key must be a text")
            key = _key(self._value(event, depth))
            if key in found:
                self._twice.append(f'yaml: {where}: key "{key}" already set in map')
            found[key] = self._value(self._loader.get_event(), depth + 1)
        self._loader.get_event()
        return found

    def _scalar(self, event: yaml.ScalarEvent, where: str) -> Any:
        if not event.implicit[0]:
            return event.value
        tag = self._loader.resolve(yaml.ScalarNode, event.value, (True, False))
        if tag == _STR or tag in _READ_AS_TEXT:
            return event.value
        value = self._loader.construct_object(yaml.ScalarNode(tag, event.value))
        if isinstance(value, float) and not float("-inf") < value < float("inf"):
            raise BadRequest(f"yaml: {where}: {event.value} is no number that JSON has")
        return value


def _key(value: Any) -> str:
    """Keys are texts in JSON; what YAML reads as something else becomes one again."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)
