"""Which groups and versions come before others in discovery, as numbers: the greater comes first.

The numbers of the groups that are built in are Kubernetes' own, so that clients that take the first of several groups
with a resource of one name take the same as there.
"""

from __future__ import annotations

from mizzen.api import kinds

_GROUPS = {
    "": 18000, "apiregistration.k8s.io": 18000, "apps": 17800, "events.k8s.io": 17750,
    "authentication.k8s.io": 17700, "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400,
    "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700, "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100, "resource.k8s.io": 15900,
}  # fmt: skip
_VERSIONS = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}
_VERSION, _NEW_GROUP = 15, 15000
_CUSTOM_GROUP, _CUSTOM_VERSION = 1000, 100

BUILT_IN = tuple(dict.fromkeys((kind.group, kind.version) for kind in kinds.KINDS))
"""The groups and versions of the table."""


def of_group(group: str) -> int:
    """The number of a group that this server itself serves."""
    return _GROUPS.get(group, _NEW_GROUP if any(group == own for own, _ in BUILT_IN) else _CUSTOM_GROUP)


def of_version(group: str, version: str) -> int:
    """The number of a version within such a group."""
    if (group, version) not in BUILT_IN:
        return _CUSTOM_VERSION
    return _VERSIONS.get((group, version), _VERSION)
