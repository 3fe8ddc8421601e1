"""Definitions of kinds: what is refused, what is filled in, and the catalog that they make."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import catalog, codec, errors, jsonpath, kinds, openapi, openapi_v2, validate, versions
from tests.fixtures.definitions import definition, established, kind_of, widget

STRING = {"type": "string"}
OBJECT = {"type": "object"}


def said(one: catalog.Definition) -> list[str]:
    """What is wrong with a new definition, as people see it."""
    return [str(error) for error in validate.validate_create(one)]


def version(**more: Any) -> dict[str, Any]:
    """A version of a definition."""
    return {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": OBJECT}} | more


def test_a_plain_definition_is_fine_and_gets_its_defaults() -> None:
    one = definition()
    assert said(one) == []
    assert (one.spec.names.singular, one.spec.names.list_kind) == ("widget", "WidgetList")
    assert one.spec.conversion is not None
    assert one.spec.conversion.strategy == "None"


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (
            {"group": "example"},
            [
                'metadata.name: Invalid value: "widgets.example.com": must be spec.names.plural+"."+spec.group',
                'spec.group: Invalid value: "example": should be a domain with at least one dot',
            ],
        ),
        (
            {"scope": "Everywhere"},
            ['spec.scope: Unsupported value: "Everywhere": supported values: "Cluster", "Namespaced"'],
        ),
        (
            {"versions": [version(storage=False)]},
            ['spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version'],
        ),
        (
            {"versions": [version(), version(storage=False)]},
            ['spec.versions: Invalid value: ["v1","v1"]: must contain unique version names'],
        ),
        (
            {"versions": [version(schema=None)]},
            ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
        ),
        (
            {"preserveUnknownFields": True},
            [
                (
                    "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
                    "x-kubernetes-preserve-unknown-fields "
                    "to true in spec.versions[*].schema instead"
                )
            ],
        ),
        (
            {"names": {"plural": "widgets", "kind": "Widget", "listKind": "Widget"}},
            ['spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same'],
        ),
        (
            {"conversion": {"strategy": "Webhook"}},
            ["spec.conversion.webhook.clientConfig: Required value: required when strategy is set to Webhook"],
        ),
        (
            {
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {"clientConfig": {"url": "http://a"}, "conversionReviewVersions": ["v2"]},
                }
            },
            [
                (
                    'spec.conversion.webhook.clientConfig.url: Invalid value: "http://a": '
                    "'https' is the only allowed URL scheme"
                ),
                (
                    'spec.conversion.webhook.conversionReviewVersions: Invalid value: ["v2"]: must include at least '
                    "one of v1, v1beta1"
                ),
            ],
        ),
        (
            {
                "versions": [
                    version(subresources={"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ""}})
                ]
            },
            [
                (
                    'spec.versions[0].subresources.scale.specReplicasPath: Invalid value: ".status.x": should '
                    "be a json path under .spec"
                ),
                "spec.versions[0].subresources.scale.statusReplicasPath: Required value",
            ],
        ),
        (
            {"versions": [version(additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": "spec["}])]},
            [
                (
                    'spec.versions[0].additionalPrinterColumns[0].type: Unsupported value: "text": supported '
                    'values: "boolean", '
                    '"date", "integer", "number", "string"'
                ),
                (
                    'spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: "spec[": can\'t '
                    "understand '[' in the path 'spec['"
                ),
            ],
        ),
        (
            {"versions": [version(selectableFields=[{"jsonPath": ".spec.a"}])]},
            [
                (
                    'spec.versions[0].selectableFields[0].jsonPath: Invalid value: ".spec.a": is an invalid '
                    "path: does not refer to a valid field"
                )
            ],
        ),
        (
            {"versions": [version(deprecationWarning="x")]},
            ['spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for deprecated versions'],
        ),
    ],
)
def test_definitions_are_refused_in_kubernetes_words(spec: dict[str, Any], wrong: list[str]) -> None:
    assert said(definition(**spec)) == wrong


ROOT = "spec.validation.openAPIV3Schema"
FIELD = f"{ROOT}.properties[a]"


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({}, f"{FIELD}.type: Required value: must not be empty for specified object fields"),
        (
            {"type": "text"},
            (
                f'{FIELD}.type: Unsupported value: "text": supported values: "array", "boolean", "integer", '
                f'"number", "object", "string"'
            ),
        ),
        ({"type": "array"}, f"{FIELD}.items: Required value: must be specified"),
        (
            {"type": "array", "items": {}},
            f"{FIELD}.items.type: Required value: must not be empty for specified array items",
        ),
        (OBJECT | {"$ref": "#/x"}, f"{FIELD}.$ref: Forbidden: $ref is not supported"),
        (
            OBJECT | {"additionalProperties": False},
            f"{FIELD}.additionalProperties: Forbidden: additionalProperties cannot be set to false",
        ),
        (
            OBJECT | {"additionalProperties": STRING, "properties": {"b": STRING}},
            f"{FIELD}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            {"type": "array", "items": STRING, "uniqueItems": True},
            (
                f"{FIELD}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime "
                f"complexity becomes quadratic"
            ),
        ),
        (
            STRING | {"x-kubernetes-int-or-string": True},
            f'{FIELD}.type: Invalid value: "string": must be empty if x-kubernetes-int-or-string is true',
        ),
        (
            {"type": "array", "items": STRING, "x-kubernetes-list-type": "map"},
            f"{FIELD}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            STRING | {"pattern": "("},
            f'{FIELD}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: missing ): (',
        ),
        (
            STRING | {"default": 1},
            f'{FIELD}.default: Invalid value: "integer": {FIELD}.default in body must be of type string: "integer"',
        ),
        (OBJECT | {"default": {"b": 1}}, f'{FIELD}.default: Invalid value: {{"b":1}}: must not have unknown fields: b'),
        (STRING | {"anyOf": [{"type": "string"}]}, f"{FIELD}.anyOf[0].type: Forbidden: must be empty to be structural"),
        (
            OBJECT | {"allOf": [{"properties": {"b": {"minLength": 1}}}]},
            f"{FIELD}.allOf[0].properties[b]: Required value: because it is defined in {FIELD}.allOf[0]",
        ),
        (
            OBJECT | {"x-kubernetes-embedded-resource": True},
            (
                f"{FIELD}.properties: Required value: must not be empty if x-kubernetes-embedded-resource "
                f"is true without x-kubernetes-preserve-unknown-fields"
            ),
        ),
        ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, ""),
    ],
)
def test_schemas_that_are_not_structural(schema: dict[str, Any], wrong: str) -> None:
    found = said(definition(OBJECT | {"properties": {"a": schema}}))
    assert found[:1] == ([wrong] if wrong else [])


def test_a_schema_says_no_more_of_metadata_than_its_names() -> None:
    metadata = OBJECT | {"properties": {"labels": OBJECT}}
    assert said(definition(OBJECT | {"properties": {"metadata": metadata}}))[0].startswith(
        f"{ROOT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName"
    )


def test_kubernetes_own_groups_need_an_approval() -> None:
    (wrong,) = said(definition(name="widgets.x.k8s.io"))
    assert wrong.startswith("metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must")


def test_what_is_established_keeps_its_scope_and_what_was_stored_its_version() -> None:
    old = established(definition())
    found = [str(e) for e in validate.validate_update(replace(old, spec=definition(scope="Cluster").spec), old)]
    assert found == ['spec.scope: Invalid value: "Cluster": field is immutable']
    other = replace(old, spec=definition(versions=[version(name="v2")]).spec)
    assert [e.field for e in validate.validate_update(other, old)] == [
        "status.storedVersions[0]",
        "status.storedVersions",
    ]


class TestCatalog:
    def test_a_definition_is_served_when_it_is_established(self) -> None:
        before = catalog.BUILT_IN.with_definition(definition())
        assert before.by_path.get(("example.com", "v1", "widgets")) is None
        after = before.with_definition(established(definition()))
        kind = after.by_path["example.com", "v1", "widgets"]
        assert (kind.kind, kind.resource, kind.stored) == ("Widget", "widgets.example.com", False)
        assert after.by_kind["example.com/v1", "Widget"] is before.custom[0]
        assert after.without("widgets.example.com").custom == ()

    def test_the_hub_outlives_changes_and_served_versions_do_not(self) -> None:
        first = catalog.BUILT_IN.with_definition(established(definition()))
        changed = established(definition(OBJECT | {"properties": {"spec": OBJECT}}))
        second = first.with_definition(changed)
        assert second.custom == first.custom
        assert second.served[-1] is not first.served[-1]
        assert second.with_definition(changed) is second
        assert second.without("widgets.example.com").with_definition(changed).custom == first.custom

    def test_nobody_takes_the_place_of_a_kind_of_the_table(self) -> None:
        stolen = established(definition(name="deployments.apps"))
        assert catalog.BUILT_IN.with_definition(stolen).by_path["apps", "v1", "deployments"] is kinds.DEPLOYMENT

    def test_versions_are_ordered_the_best_first(self) -> None:
        names = ["v1alpha1", "foo", "v2beta1", "v1", "v10", "v2", "v11beta2"]
        assert versions.by_priority(names) == ["v10", "v2", "v1", "v11beta2", "v2beta1", "v1alpha1", "foo"]


class TestObjects:
    def test_json_keeps_all_there_is_in_order_and_whole_numbers_whole(self) -> None:
        kind = kind_of(OBJECT | {"x-kubernetes-preserve-unknown-fields": True})
        obj = codec.decode_json(
            b'{"data":{"b":1.0,"a":[2.5]},"metadata":{"name":"x"},"apiVersion":"example.com/v1"}', kind
        )[0]
        assert codec.encode_json(obj) == (
            b'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"x"},"data":{"a":[2.5],"b":1}}'
        )

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b'{"kind":"Gadget"}', "unknown conversion"),
            (b'{"apiVersion":"example.com/v9"}', "does not match the expected API version"),
            (b'{"metadata":[]}', "cannot unmarshal array"),
            (b'{"metadata":{"foo":1}}', 'strict decoding error: unknown field "metadata.foo"'),
            (b'{"a":{"b":1,"b":2}}', 'strict decoding error: duplicate field "a.b", unknown field "a"'),
        ],
    )
    def test_bodies_that_are_refused(self, body: bytes, why: str) -> None:
        with pytest.raises(errors.BadRequest) as refused:
            codec.decode_json(body, kind_of(OBJECT))
        assert why in refused.value.message

    def test_equality_is_by_content(self) -> None:
        kind = kind_of(OBJECT | {"properties": {"spec": OBJECT | {"x-kubernetes-preserve-unknown-fields": True}}})
        assert widget(kind, spec={"a": 1}) == widget(kind, spec={"a": 1})
        assert widget(kind, spec={"a": 1}) != widget(kind, spec={"a": True})


def test_the_description_of_the_api_has_users_kinds() -> None:
    schema = OBJECT | {
        "properties": {"spec": OBJECT | {"nullable": True, "properties": {"a": STRING | {"default": "x"}}}}
    }
    served = catalog.BUILT_IN.with_definition(established(definition(schema)))
    third = openapi.document("example.com", "v1", server_version="v1.36.0", catalog=served)
    described = third["components"]["schemas"]["com.example.v1.Widget"]
    assert described["properties"]["spec"] == schema["properties"]["spec"]
    assert described["properties"]["metadata"]["allOf"][0]["$ref"].endswith("meta.v1.ObjectMeta")
    assert described["x-kubernetes-group-version-kind"] == [{"group": "example.com", "kind": "Widget", "version": "v1"}]
    patch = third["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    second = openapi_v2.document(server_version="v1.36.0", catalog=served)["definitions"]
    assert "nullable" not in str(second["com.example.v1.Widget"])
    assert "com.example.v1.WidgetList" in second


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]),
        ("spec.a", [1]),
        (".spec.list[0].n", ["x"]),
        (".spec.list[-1].n", ["y"]),
        (".spec.list[*].n", ["x", "y"]),
        (".spec.list[?(@.n=='y')].v", [2]),
        (".spec.list[?(@.v > 1)].n", ["y"]),
        (".spec['a']", [1]),
        (".spec.dotted\\.name", [3]),
        ("..v", [1, 2]),
        (".nothing.here", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    value = {"spec": {"a": 1, "dotted.name": 3, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]}}
    assert jsonpath.parse(path).find(value) == found


@pytest.mark.parametrize("path", [".a[", ".a[?(]", ".a b", "a..", ".a[?(@.x == y)]"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(jsonpath.BadPath):
        jsonpath.parse(path)
