"""The rules for security contexts of pods and containers."""

from __future__ import annotations

import re

from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import Errors, maybe_one_of, unique, within

ID_MAX = 2**32 - 1

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL_MAX = 253
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_RE = re.compile(_SYSCTL, re.ASCII)
_NET_SYSCTLS = ("net.", "net/")
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.", "kernel/shm", "kernel/msg", "kernel/sem")


def pod_context(path: str, spec: core.PodSpec) -> Errors:
    """The security context of a pod, at `path`, and what goes with it in the spec."""
    context = spec.security_context
    if context is None:
        return
    for name, value in (
        ("fsGroup", context.fs_group), ("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)
    ):  # fmt: skip
        if value is not None:
            yield from within(f"{path}.{name}", value, 0, ID_MAX)
    for i, group in enumerate(context.supplemental_groups):
        yield from within(f"{path}.supplementalGroups[{i}]", group, 0, ID_MAX)
    if spec.share_process_namespace and spec.host_pid:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield FieldError.invalid(f"{path}.shareProcessNamespace", True, why)
    yield from _sysctls(f"{path}.sysctls", spec, context.sysctls)
    yield from maybe_one_of(f"{path}.fsGroupChangePolicy", context.fs_group_change_policy, ("Always", "OnRootMismatch"))
    yield from maybe_one_of(f"{path}.supplementalGroupsPolicy", context.supplemental_groups_policy, ("Merge", "Strict"))
    yield from _profile(f"{path}.seccompProfile", context.seccomp_profile, "seccomp", "seccompProfile")
    yield from _profile(f"{path}.appArmorProfile", context.app_armor_profile, "AppArmor", "appArmorProfile")


def container_context(path: str, context: core.SecurityContext | None, *, host_users: bool) -> Errors:
    """The security context of a container."""
    if context is None:
        return
    for name, value in (("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)):
        if value is not None:
            yield from within(f"{path}.{name}", value, 0, ID_MAX)
    yield from maybe_one_of(f"{path}.procMount", context.proc_mount, ("Default", "Unmasked"))
    if host_users and context.proc_mount == "Unmasked":
        yield FieldError.invalid(f"{path}.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`")
    yield from _profile(f"{path}.seccompProfile", context.seccomp_profile, "seccomp", "seccompProfile")
    yield from _profile(f"{path}.appArmorProfile", context.app_armor_profile, "AppArmor", "appArmorProfile")
    if context.allow_privilege_escalation is False:
        yield from _without_escalation(path, context)


def _without_escalation(path: str, context: core.SecurityContext) -> Errors:
    if context.privileged:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield FieldError.invalid(path, context, why)
    if context.capabilities is not None and "CAP_SYS_ADMIN" in context.capabilities.add:
        why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        yield FieldError.invalid(path, context, why)


def host_users(path: str, spec: core.PodSpec) -> Errors:
    """A user namespace of its own does not go with other namespaces of the host."""
    if spec.host_users is not False:
        return
    for name, shared in (("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)):
        if shared:
            yield FieldError.forbidden(f"{path}.{name}", "when `hostUsers` is false")


def _sysctls(path: str, spec: core.PodSpec, sysctls: tuple[core.Sysctl, ...]) -> Errors:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        at = f"{path}[{i}].name"
        if not sysctl.name:
            yield FieldError.required(at)
        elif len(sysctl.name) > _SYSCTL_MAX or not _SYSCTL_RE.fullmatch(sysctl.name):
            why = f"must have at most {_SYSCTL_MAX} characters and match regex ^{_SYSCTL}$"
            yield FieldError.invalid(at, sysctl.name, why)
        else:
            yield from unique(at, sysctl.name, seen)
        if spec.host_network and sysctl.name.startswith(_NET_SYSCTLS):
            yield FieldError.invalid(at, sysctl.name, "may not be specified when 'hostNetwork' is true")
        if spec.host_ipc and sysctl.name.startswith(_IPC_SYSCTLS):
            yield FieldError.invalid(at, sysctl.name, "may not be specified when 'hostIPC' is true")


def _profile(path: str, profile: core.SeccompProfile | core.AppArmorProfile | None, what: str, field: str) -> Errors:
    """A profile of the kernel's guards, by its type."""
    if profile is None:
        return
    if not profile.type:
        yield FieldError.required(f"{path}.type", f"type is required when {field} is set")
    elif profile.type not in _PROFILES:
        yield FieldError.unsupported(f"{path}.type", profile.type, _PROFILES)
    local = profile.localhost_profile
    if profile.type == "Localhost":
        if not local:
            yield FieldError.required(f"{path}.localhostProfile", f"must be set when {what} type is Localhost")
        elif local != local.strip():
            yield FieldError.invalid(f"{path}.localhostProfile", local, "must not be padded with whitespace")
    elif local is not None:
        why = f"can only be set when {what} type is Localhost"
        yield FieldError.invalid(f"{path}.localhostProfile", local, why)
