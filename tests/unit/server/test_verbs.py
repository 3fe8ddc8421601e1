"""The verbs over stores that others write to, too: nothing is lost, nothing is given twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Settings
from controlplane.admission.deletion import Deletion
from controlplane.server.verbs import Verbs, api_error
from controlplane.server.verbs_delete import DeleteOptions
from controlplane.server.verbs_read import ListOptions
from controlplane.server.verbs_write import WriteOptions
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from controlplane.store.values import Closed, Refused, TooLarge, Unavailable, UnknownOutcome
from mizzen.api import errors, kinds, service_ranges
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import SeededIds

MERGE = "application/merge-patch+json"
PLAIN = WriteOptions()


@asynccontextmanager
async def cluster(servers: int = 1, settings: Settings | None = None) -> AsyncIterator[list[Verbs]]:
    """The verbs of several servers over one store, with the namespace `shop`."""
    async with AsyncExitStack() as stack:
        backend = MemoryBackend()
        every = []
        for number in range(servers):
            store = MemoryStore(backend)
            stack.push_async_callback(store.close)
            registry = Registry(store)
            await registry.start()
            stack.push_async_callback(registry.close)
            every.append(Verbs.over(registry, SystemClock(), SeededIds(number), settings or Settings()))
        namespace = core.Namespace(metadata=meta.ObjectMeta(name="shop"))
        await every[0].writes.create(kinds.NAMESPACE, "", namespace, PLAIN)
        yield every


def config_map(name: str, **more: Any) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, **more), data={"k": "v"})


def service(name: str, **spec: Any) -> core.Service:
    ports = (core.ServicePort(port=80),)
    return core.Service(metadata=meta.ObjectMeta(name=name), spec=core.ServiceSpec(ports=ports, **spec))


async def test_what_another_server_wrote_is_seen() -> None:
    async with cluster(2) as (one, other):
        await one.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)
        assert (await other.reads.get(kinds.CONFIG_MAP, "shop", "a")).name == "a"
        patched = await other.writes.patch(kinds.CONFIG_MAP, "shop", "a", MERGE, b'{"data":{"k":"w"}}', PLAIN)
        listed = await one.reads.list(kinds.CONFIG_MAP, "shop", ListOptions())
        assert [entry.object().data for entry in listed.entries] == [{"k": "w"}]
        assert str(listed.entries[0].version) == patched.object.metadata.resource_version
        await one.deletes.delete(kinds.CONFIG_MAP, "shop", "a", DeleteOptions())
        with pytest.raises(errors.NotFound):
            await other.writes.patch(kinds.CONFIG_MAP, "shop", "a", MERGE, b"{}", PLAIN)


async def test_a_namespace_made_elsewhere_can_be_used_at_once() -> None:
    async with cluster(2) as (one, other):
        new = core.Namespace(metadata=meta.ObjectMeta(name="new"))
        await one.writes.create(kinds.NAMESPACE, "", new, PLAIN)
        await other.writes.create(kinds.CONFIG_MAP, "new", config_map("a"), PLAIN)


async def test_patches_through_several_servers_all_count() -> None:
    async with cluster(3) as every:
        await every[0].writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)

        async def one(number: int) -> None:
            body = f'{{"data":{{"k{number}":"v"}}}}'.encode()
            await every[number % 3].writes.patch(kinds.CONFIG_MAP, "shop", "a", MERGE, body, PLAIN)

        await asyncio.gather(*(one(number) for number in range(6)))
        entry = await every[1].reads.get(kinds.CONFIG_MAP, "shop", "a")
        assert len(entry.object().data) == 7


async def test_an_old_version_is_a_conflict_and_no_version_is_not() -> None:
    async with cluster() as (verbs,):
        first = (await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)).object
        second = replace(first, data={"k": "2"})
        await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", second, PLAIN)
        with pytest.raises(errors.Conflict, match="the object has been modified"):
            await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", replace(first, data={"k": "3"}), PLAIN)
        bare = config_map("a")
        assert (await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", bare, PLAIN)).object.data == {"k": "v"}


async def test_what_changes_nothing_is_not_written() -> None:
    async with cluster() as (verbs,):
        made = (await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)).object
        again = (await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", config_map("a"), PLAIN)).object
        assert again.metadata.resource_version == made.metadata.resource_version


async def test_generated_names_are_tried_again() -> None:
    async with cluster(2) as (one, other):
        # Both servers draw the same names, because their sources have the same seed.
        twin = Verbs.over(other.registry, SystemClock(), SeededIds(0), Settings())
        generated = core.ConfigMap(metadata=meta.ObjectMeta(generate_name="a-"))
        first = await one.writes.create(kinds.CONFIG_MAP, "shop", generated, PLAIN)
        second = await twin.writes.create(kinds.CONFIG_MAP, "shop", generated, PLAIN)
        assert first.object.metadata.name != second.object.metadata.name


async def test_an_address_is_given_once_also_by_several_servers() -> None:
    settings = Settings(service_cidr="10.0.0.0/28")
    async with cluster(3, settings) as every:
        made = await asyncio.gather(
            *(every[n % 3].writes.create(kinds.SERVICE, "shop", service(f"s{n}"), PLAIN) for n in range(14))
        )
        ips = [written.object.spec.cluster_ip for written in made]
        assert len(set(ips)) == 14
        with pytest.raises(errors.InternalError, match="is full"):
            await every[0].writes.create(kinds.SERVICE, "shop", service("more"), PLAIN)
        await every[1].deletes.delete(kinds.SERVICE, "shop", "s3", DeleteOptions())
        late = await every[2].writes.create(kinds.SERVICE, "shop", service("late"), PLAIN)
        assert late.object.spec.cluster_ip == ips[3], "what a deleted service held is free again"


async def test_an_address_that_was_given_up_can_be_asked_for() -> None:
    async with cluster(2) as (one, other):
        await one.writes.create(kinds.SERVICE, "shop", service("a", cluster_ip="10.96.0.77"), PLAIN)
        with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
            await other.writes.create(kinds.SERVICE, "shop", service("b", cluster_ip="10.96.0.77"), PLAIN)
        external = service("a", type="ExternalName", external_name="a.example")
        await one.writes.update(kinds.SERVICE, "shop", "a", external, PLAIN)
        made = await other.writes.create(kinds.SERVICE, "shop", service("b", cluster_ip="10.96.0.77"), PLAIN)
        await one.registry.fresh()
        claim = one.registry.view.get(kinds.IP_ADDRESS, "", "10.96.0.77")
        assert made.object.spec.cluster_ip == "10.96.0.77"
        assert claim is not None
        assert service_ranges.service_of(claim) == ("shop", "b")
        back = service("a", cluster_ip="10.96.0.77")
        with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
            await one.writes.update(kinds.SERVICE, "shop", "a", back, PLAIN)
        free = await one.writes.update(kinds.SERVICE, "shop", "a", service("a"), PLAIN)
        assert free.object.spec.cluster_ip not in ("", "10.96.0.77")


async def test_the_last_finalizer_takes_the_object_with_it() -> None:
    async with cluster() as (verbs,):
        await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a", finalizers=("x.y/z",)), PLAIN)
        waiting = await verbs.deletes.delete(kinds.CONFIG_MAP, "shop", "a", DeleteOptions())
        assert not waiting.gone
        body = b'{"metadata":{"finalizers":null}}'
        written = await verbs.writes.patch(kinds.CONFIG_MAP, "shop", "a", MERGE, body, PLAIN)
        assert written.removed
        with pytest.raises(errors.NotFound):
            await verbs.reads.get(kinds.CONFIG_MAP, "shop", "a")


async def test_binding_and_deleting_a_pod() -> None:
    async with cluster(2) as (one, other):
        pod = core.Pod(
            metadata=meta.ObjectMeta(name="p"),
            spec=core.PodSpec(containers=(core.Container(name="c", image="i"),), termination_grace_period_seconds=9),
        )
        await one.writes.create(kinds.POD, "shop", pod, PLAIN)
        target = core.Binding(metadata=meta.ObjectMeta(name="p"), target=core.ObjectReference(kind="Node", name="n1"))
        await one.bind("shop", "p", target)
        with pytest.raises(errors.Conflict, match='already assigned to node "n1"'):
            await other.bind("shop", "p", target)
        with pytest.raises(errors.BadRequest, match=r"target\.name"):
            await other.bind("shop", "p", core.Binding(metadata=target.metadata))
        for wrong in ("", "q"):
            with pytest.raises(errors.BadRequest, match="name in URL does not match name in Binding object"):
                await other.bind("shop", "p", replace(target, metadata=meta.ObjectMeta(name=wrong)))
        deleted = await other.deletes.delete(kinds.POD, "shop", "p", DeleteOptions())
        assert deleted.object.metadata.deletion_grace_period_seconds == 9
        deleted = await one.deletes.delete(kinds.POD, "shop", "p", DeleteOptions(Deletion(grace_s=0)))
        assert deleted.gone


async def test_a_dry_run_changes_nothing() -> None:
    async with cluster() as (verbs,):
        dry = WriteOptions(dry_run=True)
        made = await verbs.writes.create(kinds.SERVICE, "shop", service("a"), dry)
        assert made.object.spec.cluster_ip
        with pytest.raises(errors.NotFound):
            await verbs.reads.get(kinds.SERVICE, "shop", "a")
        await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)
        patched = await verbs.writes.patch(kinds.CONFIG_MAP, "shop", "a", MERGE, b'{"data":{"k":"w"}}', dry)
        assert patched.object.data == {"k": "w"}
        deleted = await verbs.deletes.delete(kinds.CONFIG_MAP, "shop", "a", DeleteOptions(dry_run=True))
        assert deleted.gone
        assert (await verbs.reads.get(kinds.CONFIG_MAP, "shop", "a")).object().data == {"k": "v"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownOutcome("?"), 504),
        (Refused("full"), 500),
        (TooLarge("2 MiB"), 413),
        (Closed("closed"), 503),
        (Unavailable("late"), 503),
    ],
)
def test_what_clients_are_told_when_the_store_fails(error: Any, code: int) -> None:
    assert api_error(error).code == code
