"""A pod's sandbox and containers in the runtime's words: security, resources and names resolved. Pure.

Environment, mounts and image come in as arguments, because they are made elsewhere (`env`, `nodeagent.volumes`).
What a pod asks for and this node does not have is refused with a ConfigError, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mizzen.api import resources
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.containers import spec_hash
from nodeagent.lifecycle.downward import ConfigError
from nodeagent.lifecycle.env import expand
from nodeagent.runtime.values import ContainerSpec, Device, Limits, Mount, PodRef, SandboxSpec

HOSTNAME_MAX = 63
CPU_PERIOD_US = 100_000
CPU_QUOTA_MIN_US = 1_000
SHARES_PER_CPU = 1024
SHARES_MIN = 2

_GUARANTEED_OOM, _BEST_EFFORT_OOM = -997, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one instance of a container is made from beside its spec."""

    attempt: int
    sandbox_id: str
    image: str
    image_user: str = ""
    """Whom the image runs as when the pod does not say."""
    env: Mapping[str, str]
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    target_id: str = ""
    """The container whose processes it sees and is seen by."""
    handler: str = ""
    """Which of the engine's ways to run containers; empty is its own."""
    seccomp: str = ""
    """The JSON text of the node's own profile, where the pod names one."""
    pids_max: int = 0
    """How many processes a container may have; 0: as many as it likes."""
    memory_bytes: int = 0
    """Of the machine, for the order in which the kernel kills when memory runs out."""


def pod_ref(pod: core.Pod) -> PodRef:
    """The pod's identity."""
    meta = pod.metadata
    return PodRef(uid=meta.uid, namespace=meta.namespace, name=meta.name)


def names_of(pod: core.Pod, domain: str) -> tuple[str, str]:
    """The pod's short host name, and its full name in the cluster's DNS, empty when it has none."""
    spec = pod.spec
    short = spec.hostname_override or (spec.hostname or pod.metadata.name)[:HOSTNAME_MAX].rstrip("-.")
    full = f"{short}.{spec.subdomain}.{pod.metadata.namespace}.svc.{domain}" if spec.subdomain else ""
    return short, full


def sandbox_spec(pod: core.Pod, attempt: int, domain: str, handler: str = "") -> SandboxSpec:
    """The sandbox of a pod, run in the engine's way `handler`. Raises ConfigError."""
    spec = pod.spec
    if spec.host_users is False:
        raise ConfigError("hostUsers: false is not supported by this node: its engine has no user namespaces for pods")
    security = spec.security_context
    short, full = names_of(pod, domain)
    sysctls = {item.name: item.value for item in security.sysctls} if security is not None else {}
    return SandboxSpec(
        pod=pod_ref(pod),
        attempt=attempt,
        handler=handler,
        hostname="" if spec.host_network else full if spec.set_hostname_as_fqdn and full else short,
        network="host" if spec.host_network else "none",
        sysctls=sysctls,
        host_ipc=spec.host_ipc,
        host_pid=spec.host_pid,
    )


def container_spec(pod: core.Pod, container: core.Container, made: Made) -> ContainerSpec:
    """One instance of a container. Raises ConfigError."""
    security = container.security_context or core.SecurityContext()
    shared = pod.spec.security_context or core.PodSecurityContext()
    capabilities = security.capabilities or core.Capabilities()
    seccomp = seccomp_profile(pod, container)
    lifecycle = container.lifecycle
    return ContainerSpec(
        pod=pod_ref(pod),
        name=container.name,
        attempt=made.attempt,
        sandbox_id=made.sandbox_id,
        image=made.image,
        spec_hash=spec_hash(container),
        command=tuple(expand(text, made.env) for text in container.command),
        args=tuple(expand(text, made.env) for text in container.args),
        env=tuple(made.env.items()),
        working_dir=container.working_dir,
        mounts=tuple(made.mounts),
        devices=tuple(made.devices),
        limits=replace(limits(container.resources), pids=made.pids_max),
        oom_score_adj=oom_score_adj(pod, container, made.memory_bytes),
        share_pid=bool(pod.spec.share_process_namespace),
        host_pid=pod.spec.host_pid,
        pid_of=made.target_id,
        host_ipc=pod.spec.host_ipc,
        user=_user(pod, container, security, shared, made.image_user),
        supplemental_groups=_groups(shared),
        privileged=bool(security.privileged),
        cap_add=capabilities.add,
        cap_drop=capabilities.drop,
        no_new_privileges=security.allow_privilege_escalation is False,
        read_only_root=bool(security.read_only_root_filesystem),
        seccomp=made.seccomp or (seccomp.type if seccomp is not None else "Unconfined"),
        app_armor=_app_armor(security.app_armor_profile or shared.app_armor_profile),
        handler=made.handler,
        tty=container.tty,
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        stop_signal=(lifecycle.stop_signal or "") if lifecycle is not None else "",
    )


