"""The agent over a machine in memory: pods come up, stay up, and end, in virtual time."""

from __future__ import annotations

import msgspec
import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.runtime.errors import RegistryUnavailable, StartFailed
from nodeagent.runtime.values import Status
from tests.unit.agent.world import NODE_IP, World, container, deleted, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]


async def test_a_pod_runs_with_address_and_files(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
        status = world.status()
        assert status is not None
        assert (status.phase, status.pod_ip, status.host_ip) == ("Running", "10.1.0.1", NODE_IP)
        assert world.network.attached["uid-web"].ip == "10.1.0.1"
        assert b"10.1.0.1\tweb" in world.volumes.files["uid-web"]["hosts"]
        assert b"nameserver 10.96.0.10" in world.volumes.files["uid-web"]["resolv.conf"]
        assert world.events("Started") == ["Container started"]


async def test_many_pods_at_once_start_four_at_a_time(world: World) -> None:
    world.runtime.latency_ms["start_container"] = 100
    async with world.running():
        for number in range(20):
            world.put(pod(f"p{number}"))
        await until(lambda: all(world.ready(f"p{number}") for number in range(20)))
        starts = [name for method, name in world.runtime.calls if method == "start_container"]
        assert len(starts) == 20
        assert len({attached.ip for attached in world.network.attached.values()}) == 20


async def test_a_deleted_pod_leaves_nothing(world: World) -> None:
    async with world.running():
        web = pod()
        world.put(web)
        await until(world.ready)
        world.put(deleted(world.objects[next(iter(world.objects))]))
        await until(lambda: not world.objects)
        assert await world.empty()
        status = world.status()
        assert status is not None
        assert status.phase == "Failed"


async def test_a_pod_forced_away_is_killed_and_its_name_taken_by_another(world: World) -> None:
    stubborn = container(command=("sh", "-c", "trap '' TERM; while :; do sleep 1; done"))
    async with world.running():
        world.put(pod("web", stubborn, termination_grace_period_seconds=600))
        await until(world.ready)
        world.put(pod("web", uid="another"))
        await until(lambda: "uid-web" not in world.network.attached, limit_s=30)
        await until(world.ready)
        assert {state.pod.uid for state in await world.containers()} == {"another"}


async def test_a_killed_container_is_restarted_and_told(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
        (state,) = await world.containers()
        await world.runtime.kill_container(state.id)
        await until(lambda: world.restarts() == 1 and world.ready())
        status = world.status()
        assert status is not None
        last = status.container_statuses[0].last_state.terminated
        assert last is not None
        assert (last.exit_code, last.reason) == (137, "Error")


async def test_a_death_that_no_event_told_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
        (state,) = await world.containers()
        monkeypatch.setattr(world.runtime, "_tell", lambda _: None)
        await world.runtime.kill_container(state.id)
        await until(lambda: world.restarts() == 1, limit_s=15)


async def test_a_crash_loop_waits_longer_and_longer(world: World) -> None:
    async with world.running():
        world.put(pod("web", container(command=("sh", "-c", "sleep 1; exit 3"))))
        began = world.clock.now()
        await until(lambda: world.restarts() == 4)
        # One second of life each, then 0, 10, 20 and 40 s of waiting.
        assert 73_000 < world.clock.now() - began < 76_000
        assert world.events("BackOff")[0].startswith("Back-off restarting failed container app in pod web_default(")


async def test_the_last_words_are_told(world: World) -> None:
    async with world.running():
        world.put(pod("web", container(command=("sh", "-c", "sleep 5; exit 1")), restart_policy="Never"))
        await until(world.ready)
        world.volumes.files["uid-web"]["termination-app-0"] = b"out of cheese"
        await until(lambda: (s := world.status()) is not None and s.phase == "Failed")
        status = world.status()
        assert status is not None
        ended = status.container_statuses[0].state.terminated
        assert ended is not None
        assert (ended.message, ended.exit_code) == ("out of cheese", 1)


async def test_the_log_stands_in_for_last_words_that_were_not_left(world: World) -> None:
    loud = container(
        command=("sh", "-c", "echo boom; exit 1"), termination_message_policy="FallbackToLogsOnError"
    )  # fmt: skip
    async with world.running():
        world.put(pod("web", loud, restart_policy="Never"))
        await until(lambda: (s := world.status()) is not None and s.phase == "Failed")
        status = world.status()
        assert status is not None
        ended = status.container_statuses[0].state.terminated
        assert ended is not None
        assert ended.message == "boom\n"


async def test_an_image_is_fetched_once_for_all_who_wait(world: World) -> None:
    world.runtime.add_remote_image("big:1", pull_ms=8_000)
    async with world.running():
        for number in range(5):
            world.put(pod(f"p{number}", container(image="big:1")))
        await until(lambda: all(world.ready(f"p{number}") for number in range(5)))
        pulls = [ref for method, ref in world.runtime.calls if method == "pull_image" and ref == "big:1"]
        assert pulls == ["big:1"]
        assert all("8s" in text for text in world.events("Pulled"))


async def test_a_registry_that_is_away_is_waited_for(world: World) -> None:
    world.runtime.add_remote_image("far:1")
    async with world.running():
        world.runtime.fail_next("pull_image", RegistryUnavailable("no such host"))
        world.put(pod("web", container(image="far:1")))
        await until(lambda: bool(world.events("Failed")))
        status = world.status()
        assert status is not None
        waiting = status.container_statuses[0].state.waiting
        assert waiting is not None
        assert (waiting.reason, waiting.message) == (
            "RegistryUnavailable",
            "image pull failed for far:1 because the registry is unavailable: no such host",
        )
        await until(world.ready, limit_s=20)


async def test_a_config_map_that_is_missing_and_then_comes(world: World) -> None:
    source = core.EnvVarSource(config_map_key_ref=core.ConfigMapKeySelector(name="conf", key="color"))
    env = (core.EnvVar(name="COLOR", value_from=source),)
    async with world.running():
        world.put(pod("web", container(env=env)))
        await until(lambda: bool(world.events("Failed")))
        assert world.events("Failed") == ['Error: configmap "conf" not found']
        began = world.clock.now()
        world.put(core.ConfigMap(metadata=meta.ObjectMeta(name="conf", namespace="default"), data={"color": "red"}))
        await until(world.ready)
        assert world.clock.now() - began < 2_000, "at once, not after the next retry"


async def test_a_changed_config_map_reaches_the_files_of_a_running_pod(world: World) -> None:
    volume = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="conf"))
    mount = core.VolumeMount(name="v", mount_path="/conf")
    conf = core.ConfigMap(metadata=meta.ObjectMeta(name="conf", namespace="default"), data={"a": "1"})
    async with world.running():
        world.put(conf)
        world.put(pod("web", container(volume_mounts=(mount,)), volumes=(volume,)))
        await until(world.ready)
        before = world.volumes.plans["uid-web"]["v"]
        world.put(core.ConfigMap(metadata=conf.metadata, data={"a": "2"}))
        await until(lambda: world.volumes.plans["uid-web"]["v"] != before)
        assert world.restarts() == 0


