"""Static pods: those that a node has from files of its own, whatever the control plane says. Pure.

The control plane is shown a *mirror* of each, so that everybody sees it; what happens to a mirror does not touch the
pod. The identity of a static pod comes from its node and its file: a changed file is another pod.
"""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.volumes import claims_of

SOURCE = "kubernetes.io/config.source"
HASH = "kubernetes.io/config.hash"
MIRROR = "kubernetes.io/config.mirror"
FROM_FILE = "file"


def is_static(pod: core.Pod) -> bool:
    """Whether a pod comes from a file of the node."""
    return pod.metadata.annotations.get(SOURCE) == FROM_FILE and MIRROR not in pod.metadata.annotations


def is_mirror(pod: core.Pod) -> bool:
    """Whether a pod only shows one that its node has from elsewhere."""
    return MIRROR in pod.metadata.annotations


def static_pod(written: core.Pod, node: str, identity: str) -> core.Pod:
    """The pod that a file describes, on this node. `identity`: 32 hex digits from the node and the file."""
    annotations = {**written.metadata.annotations, SOURCE: FROM_FILE, HASH: identity}
    metadata = replace(
        written.metadata,
        name=f"{written.metadata.name}-{node}",
        namespace=written.metadata.namespace or "default",
        uid=identity,
        generation=1,
        annotations=annotations,
    )
    # It stays, whatever is wrong with the node.
    tolerations = (*written.spec.tolerations, core.Toleration(operator="Exists", effect="NoExecute"))
    spec = replace(written.spec, node_name=node, tolerations=tolerations)
    return replace(written, metadata=metadata, spec=spec, status=core.PodStatus(phase="Pending"))


def mirror_of(pod: core.Pod, node: core.Node) -> core.Pod:
    """What the control plane is shown of a static pod; it belongs to the node and goes with it."""
    owner = meta.OwnerReference(
        api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, controller=True
    )
    metadata = meta.ObjectMeta(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        labels=pod.metadata.labels,
        annotations={**pod.metadata.annotations, MIRROR: pod.metadata.annotations[HASH]},
        owner_references=(owner,),
    )
    return core.Pod(metadata=metadata, spec=pod.spec)


def shows(mirror: core.Pod, pod: core.Pod) -> bool:
    """Whether a mirror is that of this pod, and is to stay."""
    same = mirror.metadata.annotations.get(MIRROR) == pod.metadata.annotations[HASH]
    return same and mirror.metadata.deletion_timestamp is None


def refusal(pod: core.Pod) -> str:
    """What a file asks for that only the control plane could give; empty when it asks for nothing of the sort."""
    named = [resource for resource, _, _ in configs_of(pod)]
    what = ""
    if pod.spec.service_account_name:
        what = "a service account"
    elif named:
        what = named[0]
    elif any(True for _ in claims_of(pod)):
        what = "persistentvolumeclaims"
    elif pod.spec.ephemeral_containers:
        what = "ephemeral containers"
    return f"static pods may not have {what}" if what else ""