def limits(wanted: core.ResourceRequirements) -> Limits:
    """Resource bounds: shares from the CPU request (or limit), quota and memory from the limits."""
    most = resources.amounts(wanted.limits)
    least = resources.amounts(wanted.requests)
    cpu = least.get(resources.CPU, most.get(resources.CPU, 0))
    ceiling = most.get(resources.CPU, 0)
    return Limits(
        cpu_shares=max(cpu * SHARES_PER_CPU // 1000, SHARES_MIN),
        cpu_quota_us=max(ceiling * CPU_PERIOD_US // 1000, CPU_QUOTA_MIN_US) if ceiling else 0,
        cpu_period_us=CPU_PERIOD_US if ceiling else 0,
        memory_bytes=most.get(resources.MEMORY, 0),
    )


def oom_score_adj(pod: core.Pod, container: core.Container, memory_bytes: int) -> int:
    """Who is killed first when memory runs out: those who asked for the least of it."""
    match pod.status.qos_class or resources.qos_class(pod.spec):
        case resources.GUARANTEED:
            return _GUARANTEED_OOM
        case resources.BEST_EFFORT:
            return _BEST_EFFORT_OOM
        case _:
            asked = resources.amounts(container.resources.requests).get(resources.MEMORY, 0)
            score = 1000 - 1000 * asked // memory_bytes if memory_bytes else 999
            return min(max(score, 1000 + _GUARANTEED_OOM), _BEST_EFFORT_OOM - 1)


def _groups(shared: core.PodSecurityContext) -> tuple[int, ...]:
    extra = () if shared.fs_group is None else (shared.fs_group,)
    return tuple(dict.fromkeys((*shared.supplemental_groups, *extra)))


def _user(
    pod: core.Pod,
    container: core.Container,
    security: core.SecurityContext,
    shared: core.PodSecurityContext,
    image_user: str,
) -> str:
    user = security.run_as_user if security.run_as_user is not None else shared.run_as_user
    _check_groups(container, security, shared)
    group = security.run_as_group if security.run_as_group is not None else shared.run_as_group
    non_root = security.run_as_non_root if security.run_as_non_root is not None else shared.run_as_non_root
    if non_root:
        _check_non_root(pod, container, user, image_user)
    if group is None:
        return "" if user is None else str(user)
    return f"{image_user.partition(':')[0] or '0' if user is None else user}:{group}"


def _check_groups(container: core.Container, security: core.SecurityContext, shared: core.PodSecurityContext) -> None:
    """The engine leaves out the groups that the image gives a user only where the user's own group is said."""
    strict = shared.supplemental_groups_policy == "Strict"
    if strict and security.run_as_group is None and shared.run_as_group is None:
        why = "supplementalGroupsPolicy Strict needs runAsGroup on this node"
        raise ConfigError(f"container {container.name}: {why}")


def _check_non_root(pod: core.Pod, container: core.Container, user: int | None, image_user: str) -> None:
    meta = pod.metadata
    where = f'(pod: "{meta.name}_{meta.namespace}({meta.uid})", container: {container.name})'
    if user is not None:
        if user == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if name in ("", "0"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        text = f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        raise ConfigError(f"{text} {where}")


def seccomp_profile(pod: core.Pod, container: core.Container) -> core.SeccompProfile | None:
    """The profile that a container asks for, by itself or with its pod."""
    own, shared = container.security_context, pod.spec.security_context
    profile = own.seccomp_profile if own is not None else None
    return profile or (shared.seccomp_profile if shared is not None else None)


def _app_armor(profile: core.AppArmorProfile | None) -> str:
    """The engine's name of a profile; empty is the engine's own, as if nothing were asked for."""
    if profile is None or profile.type == "RuntimeDefault":
        return ""
    return "unconfined" if profile.type == "Unconfined" else profile.localhost_profile or ""
