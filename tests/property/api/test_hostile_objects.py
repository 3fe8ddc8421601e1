"""Whatever a client sends, the answer is an object, a refusal or a list of errors, and never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizzen.api import codec, defaults, kinds, schema, validate
from mizzen.api.errors import BadRequest
from mizzen.api.schema import Field

HOSTILE = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

TEXTS = st.sampled_from(
    [
        "", "a", "web", "A_b", "..", "a/b", "x.y/z", "10.0.0.1", "::1", "10.0.0.0/8", "25%", "120%", "None", "Always",
        "ClusterIP", "ExternalName", "LoadBalancer", "RollingUpdate", "Recreate", "Localhost", "In", "Exists", "Gt",
        "TCP", "NoExecute", "kubernetes.io/tls", "IPv4", "v1", "metadata.labels['a']", "limits.cpu",
    ]
)  # fmt: skip
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**40, "x", [], {}, [None], {"a": None}, [[]], {"": ""}]
)
SCHEMA_VALUE = {"type": "string", "pattern": "(", "default": 1, "maximum": 1.0, "items": {"type": "object"}}
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "bool": st.booleans(),
    "int32": st.sampled_from([-1, 0, 1, 2, 80, 1.0, 70000]),
    "int64": st.sampled_from([-1, 0, 1, 30, 2**40]),
    "bytes": st.sampled_from(["", "AA==", "e30="]),
    "Quantity": st.sampled_from(["0", "1", "100m", "-1", "1.5Gi", 2, 0.5]),
    "IntOrString": st.sampled_from([0, 80, -1, "http", "25%", ""]),
    "Time": st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-01T01:00:00.5+01:00"]),
    "MicroTime": st.just("2024-01-01T00:00:00.123456Z"),
    "RawExtension": st.just({"a": [1]}),
    "FieldsV1": st.just({"f:a": {}}),
    "ExtraValue": st.lists(TEXTS, max_size=2),
    "double": st.sampled_from([-1, 0, 0.5, 10.0, 1e300]),
    "JSON": st.sampled_from(["a", 1, 1.5, True, {"a": [None]}, [], {}]),
    "JSONSchemaPropsOrArray": st.sampled_from([SCHEMA_VALUE, [SCHEMA_VALUE], {}, []]),
    "JSONSchemaPropsOrBool": st.sampled_from([SCHEMA_VALUE, True, False, {}]),
    "JSONSchemaPropsOrStringArray": st.sampled_from([SCHEMA_VALUE, ["a"], {}]),
}
RECURSIVE = "apiextensions_v1.JSONSchemaProps"


@st.composite
def messages(draw: st.DrawFn, name: str, depth: int) -> dict[str, Any]:
    """A value of a message, now and then with something wrong in it; scarcer the deeper."""
    fields = schema.message(name).fields
    if not fields or depth > 9:
        return {}
    chosen = draw(st.lists(st.sampled_from(fields), unique=True, max_size=4 if depth < 6 else 2))
    return {field.json_name: draw(values(field, depth + 1)) for field in chosen}


@st.composite
def values(draw: st.DrawFn, field: Field, depth: int) -> Any:
    if draw(st.integers(0, 60)) == 0:
        return draw(WRONG)
    # A message that contains itself in many ways would not end.
    item = (
        messages(field.message, depth + 3 * (field.message == RECURSIVE))
        if field.type == "message"
        else SCALARS[field.type]
    )
    if field.cardinality == "list":
        return draw(st.lists(item, max_size=2))
    if field.cardinality == "map":
        return draw(st.dictionaries(st.sampled_from(["a", "cpu", "x.y/z", "A B", "hugepages-2Mi"]), item, max_size=2))
    return draw(item)


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds.KINDS if "create" in kind.verbs], ids=lambda kind: kind.resource
)
def test_any_object(kind: kinds.Kind[Any]) -> None:
    name = codec.message_name(kind.type)

    @HOSTILE
    @given(messages(name, 0), messages(name, 0))
    def check(first: dict[str, Any], second: dict[str, Any]) -> None:
        objects = []
        for value in (first, second):
            try:
                obj, warnings = codec.decode_json(json.dumps(value).encode(), kind)
            except BadRequest:
                continue
            assert warnings == ()
            assert codec.decode_stored(codec.encode_json(obj), kind.type) == obj
            assert codec.decode_dict(codec.to_dict(obj), kind)[0] == obj
            complete = defaults.apply(obj)
            assert defaults.apply(complete) == complete
            assert all(str(error) for error in validate.validate_create(complete))
            objects.append(complete)
        if len(objects) == 2:
            assert all(str(error) for error in validate.validate_update(objects[0], objects[1]))
            assert all(str(error) for error in validate.validate_status_update(objects[0], objects[1]))

    check()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    try:
        codec.decode_json(data, kinds.POD)
    except BadRequest as error:
        assert error.message
