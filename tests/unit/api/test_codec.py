"""JSON to structs and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mizzen.api import codec, kinds
from mizzen.api.errors import BadRequest
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta


def deployment(**spec: Any) -> bytes:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    return json.dumps(body).encode()


def pod(**container: Any) -> bytes:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    return json.dumps(body).encode()


def refused(data: bytes, kind: kinds.Kind[Any], validation: codec.FieldValidation = "Strict") -> str:
    with pytest.raises(BadRequest) as caught:
        codec.decode_json(data, kind, validation=validation)
    assert caught.value.status.code == 400
    return caught.value.message


def test_clean_object() -> None:
    obj, warnings = codec.decode_json(pod(name="c", image="i"), kinds.POD)
    assert warnings == ()
    assert isinstance(obj, core.Pod)
    assert obj.spec.containers[0].image == "i"
    assert codec.decode_stored(codec.encode_json(obj), core.Pod) == obj
    assert codec.from_dict(codec.to_dict(obj), core.Pod) == obj


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param('{"spec":{"foo":1}}', ['unknown field "spec.foo"'], id="unknown"),
        pytest.param('{"foo":null}', ['unknown field "foo"'], id="unknown-null"),
        pytest.param('{"spec":{"Replicas":1}}', ['unknown field "spec.Replicas"'], id="case-sensitive"),
        pytest.param('{"spec":{"replicas":1,"replicas":2}}', ['duplicate field "spec.replicas"'], id="duplicate"),
        pytest.param(
            '{"spec":{"template":{"spec":{"containers":[{"name":"a","imge":"x"}]}}}}',
            ['unknown field "spec.template.spec.containers[0].imge"'],
            id="in-list",
        ),
        pytest.param(
            '{"metadata":{"labels":{"a":"1","a":"2"}}}', ['duplicate field "metadata.labels.a"'], id="duplicate-in-map"
        ),
        pytest.param(
            '{"spec":{"foo":1,"paused":true,"paused":false,"bar":2,"foo":3}}',
            ['unknown field "spec.foo"', 'duplicate field "spec.paused"', 'unknown field "spec.bar"'],
            id="in-order-and-once",
        ),
        pytest.param('{"kind":"Deployment","kind":"Deployment"}', ['duplicate field "kind"'], id="duplicate-kind"),
        pytest.param(
            '{"spec" :{"replicas"\t:1,"replicas":2}}', ['duplicate field "spec.replicas"'], id="space-before-colon"
        ),
        pytest.param(
            '{"metadata":{"annotations":{"a":"\\":\\":"}},"spec":{"paused":true,"paused":true}}',
            ['duplicate field "spec.paused"'],
            id="colons-in-strings",
        ),
        pytest.param('{"metadata":{"annotations":{"a\\\\":"x","b":"y\\\\"}}}', [], id="backslash-ends"),
        pytest.param('{"metadata":{"annotations":{"a":"{\\"k\\":1,\\"k\\":2}"}}}', [], id="json-in-a-string"),
        pytest.param('{\n  "spec": {\n    "replicas": 1\n  }\n}', [], id="pretty"),
        pytest.param('{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{},"f:b":{}}}]}}', [], id="free-form"),
    ],
)
def test_unknown_and_duplicate_fields(text: str, problems: list[str]) -> None:
    data = text.encode()
    assert list(codec.decode_json(data, kinds.DEPLOYMENT, validation="Warn")[1]) == problems
    assert codec.decode_json(data, kinds.DEPLOYMENT, validation="Ignore")[1] == ()
    if problems:
        message = refused(data, kinds.DEPLOYMENT)
        head = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        assert message == head + ", ".join(problems)


def test_unknown_fields_are_left_out() -> None:
    obj, _ = codec.decode_json(b'{"spec":{"foo":1,"replicas":2}}', kinds.DEPLOYMENT, validation="Warn")
    assert obj == apps.Deployment(spec=apps.DeploymentSpec(replicas=2))


@pytest.mark.parametrize(
    ("data", "kind", "why"),
    [
        (
            deployment(replicas="3"),
            kinds.DEPLOYMENT,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(replicas=1.5),
            kinds.DEPLOYMENT,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(replicas=3_000_000_000),
            kinds.DEPLOYMENT,
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(replicas=True),
            kinds.DEPLOYMENT,
            "json: cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            pod(name="c", env=[{"name": "A", "value": 1}]),
            kinds.POD,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            pod(name="c", command="sh"),
            kinds.POD,
            "json: cannot unmarshal string into Go struct field Container.spec.containers.command of type []string",
        ),
        (
            pod(name="c", tty="yes"),
            kinds.POD,
            "json: cannot unmarshal string into Go struct field Container.spec.containers.tty of type bool",
        ),
        (
            b'{"spec":{"containers":{}}}',
            kinds.POD,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            b'{"spec":[]}',
            kinds.POD,
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            b'{"metadata":{"labels":{"a":1}}}',
            kinds.POD,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
    ],
)
def test_wrong_types(data: bytes, kind: kinds.Kind[Any], why: str) -> None:
    validations: tuple[codec.FieldValidation, ...] = ("Strict", "Warn", "Ignore")
    for validation in validations:
        message = refused(data, kind, validation)
        assert message == f'{kind.kind} in version "v1" cannot be handled as a {kind.kind}: {why}'


@pytest.mark.parametrize(
    ("data", "kind", "why"),
    [
        (pod(name="c", resources={"limits": {"cpu": "1x"}}), kinds.POD, "quantities must match the regular expression"),
        (pod(name="c", resources={"limits": {"cpu": "1x"}}), kinds.POD, "(spec.containers.resources.limits.cpu)"),
        (b'{"metadata":{"creationTimestamp":"today"}}', kinds.POD, 'parsing time "today"'),
        (b'{"data":{"a":"%"}}', kinds.SECRET, "illegal base64 data"),
    ],
)
def test_malformed_scalars(data: bytes, kind: kinds.Kind[Any], why: str) -> None:
    assert why in refused(data, kind)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"{}{}", b"\xff", b"[" * 100_000])
def test_no_json_object(data: bytes) -> None:
    message = refused(data, kinds.POD)
    assert message.startswith("the object provided is unrecognized (must be of type Pod): couldn't get version/kind; ")


def test_nulls_mean_unset() -> None:
    text = (
        b'{"metadata":{"name":"p","labels":null,"creationTimestamp":null,"annotations":{"a":null}},"status":null,'
        b'"spec":{"containers":[null,{"name":null,"command":null,"args":["a",null],"resources":{"limits":null}}],'
        b'"nodeSelector":null,"hostNetwork":null,"priority":null}}'
    )
    obj, warnings = codec.decode_json(text, kinds.POD)
    assert warnings == ()
    assert obj == core.Pod(
        metadata=meta.ObjectMeta(name="p", annotations={"a": ""}),
        spec=core.PodSpec(containers=(core.Container(), core.Container(args=("a", "")))),
    )


def test_scalars_become_canonical() -> None:
    text = (
        b'{"metadata":{"creationTimestamp":"2024-01-01T01:00:00.5+01:00"},"spec":{"priority":7.0,"containers":[{"name":"c",'
        b'"resources":{"limits":{"cpu":1.5,"memory":"1024Mi","example.com/x":2,"y":" 1 "}}}]}}'
    )
    obj, _ = codec.decode_json(text, kinds.POD)
    assert obj.metadata.creation_timestamp == "2024-01-01T00:00:00Z"
    assert obj.spec.priority == 7
    limits = {"cpu": "1500m", "memory": "1Gi", "example.com/x": "2", "y": "1"}
    assert obj.spec.containers[0].resources.limits == limits


def test_bytes_are_base64() -> None:
    obj, _ = codec.decode_json(b'{"data":{"a":"aGVs\\nbG8=","b":"","c":null}}', kinds.SECRET)
    assert obj.data == {"a": b"hello", "b": b"", "c": b""}
    assert b'"a":"aGVsbG8="' in codec.encode_json(obj)


def test_int_or_string() -> None:
    body = deployment(strategy={"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}})
    rolling = codec.decode_json(body, kinds.DEPLOYMENT)[0].spec.strategy.rolling_update
    assert rolling is not None
    assert (rolling.max_surge, rolling.max_unavailable) == ("25%", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b'{"apiVersion":"apps/v1beta1","kind":"Deployment"}',
            "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)",
        ),
        (
            b'{"apiVersion":"apps/v1","kind":"ReplicaSet"}',
            (
                'ReplicaSet in version "v1" cannot be handled as a Deployment: '
                "converting (v1.ReplicaSet) to (Deployment): unknown conversion"
            ),
        ),
    ],
)
def test_another_kind(text: bytes, message: str) -> None:
    assert refused(text, kinds.DEPLOYMENT) == message


def test_kind_may_be_left_out() -> None:
    obj, _ = codec.decode_json(b'{"kind":"","metadata":{"name":"x"}}', kinds.DEPLOYMENT)
    assert (obj.api_version, obj.kind) == ("apps/v1", "Deployment")


def test_options_come_in_any_version() -> None:
    text = b'{"apiVersion":"apps/v1","kind":"DeleteOptions","gracePeriodSeconds":5}'
    options, _ = codec.decode_json(text, meta.DeleteOptions)
    assert options.grace_period_seconds == 5


def test_equal_objects_have_equal_bytes() -> None:
    one = core.ConfigMap(data={"a": "1", "b": "2"})
    two = core.ConfigMap(data={"b": "2", "a": "1"})
    assert codec.encode_json(one) == codec.encode_json(two)


def test_input_is_left_alone() -> None:
    value: dict[str, Any] = {"metadata": {"name": "p", "labels": None}, "foo": 1}
    before = json.dumps(value)
    _, warnings = codec.decode_dict(value, kinds.POD, validation="Warn")
    assert warnings == ('unknown field "foo"',)
    assert json.dumps(value) == before


def test_normalised() -> None:
    pod_ = core.Pod(
        spec=core.PodSpec(
            containers=(core.Container(name="c", resources=core.ResourceRequirements(limits={"cpu": "1000m"})),)
        )
    )
    assert codec.normalised(pod_).spec.containers[0].resources.limits == {"cpu": "1"}
