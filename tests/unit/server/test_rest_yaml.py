"""What is applied, as it is sent: YAML, and mostly JSON."""

from __future__ import annotations

import pytest

from controlplane.server import rest_yaml
from mizzen.api.errors import BadRequest


def test_what_is_applied_is_json_or_yaml() -> None:
    assert rest_yaml.applied(b'{"a": [1, null]}') == ({"a": [1, None]}, ())
    yaml = b"a: 2024-01-01\nb: {c: yes}\n1: 2\ntrue: 3\n"
    assert rest_yaml.applied(yaml) == ({"a": "2024-01-01", "b": {"c": True}, "1": 2, "true": 3}, ())


def test_what_stands_there_twice_is_told() -> None:
    value, twice = rest_yaml.applied(b'{"a":1,"b":{"c":1,"c":2},"a":3}')
    assert value == {"a": 3, "b": {"c": 2}}
    assert twice == ('key "c" already set in map', 'key "a" already set in map')
    assert rest_yaml.applied(b"a: 1\na: 2\n")[1] == ('yaml: line 2: key "a" already set in map',)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"a", b"a: [", b"a: b: c", b"\xff\xfe", b"{'a': 1}: 2\n- 3", b'{"a":NaN}', b"a: &x [*x]",
        b"[" * 100_000, b'{"a":' * 100_000, b"a: 1\n---\nb: 1\n", b"a: !!python/object:os.system {}",
    ],
)  # fmt: skip
def test_bodies_that_are_no_object_are_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        rest_yaml.applied(body)
