"""The same life for an object of every kind as over REST, with the client library: made, changed, watched, deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import codec, errors, kinds
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import policy_v1 as policy
from mizzen.client import Client, Event
from mizzen.client.values import Attachment, EndOfInput, Exit, Input, Stdin, Stdout
from tests.fixtures.control_plane import Plane, control_plane
from tests.fixtures.examples import EXAMPLES, KEPT, Example, example
from tests.fixtures.scripted_streams import ScriptedStreams
from tests.integration.rest.test_every_kind import HELD

SEEN_S = 10.0
each_kind = pytest.mark.parametrize("kind", KEPT, ids=lambda kind: f"{kind.resource}-{kind.version}")


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[Client]:
    async with plane.client() as connected:
        yield connected


@dataclass
class Life:
    """One object's life."""

    client: Client
    kind: kinds.Kind[Any]
    wanted: Example

    @property
    def namespace(self) -> str:
        """Where it lives."""
        return "default" if self.kind.namespaced else ""

    async def get(self) -> Any:
        """The object as it is."""
        return await self.client.get(self.kind, self.namespace, self.wanted.name)

    async def patch(self, value: Any, **how: Any) -> Any:
        """The object after a change."""
        body = json.dumps(value).encode()
        return await self.client.patch(self.kind, self.namespace, self.wanted.name, body, **how)


