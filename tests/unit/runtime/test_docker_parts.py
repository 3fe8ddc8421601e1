"""The pure parts of the Docker runtime: request bodies, answers, frames, words of failed pulls."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.runtime.docker_images import node_credentials, pull_failure
from nodeagent.runtime.docker_specs import container_body, sandbox_body
from nodeagent.runtime.docker_states import state_of
from nodeagent.runtime.docker_streams import Frames
from nodeagent.runtime.errors import ImageFailure, ImageNotFound, RegistryUnavailable
from nodeagent.runtime.values import (
    ContainerSpec,
    ContainerState,
    Limits,
    Mount,
    PodRef,
    SandboxSpec,
    SandboxState,
    Status,
)

POD = PodRef(uid="u", namespace="shop", name="web")
SPEC = ContainerSpec(pod=POD, name="main", attempt=2, sandbox_id="s" * 64, image="i:1")


def _described(spec: ContainerSpec | SandboxSpec, **state: Any) -> bytes:
    body = container_body(spec, -1000) if isinstance(spec, ContainerSpec) else sandbox_body(spec, -1000)
    base = {
        "Status": "created",
        "Pid": 0,
        "ExitCode": 0,
        "StartedAt": "0001-01-01T00:00:00Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "OOMKilled": False,
        "Error": "",
    }
    described = {
        "Id": "c" * 64,
        "Created": "2026-01-02T03:04:05.678901234Z",
        "Image": "sha256:1",
        "State": base | state,
        "Config": {
            "Image": body["Image"],
            "Labels": body["Labels"] | {"image.label": "x"},
            "Tty": body.get("Tty", False),
        },
        "HostConfig": {"NetworkMode": body["HostConfig"]["NetworkMode"]},
    }
    return json.dumps(described).encode()


def _container(**state: Any) -> ContainerState:
    found = state_of(_described(SPEC, **state))
    assert isinstance(found, ContainerState)
    return found


def test_a_container_is_told_from_its_labels_alone() -> None:
    found = _container()
    assert (found.pod, found.name, found.attempt, found.sandbox_id) == (POD, "main", 2, "s" * 64)
    assert (found.status, found.created_at_ms, found.started_at_ms, found.labels) == (
        Status.CREATED,
        1767323045678,
        0,
        {},
    )


def test_one_that_could_not_start_has_ended() -> None:
    found = _container(ExitCode=127, Error="not found")
    assert (found.status, found.exit_code, found.error) == (Status.EXITED, 127, "not found")
    assert (found.started_at_ms, found.finished_at_ms) == (0, found.created_at_ms)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("running", Status.RUNNING),
        ("paused", Status.RUNNING),
        ("exited", Status.EXITED),
        ("removing", Status.UNKNOWN),
        ("dead", Status.UNKNOWN),
    ],
)
def test_dockers_words(word: str, status: Status) -> None:
    assert _container(Status=word).status is status


def test_a_sandbox_is_told_from_its_labels_alone() -> None:
    found = state_of(_described(SandboxSpec(pod=POD, attempt=1, network="host"), Status="running", Pid=9))
    assert isinstance(found, SandboxState)
    assert (found.pod, found.attempt, found.pid, found.network) == (POD, 1, 9, "host")


def test_a_sandbox_leaves_the_network_to_the_low_level_runtime() -> None:
    body = sandbox_body(SandboxSpec(pod=POD, hostname="web"), -1000)
    assert (body["NetworkDisabled"], body["Hostname"], body["HostConfig"]["NetworkMode"]) == (True, "web", "none")
    shared = sandbox_body(SandboxSpec(pod=POD, hostname="web", network="host"), -1000)
    assert (shared["NetworkDisabled"], shared["Hostname"]) == (False, "")


def test_oom_scores_stay_above_the_floor() -> None:
    assert sandbox_body(SandboxSpec(pod=POD), -1000)["HostConfig"]["OomScoreAdj"] == -998
    assert sandbox_body(SandboxSpec(pod=POD), 0)["HostConfig"]["OomScoreAdj"] == 0
    assert container_body(SPEC, 0)["HostConfig"]["OomScoreAdj"] == 0


def _host(**changes: Any) -> dict[str, Any]:
    fields = {name: getattr(SPEC, name) for name in SPEC.__dataclass_fields__}
    host: dict[str, Any] = container_body(ContainerSpec(**fields | changes), -1000)["HostConfig"]
    return host


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, ["seccomp=unconfined"]),
        ({"seccomp": "RuntimeDefault"}, []),
        ({"app_armor": "mine"}, ["seccomp=unconfined", "apparmor=mine"]),
        ({"seccomp": '{"x":1}', "no_new_privileges": True}, ["no-new-privileges", 'seccomp={"x":1}']),
    ],
)
def test_security(changes: dict[str, Any], options: list[str]) -> None:
    assert _host(**changes)["SecurityOpt"] == options


def test_processes_are_bounded_where_they_are_to_be() -> None:
    assert "PidsLimit" not in _host()
    assert _host(limits=Limits(pids=100))["PidsLimit"] == 100


def test_the_engines_way_to_run_containers() -> None:
    assert (_host()["Runtime"], _host(handler="kata")["Runtime"]) == ("", "kata")
    assert sandbox_body(SandboxSpec(pod=POD, handler="kata"), 0)["HostConfig"]["Runtime"] == "kata"


def test_namespaces_of_the_sandbox() -> None:
    sandbox = f"container:{'s' * 64}"
    host = _host()
    assert (host["NetworkMode"], host["IpcMode"], host["PidMode"]) == (sandbox, sandbox, "")
    assert _host(share_pid=True)["PidMode"] == sandbox
    assert _host(host_pid=True, host_ipc=True) | {"PidMode": "host", "IpcMode": "host"} == _host(
        host_pid=True, host_ipc=True
    )


def test_limits_and_mounts() -> None:
    host = _host(
        limits=Limits(memory_bytes=64, cpu_shares=2, cpu_quota_us=3, cpu_period_us=4),
        mounts=(Mount(host_path="/a", container_path="/b", read_only=True, propagation="rslave"),),
    )
    assert [host[name] for name in ("Memory", "MemorySwap", "CpuShares", "CpuQuota", "CpuPeriod")] == [64, 64, 2, 3, 4]
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True, "BindOptions": {"Propagation": "rslave"}}
    ]


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("manifest for a:1 not found: manifest unknown", 404, ImageNotFound),
        ("pull access denied for a, repository does not exist or may require 'docker login'", 0, ImageNotFound),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', 500, RegistryUnavailable),
        ("net/http: TLS handshake timeout", 500, RegistryUnavailable),
        ("received unexpected HTTP status: 503 Service Unavailable", 500, RegistryUnavailable),
        ("toomanyrequests: You have reached your pull rate limit.", 500, RegistryUnavailable),
        ("unauthorized: authentication required", 500, ImageFailure),
        ("no space left on device", 500, ImageFailure),
    ],
)
def test_failed_pulls(message: str, status: int, kind: type[ImageFailure]) -> None:
    found = pull_failure("a:1", message, status)
    assert type(found) is kind
    assert found.message == f'Failed to pull image "a:1": {message}'


def test_a_registry_that_says_too_little() -> None:
    """GitHub's, for one, answers without details, and the engine then leaves out what it looked for."""
    found = pull_failure("a:1", "manifest unknown", 500)
    assert type(found) is ImageNotFound
    assert found.message == 'Failed to pull image "a:1": manifest for a:1 not found: manifest unknown'


