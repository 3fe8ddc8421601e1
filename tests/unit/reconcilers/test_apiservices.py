"""Objects for groups and versions, and what their conditions say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import apiservices
from mizzen.api import priorities
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import core_v1, discovery_v1, meta_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, view

IDS = SeededIds(1)
SERVICE = apiregistration.ServiceReference(namespace="harbour", name="boats", port=443)


def decide(name: str, *objects: Any) -> Decision:
    return apiservices.reconcile(Key("apiservices.apiregistration.k8s.io", "", name), view(*objects), NOW, IDS)


def created(name: str) -> apiregistration.APIService:
    """What is made for a group and version that is built in."""
    (effect,) = decide(name).effects
    assert isinstance(effect, Create)
    assert isinstance(effect.object, apiregistration.APIService)
    return effect.object


def remote(name: str = "v1.example.com") -> apiregistration.APIService:
    version, _, group = name.partition(".")
    spec = apiregistration.APIServiceSpec(group=group, version=version, service=SERVICE)
    return apiregistration.APIService(metadata=meta_v1.ObjectMeta(name=name, uid="u"), spec=spec)


@pytest.mark.parametrize(
    ("name", "group_priority", "version_priority"),
    [("v1.", 18000, 1), ("v1.apps", 17800, 15), ("v2.autoscaling", 17500, 30), ("v1.autoscaling", 17500, 15)],
)
def test_what_is_built_in_has_an_object_with_its_priorities(
    name: str, group_priority: int, version_priority: int
) -> None:
    spec = created(name).spec
    assert (spec.group_priority_minimum, spec.version_priority) == (group_priority, version_priority)
    assert created(name).metadata.labels == {apiservices.AUTOMANAGED: "onstart"}


def test_its_object_is_put_right_and_says_that_it_is_local() -> None:
    mine = created("v1.apps")
    stolen = replace(mine, spec=replace(mine.spec, service=SERVICE))
    (effect,) = decide("v1.apps", stolen).effects
    assert isinstance(effect, Update)
    assert effect.object.spec == mine.spec  # type: ignore[attr-defined]
    (said,) = decide("v1.apps", mine).effects
    assert isinstance(said, UpdateStatus)
    (condition,) = said.object.status.conditions  # type: ignore[attr-defined]
    assert (condition.status, condition.reason) == ("True", "Local")
    assert decide("v1.apps", said.object).effects == ()


def test_the_group_of_these_objects_has_none_and_what_is_served_no_longer_loses_its_own() -> None:
    assert decide("v1.apiregistration.k8s.io").effects == ()
    old = replace(remote(), spec=replace(remote().spec, service=None))
    kept = replace(old, metadata=replace(old.metadata, labels={apiservices.AUTOMANAGED: "true"}))
    (effect,) = decide("v1.example.com", kept).effects
    assert isinstance(effect, Delete)
    assert decide("v1.example.com", remote()).effects == ()


def test_priorities_put_users_groups_last() -> None:
    assert priorities.of_group("example.com") < min(priorities.of_group(group) for group, _ in priorities.BUILT_IN)
    assert priorities.of_version("example.com", "v1") == 100


def service(**spec: Any) -> core_v1.Service:
    ports = (core_v1.ServicePort(name="https", port=443),)
    return core_v1.Service(
        metadata=meta_v1.ObjectMeta(name="boats", namespace="harbour"),
        spec=core_v1.ServiceSpec(**{"ports": ports, "type": "ClusterIP", **spec}),
    )


def piece(*, ready: bool = True, port: str = "https") -> discovery_v1.EndpointSlice:
    conditions = discovery_v1.EndpointConditions(ready=ready)
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            name="boats-1", namespace="harbour", labels={"kubernetes.io/service-name": "boats"}
        ),
        endpoints=(discovery_v1.Endpoint(addresses=("10.0.0.1",), conditions=conditions),),
        ports=(discovery_v1.EndpointPort(name=port, port=8443),),
    )


WHERE = 'service/boats in "harbour"'
NOBODY = f'endpointslices for {WHERE} have no addresses with port name "https"'


@pytest.mark.parametrize(
    ("objects", "reason", "message"),
    [
        ((), "ServiceNotFound", f"{WHERE} is not present"),
        ((service(ports=()),), "ServicePortError", f"{WHERE} is not listening on port 443"),
        ((service(),), "EndpointsNotFound", f"cannot find endpointslices for {WHERE}"),
        ((service(), piece(ready=False)), "MissingEndpoints", NOBODY),
        ((service(), piece(port="http")), "MissingEndpoints", NOBODY),
    ],
)
def test_what_is_wrong_before_anybody_is_asked(objects: tuple[Any, ...], reason: str, message: str) -> None:
    found = apiservices.unreachable(remote(), view(*objects))
    assert found is not None
    assert (found.status, found.reason, found.message) == ("False", reason, message)


def test_who_can_be_asked_is_what_asking_shows() -> None:
    assert apiservices.unreachable(remote(), view(service(), piece())) is None
    assert apiservices.unreachable(remote(), view(service(type="ExternalName", ports=()))) is None
    assert apiservices.checked("no answer").reason == "FailedDiscoveryCheck"
    assert apiservices.checked("").message == "all checks passed"


def test_a_condition_keeps_its_time_for_as_long_as_its_status() -> None:
    (first,) = apiservices.stated(remote(), apiservices.checked("one"), NOW)
    (second,) = apiservices.stated(first.object, apiservices.checked("two"), NOW + 60_000)  # type: ignore[arg-type]
    assert list(apiservices.stated(second.object, apiservices.checked("two"), NOW + 90_000)) == []  # type: ignore[arg-type]
    (third,) = apiservices.stated(second.object, apiservices.checked(""), NOW + 90_000)  # type: ignore[arg-type]
    times = [one.object.status.conditions[0].last_transition_time for one in (first, second, third)]  # type: ignore[attr-defined]
    assert times[0] == times[1] < times[2]
