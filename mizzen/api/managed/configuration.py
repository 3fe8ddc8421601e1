"""What a client applies, as it is sent: YAML, and mostly JSON, which is YAML."""

from __future__ import annotations

import json
from typing import Any

import yaml

from mizzen.api.errors import BadRequest
from mizzen.api.managed.values import Json

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

NODES_MAX = 500_000
"""Most values in a configuration. References can make a short text a huge document."""


class _Loader(SafeLoader):
    """Reads YAML as clients of the API mean it: dates stay texts, keys are texts, and repeated keys are noticed."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        name = key if isinstance(key, str) else json.dumps(key, default=str)
        if name in result:
            line = key_node.start_mark.line + 1
            loader.repeated.append(f'line {line}: key "{name}" already set in map')
        result[name] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
}


def read(body: bytes) -> tuple[Json, list[str]]:
    """The configuration in a body, and the keys that stand in it twice. Raises BadRequest."""
    try:
        value, repeated = _read_json(body)
    except ValueError:
        value, repeated = _read_yaml(body)
    except RecursionError as error:
        raise _undecodable("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise _undecodable("an object is applied, so the document must be a mapping")
    return value, repeated


def _read_json(body: bytes) -> tuple[Any, list[str]]:
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> Json:
        value = dict(found)
        if len(value) != len(found):
            names = [name for name, _ in found]
            again = dict.fromkeys(name for i, name in enumerate(names) if name in names[:i])
            repeated.extend(f'key "{name}" already set in map' for name in again)
        return value

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    return json.loads(body, object_pairs_hook=pairs, parse_constant=refuse), repeated


def _read_yaml(body: bytes) -> tuple[Any, list[str]]:
    try:
        loader = _Loader(body)
        value = loader.get_single_data()
        _count(value, [NODES_MAX])
        return value, loader.repeated
    except (yaml.YAMLError, ValueError) as error:
        raise _undecodable(str(error)) from error
    except RecursionError as error:
        raise _undecodable("it is nested too deeply") from error


def _count(value: Any, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise _undecodable(f"it has more than {NODES_MAX} values")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _count(inner, left)


def _undecodable(why: str) -> BadRequest:
    return BadRequest(f"error decoding YAML: {why}")
