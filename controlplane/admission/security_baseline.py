"""The checks of the baseline level: no known way to more privileges."""

from __future__ import annotations

from collections.abc import Callable, Collection

from controlplane.admission.security_violations import (
    AnyContainer,
    Check,
    Violation,
    containers,
    context,
    counted,
    has_own_users,
    listed,
    named,
    pod_context,
    setters,
)
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta

_ARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
PROFILES = ("RuntimeDefault", "Localhost")
"""Types of AppArmor and seccomp profiles that confine."""
_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
_LINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")
_SYSCTLS = (
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
)  # fmt: skip
_SYSCTLS_27 = (*_SYSCTLS, "net.ipv4.ip_local_reserved_ports")
_SYSCTLS_29 = (
    *_SYSCTLS_27, "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
)  # fmt: skip
_SYSCTLS_32 = (*_SYSCTLS_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")


def _app_armor(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    of_pod = pod_context(spec).app_armor_profile
    values = {of_pod.type} if of_pod is not None and of_pod.type not in PROFILES else set()
    names = []
    for container in containers(spec):
        profile = context(container).app_armor_profile
        if profile is not None and profile.type not in PROFILES:
            names.append(container.name)
            values.add(profile.type)
    who = setters(pod=of_pod is not None and of_pod.type not in PROFILES, names=names)
    notes = _notes(metadata, lambda key: key.startswith(_ARMOR_ANNOTATION), ("", "runtime/default"))
    if notes:
        who = " and ".join((*((who,) if who else ()), counted("annotation", "annotations", len(notes))))
    if not who:
        return None
    found = [*sorted(values), *notes]
    reason = counted("forbidden AppArmor profile", "forbidden AppArmor profiles", len(found))
    return Violation(reason, f"{who} must not set AppArmor profile type to {listed(found)}")


def _notes(metadata: meta.ObjectMeta, concerns: Callable[[str], bool], allowed: Collection[str]) -> list[str]:
    """The annotations that ask for another profile than those allowed and the node's own ones."""
    return sorted(
        f'{key}="{value}"'
        for key, value in metadata.annotations.items()
        if concerns(key) and value not in allowed and not value.startswith("localhost/")
    )


def capabilities(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    """No capability beyond the usual ones."""
    names, values = added_capabilities(spec, _CAPABILITIES)
    if not names:
        return None
    detail = f"{named(names)} must not include {listed(values)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def added_capabilities(spec: core.PodSpec, allowed: Collection[str]) -> tuple[list[str], list[str]]:
    """The containers that add others than the allowed capabilities, and which."""
    names, values = [], set()
    for container in containers(spec):
        wanted = context(container).capabilities or core.Capabilities()
        other = {name for name in wanted.add if name not in allowed}
        if other:
            names.append(container.name)
            values |= other
    return names, sorted(values)


def _host_namespaces(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    fields = (("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc))
    found = [f"{name}=true" for name, value in fields if value]
    return Violation("host namespaces", ", ".join(found)) if found else None


def _host_paths(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    names = [volume.name for volume in spec.volumes if volume.host_path is not None]
    return Violation("hostPath volumes", named(names, "volume", "volumes")) if names else None


def _host_ports(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    ports: set[str] = set()
    names = []
    for container in containers(spec):
        own = {str(port.host_port) for port in container.ports if port.host_port}
        if own:
            names.append(container.name)
            ports |= own
    if not names:
        return None
    word = counted("hostPort", "hostPorts", len(ports))
    return Violation("hostPort", f"{_uses(names)} {word} {', '.join(sorted(ports))}")


def _uses(names: list[str]) -> str:
    return f"{named(names)} {counted('uses', 'use', len(names))}"


def _hosts(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    """Probes and hooks go to the pod itself, not to a host that somebody names."""
    hosts: set[str] = set()
    names: set[str] = set()
    for container in containers(spec):
        own = set(_asked_hosts(container))
        if own:
            names.add(container.name)
            hosts |= own
    if not names:
        return None
    word = counted("probe or lifecycle host", "probe or lifecycle hosts", len(hosts))
    return Violation("probe or lifecycle host", f"{_uses(sorted(names))} {word} {listed(sorted(hosts))}")


def _asked_hosts(container: AnyContainer) -> list[str]:
    hooks = container.lifecycle or core.Lifecycle()
    askers = (
        container.liveness_probe, container.readiness_probe, container.startup_probe, hooks.post_start, hooks.pre_stop,
    )  # fmt: skip
    actions = [action for asker in askers if asker is not None for action in (asker.http_get, asker.tcp_socket)]
    return [action.host for action in actions if action is not None and action.host]


def _privileged(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    names = [container.name for container in containers(spec) if context(container).privileged]
    return Violation("privileged", f"{named(names)} must not set securityContext.privileged=true") if names else None


def proc_mount(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    """Nobody takes the masks off /proc."""
    bad = [(c.name, context(c).proc_mount or "Default") for c in containers(spec)]
    bad = [(name, value) for name, value in bad if value != "Default"]
    if not bad:
        return None
    values = listed(sorted({value for _, value in bad}))
    return Violation(
        "procMount", f"{named([name for name, _ in bad])} must not set securityContext.procMount to {values}"
    )


def _proc_mount_35(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    return None if has_own_users(spec) else proc_mount(metadata, spec)


def _linux_options(types: Collection[str]) -> Check:
    def check(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
        asked = [(c.name, context(c).se_linux_options) for c in containers(spec)]
        bad = [(name, options) for name, options in asked if options is not None and _is_bad(options, types)]
        of_pod = pod_context(spec).se_linux_options
        of_pod = of_pod if of_pod is not None and _is_bad(of_pod, types) else None
        who = setters(pod=of_pod is not None, names=[name for name, _ in bad])
        if not who:
            return None
        found = [options for _, options in bad] + ([of_pod] if of_pod is not None else [])
        other = sorted({options.type for options in found if options.type not in types})
        parts = [named(other, "type", "types")] if other else []
        parts += ["user may not be set"] if any(options.user for options in found) else []
        parts += ["role may not be set"] if any(options.role for options in found) else []
        detail = f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(parts)}"
        return Violation("seLinuxOptions", detail)

    return check


def _is_bad(options: core.SELinuxOptions, types: Collection[str]) -> bool:
    return options.type not in types or bool(options.user) or bool(options.role)


def _seccomp_notes(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    """As it was before profiles were fields."""
    keys = {_SECCOMP_POD, *(_SECCOMP_CONTAINER + container.name for container in containers(spec))}
    notes = _notes(metadata, keys.__contains__, ("runtime/default", "docker/default"))
    if not notes:
        return None
    word = counted("annotation", "annotations", len(notes))
    return Violation("seccompProfile", f"forbidden {word} {', '.join(notes)}")


def seccomp(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    """Nobody is unconfined."""
    of_pod = pod_context(spec).seccomp_profile
    pod_is_bad = of_pod is not None and of_pod.type not in PROFILES
    values = {of_pod.type} if of_pod is not None and pod_is_bad else set()
    names = []
    for container in containers(spec):
        profile = context(container).seccomp_profile
        if profile is not None and profile.type not in PROFILES:
            names.append(container.name)
            values.add(profile.type)
    who = setters(pod=pod_is_bad, names=names)
    if not who:
        return None
    detail = f"{who} must not set securityContext.seccompProfile.type to {listed(sorted(values))}"
    return Violation("seccompProfile", detail)


def _sysctls(allowed: Collection[str]) -> Check:
    def check(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
        names = [sysctl.name for sysctl in pod_context(spec).sysctls if sysctl.name not in allowed]
        return Violation("forbidden sysctls", ", ".join(names)) if names else None

    return check


def _host_process(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    of_pod = pod_context(spec).windows_options
    asked = [(c.name, context(c).windows_options) for c in containers(spec)]
    names = [name for name, options in asked if options is not None and options.host_process]
    who = setters(pod=of_pod is not None and bool(of_pod.host_process), names=names)
    return (
        Violation("hostProcess", f"{who} must not set securityContext.windowsOptions.hostProcess=true") if who else None
    )


HOST_PATHS, CAPABILITIES, SECCOMP, PROC_MOUNT = (
    "hostPathVolumes", "capabilities_baseline", "seccompProfile_baseline", "procMount"
)  # fmt: skip
"""Checks that stricter ones of the restricted level stand in for."""

CHECKS: dict[str, tuple[tuple[int, Check], ...]] = {
    "appArmorProfile": ((0, _app_armor),),
    CAPABILITIES: ((0, capabilities),),
    "hostNamespaces": ((0, _host_namespaces),),
    HOST_PATHS: ((0, _host_paths),),
    "hostPorts": ((0, _host_ports),),
    "hostProbesAndHostLifecycle": ((34, _hosts),),
    "privileged": ((0, _privileged),),
    PROC_MOUNT: ((0, proc_mount), (35, _proc_mount_35)),
    "seLinuxOptions": ((0, _linux_options(_LINUX_TYPES)), (31, _linux_options((*_LINUX_TYPES, "container_engine_t")))),
    SECCOMP: ((0, _seccomp_notes), (19, seccomp)),
    "sysctls": (
        (0, _sysctls(_SYSCTLS)), (27, _sysctls(_SYSCTLS_27)), (29, _sysctls(_SYSCTLS_29)), (32, _sysctls(_SYSCTLS_32)),
    ),
    "windowsHostProcess": ((0, _host_process),),
}  # fmt: skip
"""By name, what is checked since which minor version of Kubernetes 1."""
