"""The checks of the restricted level: pods are hardened as is best practice."""

from __future__ import annotations

from controlplane.admission import security_baseline as baseline
from controlplane.admission.security_violations import (
    Check,
    Violation,
    containers,
    context,
    counted,
    has_own_users,
    is_windows,
    listed,
    named,
    pod_context,
    setters,
)
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta

_ALLOWED_VOLUMES = (
    "config_map", "csi", "downward_api", "empty_dir", "ephemeral", "image", "persistent_volume_claim", "projected",
    "secret",
)  # fmt: skip
_OTHER_VOLUMES = {
    "host_path": "hostPath",
    "gce_persistent_disk": "gcePersistentDisk",
    "aws_elastic_block_store": "awsElasticBlockStore",
    "git_repo": "gitRepo",
    "nfs": "nfs",
    "iscsi": "iscsi",
    "glusterfs": "glusterfs",
    "rbd": "rbd",
    "flex_volume": "flexVolume",
    "cinder": "cinder",
    "cephfs": "cephfs",
    "flocker": "flocker",
    "fc": "fc",
    "azure_file": "azureFile",
    "vsphere_volume": "vsphereVolume",
    "quobyte": "quobyte",
    "azure_disk": "azureDisk",
    "photon_persistent_disk": "photonPersistentDisk",
    "portworx_volume": "portworxVolume",
    "scale_io": "scaleIO",
    "storageos": "storageos",
}
"""Volumes by their field, as messages name them."""


def _not_on_windows(check: Check) -> Check:
    def checked(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
        return None if is_windows(spec) else check(metadata, spec)

    return checked


def _not_with_own_users(check: Check) -> Check:
    def checked(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
        return None if has_own_users(spec) else check(metadata, spec)

    return checked


def _escalation(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    names = [c.name for c in containers(spec) if context(c).allow_privilege_escalation is not False]
    if not names:
        return None
    detail = f"{named(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def _capabilities(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    keeping = [c.name for c in containers(spec) if "ALL" not in (context(c).capabilities or core.Capabilities()).drop]
    adding, values = baseline.added_capabilities(spec, ("NET_BIND_SERVICE",))
    details = []
    if keeping:
        details.append(f'{named(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        details.append(f"{named(adding)} must not include {listed(values)} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def _volumes(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    bad = [v for v in spec.volumes if all(getattr(v, field) is None for field in _ALLOWED_VOLUMES)]
    if not bad:
        return None
    types = sorted({_volume_type(volume) for volume in bad})
    names = named([volume.name for volume in bad], "volume", "volumes")
    word = counted("restricted volume type", "restricted volume types", len(types))
    return Violation("restricted volume types", f"{names} {counted('uses', 'use', len(bad))} {word} {listed(types)}")


def _volume_type(volume: core.Volume) -> str:
    return next((name for field, name in _OTHER_VOLUMES.items() if getattr(volume, field) is not None), "unknown")


def _non_root(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    of_pod = pod_context(spec).run_as_non_root
    wants = [(c.name, context(c).run_as_non_root) for c in containers(spec)]
    reason = "runAsNonRoot != true"
    who = setters(pod=of_pod is False, names=[name for name, wanted in wants if wanted is False])
    if who:
        return Violation(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    silent = [name for name, wanted in wants if wanted is None and not of_pod]
    if silent:
        return Violation(reason, f"pod or {named(silent)} must set securityContext.runAsNonRoot=true")
    return None


def _user(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    names = [c.name for c in containers(spec) if context(c).run_as_user == 0]
    who = setters(pod=pod_context(spec).run_as_user == 0, names=names)
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def _seccomp(metadata: meta.ObjectMeta, spec: core.PodSpec) -> Violation | None:
    found = baseline.seccomp(metadata, spec)
    if found is not None or pod_context(spec).seccomp_profile is not None:
        return found
    silent = [c.name for c in containers(spec) if context(c).seccomp_profile is None]
    if not silent:
        return None
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", f"pod or {named(silent)} {wanted}")


CHECKS: dict[str, tuple[tuple[int, Check], ...]] = {
    "allowPrivilegeEscalation": ((8, _escalation), (25, _not_on_windows(_escalation))),
    "capabilities_restricted": ((22, _capabilities), (25, _not_on_windows(_capabilities))),
    "procMount_restricted": ((35, baseline.proc_mount),),
    "restrictedVolumes": ((0, _volumes),),
    "runAsNonRoot": ((0, _non_root), (35, _not_with_own_users(_non_root))),
    "runAsUser": ((23, _user), (35, _not_with_own_users(_user))),
    "seccompProfile_restricted": ((19, _seccomp), (25, _not_on_windows(_seccomp))),
}
"""By name, what is checked since which minor version of Kubernetes 1."""

STANDS_IN_FOR = {
    "capabilities_restricted": baseline.CAPABILITIES,
    "procMount_restricted": baseline.PROC_MOUNT,
    "restrictedVolumes": baseline.HOST_PATHS,
    "seccompProfile_restricted": baseline.SECCOMP,
}
"""A check of this level, and the weaker one of the baseline level that it replaces as soon as it exists."""
