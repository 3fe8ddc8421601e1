"""The frozen values that travel through the runtime port: what to make (specs) and what there is (states).

No I/O and no engine words here: a driver compares and stores these, and the in-memory runtime uses the same ones.
Vocabulary: a *sandbox* is the pause container that holds a pod's network; a *container* joins one; an *attempt*
counts the restarts of the same container (or sandbox) of one pod from 0; times are integer milliseconds since the
epoch and 0 where there is none yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRef:
    """Which pod something belongs to; the uid tells two pods of one name apart."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeInfo:
    """What the engine says of itself and of its machine."""

    name: str
    """`docker`."""
    version: str
    api_version: str
    cgroup_version: int
    """1 or 2."""
    cgroup_driver: str
    """`cgroupfs`, or `systemd`: then a cgroup parent must be a slice."""
    os: str
    """The operating system as `/etc/os-release` names it."""
    architecture: str
    """In Go's words, as Kubernetes shows it: `amd64`, `arm64`."""
    kernel: str
    cpus: int
    memory_bytes: int
    root_dir: str
    """Where images and container layers are kept: the disk whose pressure counts."""
    handlers: tuple[str, ...] = ()
    """The names of the ways in which it can run containers, in order."""
    app_armor: bool = False
    """Whether it confines containers with AppArmor."""


# ---------------------------------------------------------------------------------------------------------- specs


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """The sandbox that one pod needs."""

    pod: PodRef
    attempt: int = 0
    hostname: str = ""
    """What `hostname` prints in the pod's containers; ignored on the host's network."""
    network: Literal["none", "host"] = "none"
    """`none`: an empty network namespace that the agent wires itself."""
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=_nothing)
    labels: Mapping[str, str] = field(default_factory=_nothing)
    host_ipc: bool = False
    host_pid: bool = False
    handler: str = ""
    """Which of the engine's ways to run containers; empty is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path of this machine shown inside a container."""

    host_path: str
    container_path: str
    read_only: bool = False
    propagation: Literal["private", "rslave", "rshared"] = "private"
    """`rslave` is Kubernetes' HostToContainer, `rshared` its Bidirectional."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node given to a container; permissions out of `r`, `w` and `m`."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource bounds of a container; 0 means none. Swap is never given beyond the memory limit."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    """CPU microseconds per period."""
    cpu_period_us: int = 0
    memory_bytes: int = 0
    pids: int = 0
    """Processes and threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How much of a container's output is kept, in rotated files on the node."""

    max_size_bytes: int = 10 * 1024 * 1024
    max_files: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything about one container of a pod, resolved: no references, no expansions left."""

    pod: PodRef
    name: str
    """The container's name in the pod."""
    attempt: int
    sandbox_id: str
    image: str
    """A reference or an image id that is present on the node."""
    spec_hash: str = ""
    """Kept with the container, to notice later that its spec has changed."""
    command: tuple[str, ...] = ()
    """Replaces the image's entrypoint; with a command and no args the image's own arguments are dropped."""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    limits: Limits = Limits()
    cgroup_parent: str = ""
    oom_score_adj: int = 0
    share_pid: bool = False
    """Join the sandbox's process namespace (`shareProcessNamespace`)."""
    host_pid: bool = False
    pid_of: str = ""
    """The id of a running container whose process namespace to join, where neither of the above is asked for."""
    host_ipc: bool = False
    user: str = ""
    """`uid`, `uid:gid` or names known in the image; empty takes the image's."""
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    """Without the `CAP_` prefix, as Kubernetes writes them; `ALL` is every one."""
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    """`allowPrivilegeEscalation: false`."""
    read_only_root: bool = False
    seccomp: str = "Unconfined"
    """`Unconfined`, `RuntimeDefault`, or the JSON text of a profile."""
    app_armor: str = ""
    """The name of a loaded profile, or `unconfined`; empty is the engine's own."""
    handler: str = ""
    """Which of the engine's ways to run containers; empty is its own."""
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    """What `stop_container` sends first, e.g. `SIGQUIT`; empty takes the image's or SIGTERM."""
    labels: Mapping[str, str] = field(default_factory=_nothing)
    """Kept with the container, beside the runtime's own labels."""
    log: LogOptions = LogOptions()


# ---------------------------------------------------------------------------------------------------------- states


class Status(StrEnum):
    """Where a container is in its life; it only ever moves downwards in this list."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    """Ended, or could not be started at all (then `error` says why)."""
    UNKNOWN = "unknown"
    """The engine is taking it away or cannot say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxState:
    """One sandbox as it is now."""

    id: str
    pod: PodRef
    attempt: int
    status: Status
    pid: int = 0
    """The pause process, by which its namespaces are reached; 0 when not running."""
    created_at_ms: int = 0
    started_at_ms: int = 0
    network: Literal["none", "host"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container as it is now."""

    id: str
    pod: PodRef
    name: str
    attempt: int
    status: Status
    sandbox_id: str = ""
    spec_hash: str = ""
    image: str = ""
    """As the spec named it."""
    image_id: str = ""
    """`sha256:...`: what is really run."""
    pid: int = 0
    created_at_ms: int = 0
    started_at_ms: int = 0
    finished_at_ms: int = 0
    exit_code: int = 0
    """Meaningful when EXITED; 128 + the signal's number when one ended it."""
    oom_killed: bool = False
    error: str = ""
    """Why it could not be started, in the engine's words."""
    tty: bool = False
    stdin_once: bool = False
    """Its input ends with that of the first who attaches to it."""
    labels: Mapping[str, str] = field(default_factory=_nothing)
    """Those of the spec, without the runtime's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All sandboxes and containers of this agent at one moment, each sorted by pod and attempt."""

    sandboxes: tuple[SandboxState, ...] = ()
    containers: tuple[ContainerState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A hint that something may have changed: look with `list`. Hints get lost and come twice.

    Every (re)connection to the engine starts with one of action `resync` and no container, because what happened
    before is not told again.
    """

    action: str
    """`start`, `die`, `oom`, `destroy`, `create`, ... in the engine's words, or `resync`."""
    container_id: str = ""
    pod_uid: str = ""
    container: str = ""
    """The container's name in the pod; empty for a sandbox."""


# ---------------------------------------------------------------------------------------------------------- images


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """One image on the node."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """`name@sha256:...` as registries know it; empty for images built on the node."""
    size_bytes: int = 0
    user: str = ""
    """Whom its containers run as when the pod does not say; empty is root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAuth:
    """Credentials for one pull; never logged."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    server: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a pull is; the total grows while layers are being discovered."""

    status: str
    done_bytes: int = 0
    total_bytes: int = 0


# ---------------------------------------------------------------------------------------------------------- streams


Stream = Literal["stdout", "stderr"]
"""With a terminal everything is `stdout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which part of a container's output to read."""

    follow: bool = False
    """Go on with what is written from now on, until the container ends."""
    tail: int | None = None
    """Only the last lines; None is all."""
    since_ms: int = 0
    timestamps: bool = False
    """Put the RFC 3339 time with nanoseconds and a blank before each line."""
    limit_bytes: int | None = None
    stdout: bool = True
    stderr: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How a command inside a container ended."""

    exit_code: int
    output: bytes
    """Both streams in the order they came, cut after the first 16 KiB."""