async def test_a_start_that_fails_is_shown_and_repeated(world: World) -> None:
    world.runtime.fail_next("start_container", StartFailed("RunContainerError", "no space left on device"))
    async with world.running():
        world.put(pod())
        await until(lambda: bool(world.events("Failed")))
        assert world.events("Failed") == ["Error: no space left on device"]
        await until(world.ready, limit_s=30)


async def test_an_engine_that_goes_away_and_comes_back(world: World) -> None:
    async with world.running() as agent:
        world.put(pod())
        await until(world.ready)
        world.runtime.power_off()
        await until(lambda: agent.watcher.failure != "")
        status = agent._status.status()
        assert [c.status for c in status.conditions if c.type == "Ready"] == ["False"]
        world.runtime.restored()
        await until(lambda: world.restarts() == 1 and world.ready())
        assert world.events("SandboxChanged") == ["Pod sandbox changed, it will be killed and re-created."]
        assert agent.watcher.failure == ""


async def test_probes_decide_on_ready_and_on_life(world: World) -> None:
    check = core.ExecAction(command=("test", "-f", "/tmp/ok"))
    probe = core.Probe(exec=check, period_seconds=1, failure_threshold=2, success_threshold=1, timeout_seconds=1)
    async with world.running():
        world.put(pod("web", container(readiness_probe=probe)))
        await until(lambda: world.status() is not None and bool(world.events("Unhealthy")))
        assert not world.ready()
        (state,) = await world.containers()
        await world.runtime.exec_sync(state.id, ("touch", "/tmp/ok"), 1)
        await until(world.ready, limit_s=5)
        await world.runtime.exec_sync(state.id, ("rm", "/tmp/ok"), 1)
        await until(lambda: not world.ready(), limit_s=5)
        assert world.restarts() == 0


