"""Names and labels that engine objects carry, so that everything can be told from a list of them.

The name makes a second creation of the same thing a conflict instead of a duplicate; the labels say what it is. Parts
of a name are Kubernetes names, which never hold an underscore.
"""

from __future__ import annotations

from nodeagent.runtime.values import PodRef

PREFIX = "mizzen.dev/"
TYPE = PREFIX + "type"
"""`sandbox` or `container`; what carries it is ours."""
POD_UID = PREFIX + "pod-uid"
POD_NAMESPACE = PREFIX + "pod-namespace"
POD_NAME = PREFIX + "pod-name"
CONTAINER = PREFIX + "container"
ATTEMPT = PREFIX + "attempt"
SANDBOX_ID = PREFIX + "sandbox-id"
SPEC_HASH = PREFIX + "spec-hash"
CUSTOM = PREFIX + "label."
"""Before the labels of a spec: an image's own labels end up on its containers and must not pass for those."""

_SANDBOX = "POD"  # no container can be called so, their names are in lower case


def sandbox_name(pod: PodRef, attempt: int) -> str:
    """The engine's name of a pod's sandbox."""
    return container_name(pod, _SANDBOX, attempt)


def container_name(pod: PodRef, container: str, attempt: int) -> str:
    """The engine's name of a container."""
    return f"mizzen_{container}_{pod.name}_{pod.namespace}_{pod.uid}_{attempt}"


def pod_labels(kind: str, pod: PodRef, attempt: int) -> dict[str, str]:
    """The labels that sandboxes and containers have in common."""
    return {
        TYPE: kind,
        POD_UID: pod.uid,
        POD_NAMESPACE: pod.namespace,
        POD_NAME: pod.name,
        ATTEMPT: str(attempt),
    }
