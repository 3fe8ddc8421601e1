"""How a violation of the pod security standards is told, and what the checks look at: all containers of a pod.

Facts: the Pod Security Standards and the messages of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta

AnyContainer: TypeAlias = core.Container | core.EphemeralContainer
_NOTHING = core.SecurityContext()
_NOTHING_OF_POD = core.PodSecurityContext()


class Violation(NamedTuple):
    """What a check forbids."""

    reason: str
    """In a few words: `host namespaces`."""
    detail: str
    """Which part of the pod: `hostNetwork=true`."""


Check: TypeAlias = Callable[[meta.ObjectMeta, core.PodSpec], Violation | None]


def containers(spec: core.PodSpec) -> tuple[AnyContainer, ...]:
    """All containers, in the order in which messages name them."""
    return (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)


def context(container: AnyContainer) -> core.SecurityContext:
    """The container's security context, an empty one where it has none."""
    return container.security_context or _NOTHING


def pod_context(spec: core.PodSpec) -> core.PodSecurityContext:
    """The pod's security context, an empty one where it has none."""
    return spec.security_context or _NOTHING_OF_POD


def named(names: Sequence[str], one: str = "container", many: str = "containers") -> str:
    """`container "a"` or `containers "a", "b"`."""
    return f"{counted(one, many, len(names))} {listed(names)}"


def counted(one: str, many: str, count: int) -> str:
    """The word for so many."""
    return one if count == 1 else many


def listed(values: Iterable[str]) -> str:
    """The values in quotes."""
    return ", ".join(f'"{value}"' for value in values)


def setters(*, pod: bool, names: Sequence[str]) -> str:
    """Who sets a value: the pod, containers, or both; empty for nobody."""
    return " and ".join((*(("pod",) if pod else ()), *((named(names),) if names else ())))


def is_windows(spec: core.PodSpec) -> bool:
    """Whether the pod says that it is for Windows, where some rules mean nothing."""
    return spec.os is not None and spec.os.name == "windows"


def has_own_users(spec: core.PodSpec) -> bool:
    """Whether the pod runs in a user namespace of its own, where root is not the node's root."""
    return spec.host_users is False
