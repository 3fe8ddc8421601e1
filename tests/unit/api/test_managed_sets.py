"""Sets of fields: as text, as paths, and as sets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mizzen.api.managed import sets

WEB = 'k:{"name":"web"}'
PORT = 'k:{"containerPort":80,"protocol":"TCP"}'


def tree(*paths: str) -> sets.Node:
    """The set of these paths, whose steps are separated by blanks."""
    result: sets.Node = {}
    for path in paths:
        node: sets.Node = {}
        for step in reversed(path.split(" ")):
            node = {step: node}
        result = sets.union(result, node)
    return result


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ({}, []),
        ({"f:a": {}}, [".a"]),
        ({"f:a": {"f:b": {}, "f:c": {}}}, [".a.b", ".a.c"]),
        ({"f:a": {".": {}, "f:b": {}}}, [".a", ".a.b"]),
        ({"f:l": {WEB: {".": {}, "f:image": {}}}}, ['.l[name="web"]', '.l[name="web"].image']),
        ({"f:p": {PORT: {}}}, ['.p[containerPort=80,protocol="TCP"]']),
        ({"f:s": {'v:"a"': {}, "v:1": {}}}, ['.s[="a"]', ".s[=1]"]),
        ({"f:s": {"i:0": {}}}, [".s[0]"]),
    ],
)
def test_paths_of_a_text(text: Any, paths: list[str]) -> None:
    fields = sets.parse(json.dumps(text).encode())
    assert list(sets.paths(fields)) == paths
    assert sets.parse(sets.text(fields)) == fields


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ({"f:l": {'k:{ "protocol": "TCP", "containerPort": 80 }': {}}}, {"f:l": {PORT: {}}}),
        ({"f:a": {".": {}}}, {"f:a": {}}),
        ({".": {}, "f:a": {}}, {"f:a": {}}),
        ({"f:s": {'v: "a"': {}}}, {"f:s": {'v:"a"': {}}}),
    ],
)
def test_texts_of_clients_become_canonical(given: Any, canonical: Any) -> None:
    assert sets.parse(json.dumps(given).encode()) == canonical


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"1", b'{"a":{}}', b'{"x:a":{}}', b'{"f:a":1}', b'{"f:a":null}', b'{"k:[]":{}}',
        b'{"k:{}":{}}', b'{"i:x":{}}', b'{"i:true":{}}', b'{"v:":{}}', b'{":a":{}}',
        b'{"f:a":' * 5000 + b"{}" + b"}" * 5000, b'"\xff"',
    ],
)  # fmt: skip
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(sets.BadFields):
        sets.parse(text)


def test_sets_are_sets() -> None:
    left = tree("f:a", "f:b f:c", "f:l " + WEB, f"f:l {WEB} f:image")
    right = tree("f:b f:c", "f:b f:d", f"f:l {WEB}")
    assert list(sets.paths(sets.union(left, right))) == [
        ".a", ".b.c", ".b.d", '.l[name="web"]', '.l[name="web"].image',
    ]  # fmt: skip
    assert list(sets.paths(sets.intersection(left, right))) == [".b.c", '.l[name="web"]']
    assert list(sets.paths(sets.difference(left, right))) == [".a", '.l[name="web"].image']
    assert sets.difference(left, left) == {}


def test_a_member_that_goes_leaves_what_is_below_it() -> None:
    assert sets.difference({"f:a": {".": {}, "f:b": {}}}, {"f:a": {}}) == {"f:a": {"f:b": {}}}
    assert sets.difference({"f:a": {".": {}, "f:b": {}}}, {"f:a": {"f:b": {}}}) == {"f:a": {}}
    assert sets.union({"f:a": {}}, {"f:a": {"f:b": {}}}) == {"f:a": {".": {}, "f:b": {}}}
    assert sets.union({"f:a": {"f:b": {}}}, {"f:a": {}}) == {"f:a": {".": {}, "f:b": {}}}


def test_what_changes_nothing_gives_back_the_same_set() -> None:
    left = tree("f:a", "f:b f:c")
    assert sets.union(left, tree("f:b f:c")) is left
    assert sets.difference(left, tree("f:x", "f:b f:d", "f:b")) is left