def holds(found: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


@each_kind
async def test_life(kind: kinds.Kind[Any], client: Client) -> None:
    life = Life(client, kind, EXAMPLES[kind])
    start = (await client.list(kind, life.namespace)).resource_version
    events: list[Event[Any]] = []
    watching = asyncio.create_task(_watched(life, start, events))
    new, _ = codec.decode_dict(example(kind), kind)
    imagined = await client.create(new, dry_run=True)
    with pytest.raises(errors.NotFound):
        await life.get()
    made = await client.create(new)
    assert made.metadata.uid != imagined.metadata.uid
    assert await life.get() == made
    assert made in (await client.list(kind, life.namespace)).items
    with pytest.raises(errors.AlreadyExists):
        await client.create(new)
    await _changes(life, made)
    if "status" in kind.subresources:
        await _status(life)
    if "scale" in kind.subresources:
        await _scale(life)
    await _deleted(life)
    async with asyncio.timeout(SEEN_S):
        await watching
    assert {event.object.metadata.uid for event in events} == {made.metadata.uid}
    assert [event.type for event in events] == ["ADDED", *["MODIFIED"] * (len(events) - 2), "DELETED"]
    assert len(events) > 3


async def _watched(life: Life, version: str, events: list[Event[Any]]) -> None:
    watch = life.client.watch(life.kind, life.namespace, resource_version=version)
    async with aclosing(watch) as changes:
        async for event in changes:
            if event.type != "BOOKMARK":
                events.append(event)
            if event.type == "DELETED":
                return


async def _changes(life: Life, made: Any) -> None:
    if life.wanted.change:
        changed = await life.patch(life.wanted.change)
        assert holds(codec.to_dict(changed), life.wanted.change)
    for type_ in ("merge", "strategic-merge"):
        patched = await life.patch({"metadata": {"labels": {type_: "yes"}}}, type_=type_)
        assert patched.metadata.labels[type_] == "yes"
    pointed = await life.patch([{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}], type_="json")
    assert pointed.metadata.annotations == {"a": "b"}
    noted = replace(pointed, metadata=replace(pointed.metadata, annotations={"example.com/whole": "yes"}))
    updated = await life.client.update(noted)
    assert updated.metadata.annotations == {"example.com/whole": "yes"}
    with pytest.raises(errors.Conflict):
        await life.client.update(replace(made, metadata=replace(pointed.metadata, annotations={"late": "yes"})))
    with pytest.raises(errors.Invalid, match="patch: Invalid value"):
        await life.patch({"metadata": {"nosuch": 1}})
    await _applied(life)


async def _applied(life: Life) -> None:
    """What one manager applies and then leaves out goes; what belongs to others stays."""
    identity = {key: value for key, value in example(life.kind).items() if key in ("apiVersion", "kind", "metadata")}
    bare = codec.decode_dict(identity, life.kind)[0]
    labelled = replace(bare, metadata=replace(bare.metadata, labels={"applied": "yes"}))
    applied = await life.client.apply(labelled, field_manager="other", force=True)
    assert applied.metadata.labels["applied"] == "yes"
    assert applied.metadata.labels["merge"] == "yes"
    after = await life.client.apply(bare, field_manager="other", force=True)
    assert "applied" not in after.metadata.labels


async def _status(life: Life) -> None:
    written = await life.patch({"status": life.wanted.status}, subresource="status")
    assert holds(codec.to_dict(written)["status"], life.wanted.status)
    found = await life.client.get(life.kind, life.namespace, life.wanted.name, subresource="status")
    assert found == written
    assert (await life.client.update(found, subresource="status")).status == found.status


async def _scale(life: Life) -> None:
    scale = await life.client.get_scale(life.kind, life.namespace, life.wanted.name)
    assert scale.status.selector == "app=web"
    wanted = replace(scale, spec=replace(scale.spec, replicas=7))
    assert (await life.client.update_scale(life.kind, wanted, dry_run=True)).spec.replicas == 7
    assert (await life.get()).spec.replicas == scale.spec.replicas
    assert (await life.client.update_scale(life.kind, wanted)).spec.replicas == 7
    with pytest.raises(errors.Conflict):
        await life.client.update_scale(life.kind, replace(wanted, spec=replace(scale.spec, replicas=6)))
    assert (await life.client.scale(life.kind, life.namespace, life.wanted.name, 2))[0] == 2
    assert (await life.get()).spec.replicas == 2


async def _deleted(life: Life) -> None:
    place = (life.kind, life.namespace, life.wanted.name)
    with pytest.raises(errors.Conflict):
        await life.client.delete(*place, uid="another")
    with pytest.raises(errors.Conflict):
        await life.client.delete(*place, resource_version="1")
    now = await life.get()
    await life.client.delete(*place, dry_run=True)
    assert await life.get() == now
    await life.client.delete(*place, grace_period_s=0, uid=now.metadata.uid)
    if life.kind is kinds.NAMESPACE:
        ending = await life.get()
        await life.client.update(replace(ending, spec=replace(ending.spec, finalizers=())), subresource="finalize")
    if life.kind in HELD:
        await life.patch({"metadata": {"finalizers": None}})
    with pytest.raises(errors.NotFound):
        await life.get()


POD = core.Pod(
    metadata=meta.ObjectMeta(name="p", namespace="default"),
    spec=core.PodSpec(containers=(core.Container(name="c", image="img:1"),)),
)


async def test_lists_in_pages_and_old_versions(client: Client) -> None:
    for number in range(5):
        labels = {"odd": str(number % 2)}
        config = core.ConfigMap(metadata=meta.ObjectMeta(name=f"c{number}", namespace="default", labels=labels))
        await client.create(config)
    first = await client.list_page(kinds.CONFIG_MAP, "default", limit=2)
    assert ([one.metadata.name for one in first.items], first.remaining) == (["c0", "c1"], 3)
    await client.delete(kinds.CONFIG_MAP, "default", "c2")
    rest = await client.list_page(kinds.CONFIG_MAP, "default", limit=9, continue_=first.continue_)
    assert [one.metadata.name for one in rest.items] == ["c2", "c3", "c4"]
    assert (rest.resource_version, rest.continue_) == (first.resource_version, "")
    exact = await client.list_page(
        kinds.CONFIG_MAP, "default", resource_version=first.resource_version, resource_version_match="Exact"
    )
    assert len(exact.items) == 5
    odd = await client.list(kinds.CONFIG_MAP, "default", label_selector="odd=1", field_selector="metadata.name!=c1")
    assert [one.metadata.name for one in odd.items] == ["c3"]
    with pytest.raises(errors.Timeout):
        await client.list_page(kinds.CONFIG_MAP, resource_version=str(1 << 60))
    gone = await client.delete_collection(kinds.CONFIG_MAP, "default", label_selector="odd=1", dry_run=True)
    assert [one.metadata.name for one in gone] == ["c1", "c3"]
    assert len((await client.list(kinds.CONFIG_MAP, "default")).items) == 4


async def test_a_watch_begins_with_what_there_is(client: Client) -> None:
    config = core.ConfigMap(metadata=meta.ObjectMeta(name="one", namespace="default"))
    await client.create(config)
    watch = client.watch(kinds.CONFIG_MAP, "default", send_initial_events=True)
    async with asyncio.timeout(SEEN_S), aclosing(watch) as events:
        first = await anext(events)
        assert (first.type, first.object.metadata.name) == ("ADDED", "one")
        mark = await anext(events)
        assert (mark.type, mark.object.metadata.annotations) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})
        await client.delete(kinds.CONFIG_MAP, "default", "one")
        assert (await anext(events)).type == "DELETED"
    async with aclosing(client.watch(kinds.CONFIG_MAP, "default", timeout_s=1)) as brief:
        assert [event.type async for event in brief if event.type != "BOOKMARK"] == []


