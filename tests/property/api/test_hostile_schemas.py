"""Whatever schema a user defines and whatever objects then come: refusals in words, never a crash."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mizzen.api import (
    catalog,
    codec,
    json_values,
    openapi,
    openapi_v2,
    openapi_v2_binary,
    structural,
    structural_rules,
    validate,
)
from mizzen.api.errors import BadRequest
from tests.fixtures.definitions import definition, established

HOSTILE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
NAMES = st.sampled_from(["a", "b", "spec", "status", "metadata", "odd-name"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 2.0, 2**70, "", "a", "2026-05-01T12:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "description": st.just("words"),
    "format": st.sampled_from(["date-time", "duration", "byte", "int32", "uuid", "colour"]),
    "default": VALUES,
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "nullable": st.booleans(),
    "pattern": st.sampled_from(["^a+$", "(", "(a+)+b"]),
    "maximum": st.sampled_from([1, 0.5]),
    "maxLength": st.just(3),
    "multipleOf": st.sampled_from([1, 0.5, 0]),
    "minItems": st.just(1),
    "maxProperties": st.just(1),
    "required": st.lists(NAMES, max_size=2),
    "x-kubernetes-preserve-unknown-fields": st.just(True),
    "x-kubernetes-embedded-resource": st.booleans(),
    "x-kubernetes-list-type": st.sampled_from(["set", "map", "atomic"]),
    "x-kubernetes-list-map-keys": st.just(["a"]),
    "x-kubernetes-validations": st.sampled_from([
        [{"rule": "self == self"}], [{"rule": "self.a > 1"}], [{"rule": "oldSelf == self"}],
        [{"rule": "self.size() > 0", "messageExpression": "self"}],
        [{"rule": "oldSelf.hasValue()", "optionalOldSelf": True}],
    ]),
}  # fmt: skip


def schemas(depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas, mostly sensible ones."""
    type_ = st.sampled_from(["object", "object", "array", "string", "integer", "number", "boolean"])
    more = st.fixed_dictionaries({}, optional=PARTS)

    @st.composite
    def made(draw: st.DrawFn) -> dict[str, Any]:
        few = draw(st.lists(st.sampled_from(sorted(PARTS)), max_size=3))
        schema: dict[str, Any] = {name: value for name, value in draw(more).items() if name in few}
        schema["type"] = draw(type_) if depth else "object"
        if schema["type"] == "array":
            schema["items"] = draw(schemas(depth + 1)) if depth < 4 else {"type": "string"}
        if schema["type"] == "object" and depth < 4:
            schema["properties"] = draw(st.dictionaries(NAMES, schemas(depth + 1), max_size=3))
        return schema

    return made()


@HOSTILE
@given(schemas(), VALUES, VALUES)
def test_any_schema(schema: dict[str, Any], first: Any, second: Any) -> None:
    one = definition(schema)
    wrong = [str(error) for error in validate.validate_create(one)]
    event("refused" if wrong else "served")
    if wrong:
        return
    served = catalog.BUILT_IN.with_definition(established(one))
    kind = served.defined["widgets.example.com"].versions[0]
    openapi.document("example.com", "v1", server_version="v1", catalog=served)
    openapi_v2_binary.encode(openapi_v2.document(server_version="v1", catalog=served))
    old = None
    for value in (first, second):
        body = {"metadata": {"name": "a"}} | (value if isinstance(value, dict) else {"spec": value})
        try:
            obj, _ = codec.decode_json(json.dumps(body).encode(), kind, validation="Ignore")
        except BadRequest:
            continue
        assert structural.pruned(obj.content, kind.schema) is obj.content
        assert json_values.same(structural.filled(obj.content, kind.schema), obj.content)
        assert codec.decode_json(codec.encode_json(obj), kind)[0] == obj
        assert all(str(error) for error in structural_rules.problems(kind, obj, old))
        old = obj
