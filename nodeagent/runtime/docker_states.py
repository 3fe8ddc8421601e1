"""What Docker's API says of containers, as the port's states. Pure: decoding only.

Docker has no word for a container that could not be started: it stays `created` with an exit code and a reason; the
port calls that EXITED.
"""

from __future__ import annotations

import msgspec

from mizzen.api import times
from nodeagent.runtime import naming
from nodeagent.runtime.values import ContainerState, PodRef, RuntimeInfo, SandboxState, Status


class Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """One row of the container list: enough to see whether it has changed."""

    id: str
    state: str
    labels: dict[str, str] | None = None


class _State(msgspec.Struct, frozen=True, rename="pascal"):
    status: str
    pid: int
    exit_code: int
    started_at: str
    finished_at: str
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    error: str = ""


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    image: str
    labels: dict[str, str] | None = None
    tty: bool = False
    stdin_once: bool = False


class _HostConfig(msgspec.Struct, frozen=True, rename="pascal"):
    network_mode: str = ""


class Inspected(msgspec.Struct, frozen=True, rename="pascal"):
    """The parts of a container's description that the port tells."""

    id: str
    created: str
    image: str
    state: _State
    config: _Config
    host_config: _HostConfig


_decode_list = msgspec.json.Decoder(list[Listed]).decode
_decode_one = msgspec.json.Decoder(Inspected).decode

_STATUSES = {
    "created": Status.CREATED,
    "running": Status.RUNNING,
    "paused": Status.RUNNING,
    "exited": Status.EXITED,
}


def rows(answer: bytes) -> list[Listed]:
    """The answer of a container list."""
    return _decode_list(answer)


def state_of(answer: bytes) -> SandboxState | ContainerState:
    """The answer of an inspection; the container must be one of ours."""
    seen = _decode_one(answer)
    labels = seen.config.labels or {}
    if labels[naming.TYPE] == "sandbox":
        return _sandbox(seen, labels)
    return _container(seen, labels)


def _sandbox(seen: Inspected, labels: dict[str, str]) -> SandboxState:
    return SandboxState(
        id=seen.id,
        pod=_pod(labels),
        attempt=int(labels[naming.ATTEMPT]),
        status=_status(seen.state),
        pid=seen.state.pid,
        created_at_ms=_ms(seen.created),
        started_at_ms=_ms(seen.state.started_at),
        network="host" if seen.host_config.network_mode == "host" else "none",
    )


def _container(seen: Inspected, labels: dict[str, str]) -> ContainerState:
    status = _status(seen.state)
    ended_ms = _ms(seen.state.finished_at)
    return ContainerState(
        id=seen.id,
        pod=_pod(labels),
        name=labels[naming.CONTAINER],
        attempt=int(labels[naming.ATTEMPT]),
        status=status,
        sandbox_id=labels[naming.SANDBOX_ID],
        spec_hash=labels[naming.SPEC_HASH],
        image=seen.config.image,
        image_id=seen.image,
        pid=seen.state.pid,
        created_at_ms=_ms(seen.created),
        started_at_ms=_ms(seen.state.started_at),
        finished_at_ms=(ended_ms or _ms(seen.created)) if status is Status.EXITED else 0,
        exit_code=seen.state.exit_code,
        oom_killed=seen.state.oom_killed,
        error=seen.state.error,
        tty=seen.config.tty,
        stdin_once=seen.config.stdin_once,
        labels={key.removeprefix(naming.CUSTOM): v for key, v in labels.items() if key.startswith(naming.CUSTOM)},
    )


def _pod(labels: dict[str, str]) -> PodRef:
    return PodRef(uid=labels[naming.POD_UID], namespace=labels[naming.POD_NAMESPACE], name=labels[naming.POD_NAME])


def _status(state: _State) -> Status:
    if state.status == "created" and state.exit_code != 0:
        return Status.EXITED
    return _STATUSES.get(state.status, Status.UNKNOWN)


def _ms(text: str) -> int:
    """Docker writes the year 1 for `never`."""
    return max(0, times.parse(text))


class _Sized(msgspec.Struct, frozen=True, rename="pascal"):
    id: str
    size_rw: int = 0


def written(answer: bytes) -> dict[str, int]:
    """What containers have written into their layers, out of the answer of a list with sizes."""
    return {one.id: one.size_rw for one in msgspec.json.decode(answer, type=list[_Sized])}


class _MemoryStats(msgspec.Struct, frozen=True):
    usage: int = 0


class _Stats(msgspec.Struct, frozen=True):
    memory_stats: _MemoryStats = _MemoryStats()


def memory_used(answer: bytes) -> int:
    """The bytes of memory that a container uses, out of the answer about its figures; 0 where it runs no longer."""
    return msgspec.json.decode(answer, type=_Stats).memory_stats.usage


class _Version(msgspec.Struct, frozen=True, rename="pascal"):
    version: str
    api_version: str
    arch: str
    kernel_version: str = ""


class _Info(msgspec.Struct, frozen=True, rename="pascal"):
    operating_system: str
    docker_root_dir: str
    mem_total: int
    cpus: int = msgspec.field(name="NCPU")
    cgroup_version: str = "1"
    cgroup_driver: str = "cgroupfs"
    runtimes: dict[str, msgspec.Raw] = {}
    security_options: list[str] | None = None


def info_of(version: bytes, info: bytes) -> RuntimeInfo:
    """The answers about version and system together."""
    engine, system = msgspec.json.decode(version, type=_Version), msgspec.json.decode(info, type=_Info)
    return RuntimeInfo(
        name="docker",
        version=engine.version,
        api_version=engine.api_version,
        cgroup_version=int(system.cgroup_version),
        cgroup_driver=system.cgroup_driver,
        os=system.operating_system,
        architecture=engine.arch,
        kernel=engine.kernel_version,
        cpus=system.cpus,
        memory_bytes=system.mem_total,
        root_dir=system.docker_root_dir,
        handlers=tuple(sorted(system.runtimes)),
        app_armor=any(option.split(",")[0] == "name=apparmor" for option in system.security_options or ()),
    )


def architecture_of(version: bytes) -> str:
    """The machine's kind out of the answer about the version."""
    return msgspec.json.decode(version, type=_Version).arch