async def test_pods_are_bound_and_evicted(client: Client) -> None:
    await client.create(POD)
    await client.create(replace(POD, metadata=replace(POD.metadata, name="kept", labels={"app": "kept"})))
    binding = core.Binding(metadata=POD.metadata, target=core.ObjectReference(kind="Node", name="n1"))
    await client.bind(binding, dry_run=True)
    assert not (await client.get(kinds.POD, "default", "p")).spec.node_name
    await client.bind(binding)
    assert (await client.get(kinds.POD, "default", "p")).spec.node_name == "n1"
    with pytest.raises(errors.Conflict):
        await client.bind(binding)
    await client.create(replace(binding, metadata=replace(POD.metadata, name="kept")))
    assert (await client.get(kinds.POD, "default", "kept")).spec.node_name == "n1"
    now = meta.DeleteOptions(grace_period_seconds=0)
    await client.evict(policy.Eviction(metadata=POD.metadata, delete_options=now))
    with pytest.raises(errors.NotFound):
        await client.get(kinds.POD, "default", "p")
    other = meta.DeleteOptions(preconditions=meta.Preconditions(uid="another"))
    kept = meta.ObjectMeta(name="kept", namespace="default")
    with pytest.raises(errors.Conflict):
        await client.evict(policy.Eviction(metadata=kept, delete_options=other))


async def test_who_shows_a_token(plane: Plane, client: Client) -> None:
    account = core.ServiceAccount(metadata=meta.ObjectMeta(name="robot", namespace="default"))
    await client.create(account)
    spec = authentication.TokenRequestSpec(expiration_seconds=600)
    token = (await client.create_token("default", "robot", spec)).status.token
    async with Client(plane.config_with(token)) as robot:
        me = await robot.create(authentication.SelfSubjectReview())
        assert me.status.user_info.username == "system:serviceaccount:default:robot"
        with pytest.raises(errors.Forbidden, match=r"system:serviceaccount:default:robot.* cannot list"):
            await robot.list(kinds.POD, "default")
    await client.delete(kinds.SERVICE_ACCOUNT, "default", "robot")
    for shown in (token, "nonsense"):
        async with Client(plane.config_with(shown)) as nobody:
            with pytest.raises(errors.Unauthorized):
                await nobody.create(authentication.SelfSubjectReview())
    async with Client(plane.config_with("")) as anonymous:
        with pytest.raises(errors.Forbidden, match="system:anonymous"):
            await anonymous.list(kinds.POD, "default")


async def test_a_running_container_is_attached_to(tmp_path: Path) -> None:
    async def said() -> AsyncIterator[Input]:
        yield Stdin(b"hello")
        yield EndOfInput()

    async with control_plane(tmp_path, streams=ScriptedStreams()) as plane, plane.client() as client:
        bound = replace(POD.spec, node_name="n1")
        running = replace(POD, spec=bound)
        await client.create(running)
        heard = [one async for one in client.attach(Attachment("default", "p", stdin=True), said())]
        assert heard == [Stdout(b"hello"), Exit(0)]
        with pytest.raises(errors.BadRequest, match="container nosuch is not valid"):
            _ = [one async for one in client.attach(Attachment("default", "p", "nosuch"))]
        refused: list[tuple[dict[str, Any], str]] = [
            ({"limit_bytes": -1}, "limit_bytes"),
            ({"since_time": "x"}, "since_time"),
            ({"stream": "stdout"}, "stream: must be one of All, Stderr, Stdout"),
            ({"stream": "Stderr", "tail_lines": 1}, "stream: one stream alone"),
        ]
        for wrong, words in refused:
            with pytest.raises(errors.BadRequest, match=words):
                _ = [piece async for piece in client.logs("default", "p", **wrong)]