def test_credentials_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert node_credentials("quay.example") is None
    entry = base64.b64encode(b"ann:secret").decode()
    hub = "https://index.docker.io/v1/"
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {"quay.example": {"auth": entry}, hub: {"auth": entry}}})
    )
    for registry in ("quay.example", "docker.io"):
        found = node_credentials(registry)
        assert found is not None
        assert (found.username, found.password) == ("ann", "secret")
        assert "secret" not in repr(found)
    assert node_credentials("other.example") is None


FRAME = st.tuples(st.sampled_from([1, 2]), st.binary(max_size=100))


@given(st.lists(FRAME, max_size=10), st.integers(min_value=0, max_value=40))
@settings(max_examples=100, deadline=None)
def test_frames_come_out_as_they_went_in(frames: list[tuple[int, bytes]], cut: int) -> None:
    wire = b"".join(bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for stream, data in frames)
    whole = {number: b"".join(data for stream, data in frames if stream == number) for number in (1, 2)}

    async def read(content: bytes) -> dict[int, bytes]:
        source = asyncio.StreamReader()
        source.feed_data(content)
        source.feed_eof()
        reader = Frames(source, plain=False)
        found = {1: b"", 2: b""}
        while (frame := await reader.next()) is not None:
            found[1 if frame[0] == "stdout" else 2] += frame[1]
        return found

    assert asyncio.run(read(wire)) == whole
    torn = asyncio.run(read(wire[: max(0, len(wire) - cut)]))
    assert all(whole[number].startswith(torn[number]) for number in (1, 2))