async def test_a_failed_liveness_probe_restarts(world: World) -> None:
    probe = core.Probe(exec=core.ExecAction(command=("false",)), period_seconds=1, failure_threshold=3)
    async with world.running():
        world.put(pod("web", container(liveness_probe=probe)))
        await until(lambda: world.restarts() == 1, limit_s=30)
        assert world.events("Killing") == ["Container app failed liveness probe, will be restarted"]


async def test_a_pod_too_many_is_rejected(world: World) -> None:
    wants = core.ResourceRequirements(requests={"cpu": "3"})
    async with world.running():
        world.put(pod("a", container(resources=wants)))
        await until(lambda: world.ready("a"))
        world.put(pod("b", container(resources=wants)))
        await until(lambda: world.status("b") is not None)
        status = world.status("b")
        assert status is not None
        assert (status.phase, status.reason) == ("Failed", "OutOfcpu")
        assert "requested: 3000, used: 3000, capacity: 3900" in status.message


async def test_a_start_hook_and_a_stop_hook_run_in_the_container(world: World) -> None:
    hooks = core.Lifecycle(
        post_start=core.LifecycleHandler(exec=core.ExecAction(command=("touch", "/started"))),
        pre_stop=core.LifecycleHandler(sleep=core.SleepAction(seconds=3)),
    )
    async with world.running():
        world.put(pod("web", container(lifecycle=hooks)))
        await until(world.ready)
        (state,) = await world.containers()
        answer = await world.runtime.exec_sync(state.id, ("test", "-f", "/started"), 1)
        assert answer.exit_code == 0
        began = world.clock.now()
        world.put(deleted(world.objects[next(iter(world.objects))], 10))
        await until(lambda: not world.objects)
        assert 3_000 <= world.clock.now() - began < 12_000


async def test_a_completed_pod_gives_its_address_back(world: World) -> None:
    async with world.running():
        world.put(pod("web", container(command=("true",)), restart_policy="Never"))
        await until(lambda: (s := world.status()) is not None and s.phase == "Succeeded")
        await until(lambda: not world.network.attached)
        (state,) = await world.containers()
        assert state.status is Status.EXITED, "kept for its logs"


async def test_a_pod_that_somebody_else_declared_not_ready_is_reported_again(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
        key = next(iter(world.objects))
        have = world.objects[key]
        away = tuple(
            core.PodCondition(type=c.type, status="False") if c.type == "Ready" else c for c in have.status.conditions
        )
        told = len(world.stored)
        changed = msgspec.structs.replace(have.status, conditions=away)
        metadata = msgspec.structs.replace(have.metadata, resource_version="77")
        world.put(msgspec.structs.replace(have, metadata=metadata, status=changed))
        await until(lambda: len(world.stored) > told)
        assert world.ready()
        assert len(world.stored) == told + 1
