"""The classes that objects name or get: of priority and runtime for pods, of storage for claims, of ingresses.

A class that is marked as the default is for what names none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from controlplane.admission.request import Request
from mizzen.api import kinds
from mizzen.api.errors import Forbidden
from mizzen.api.ingress import CLASS_ANNOTATION
from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking
from mizzen.api.types import node_v1 as node
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.api.validate_classes import SYSTEM_PRIORITIES
from mizzen.api.volumes import CLASS_ANNOTATION as STORAGE_CLASS_ANNOTATION
from mizzen.engine.view import View

_DEFAULT_STORAGE = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
_PREEMPTS = "PreemptLowerPriority"


def prioritised(request: Request, pod: core.Pod, view: View) -> core.Pod:
    """The new pod with the priority of its class. Raises Forbidden for a class or priority that can't be."""
    found = _priority_class(request, pod, view)
    policy = found.preemption_policy or _PREEMPTS
    for what, given, computed in (
        ("integer value of priority", pod.spec.priority, found.value),
        ("string value of PreemptionPolicy", pod.spec.preemption_policy, policy),
    ):
        if given is not None and given != computed:
            why = (
                f"the {what} ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {computed} from the given PriorityClass name"
            )
            raise Forbidden(request.kind, pod.metadata.name, why)
    spec = replace(pod.spec, priority_class_name=found.metadata.name, priority=found.value, preemption_policy=policy)
    return replace(pod, spec=spec)


def _priority_class(request: Request, pod: core.Pod, view: View) -> scheduling.PriorityClass:
    name = pod.spec.priority_class_name
    if not name:
        marked = [found for found in view.list(kinds.PRIORITY_CLASS) if found.global_default]
        return min(marked, key=lambda found: found.value, default=scheduling.PriorityClass())
    found = view.get(kinds.PRIORITY_CLASS, "", name)
    if found is not None:
        return found
    if name in SYSTEM_PRIORITIES:
        named = replace(scheduling.PriorityClass().metadata, name=name)
        return scheduling.PriorityClass(metadata=named, value=SYSTEM_PRIORITIES[name])
    raise Forbidden(request.kind, pod.metadata.name, f"no PriorityClass with name {name} was found")


def check_priority(request: Request, new: scheduling.PriorityClass, view: View) -> None:
    """At most one priority class is for pods that name none. Raises Forbidden."""
    for other in view.list(kinds.PRIORITY_CLASS) if new.global_default else ():
        if other.global_default and other.metadata.name != new.metadata.name:
            why = f"PriorityClass {other.metadata.name} is already marked as default. Only one default can exist"
            raise Forbidden(request.kind, new.metadata.name, why)


def run_by(request: Request, pod: core.Pod, view: View) -> core.Pod:
    """The new pod with what its runtime class takes, and where it can run. Raises Forbidden."""
    name = pod.spec.runtime_class_name
    if not name and not pod.spec.overhead:
        return pod
    found = view.get(kinds.RUNTIME_CLASS, "", name) if name else node.RuntimeClass()
    if found is None:
        raise Forbidden(request.kind, pod.metadata.name, f'pod rejected: RuntimeClass "{name}" not found')
    overhead = {} if found.overhead is None else found.overhead.pod_fixed
    if pod.spec.overhead and pod.spec.overhead != overhead:
        why = "Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        if not overhead:
            why = "Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise Forbidden(request.kind, pod.metadata.name, f"pod rejected: {why}")
    wanted = found.scheduling or node.Scheduling()
    selector = {**wanted.node_selector, **pod.spec.node_selector}
    for key, value in wanted.node_selector.items():
        if selector[key] != value:
            why = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = "
            raise Forbidden(request.kind, pod.metadata.name, f"{why}{selector[key]}")
    tolerations = list(pod.spec.tolerations)
    tolerations += [toleration for toleration in wanted.tolerations if toleration not in tolerations]
    spec = replace(pod.spec, overhead=overhead, node_selector=selector, tolerations=tuple(tolerations))
    return replace(pod, spec=spec)


def claim(obj: core.PersistentVolumeClaim, view: View) -> core.PersistentVolumeClaim:
    """The new claim with the default class of storage, if it names none."""
    if obj.spec.storage_class_name is not None or STORAGE_CLASS_ANNOTATION in obj.metadata.annotations:
        return obj
    found = _newest(view.list(kinds.STORAGE_CLASS), _DEFAULT_STORAGE)
    return obj if found is None else replace(obj, spec=replace(obj.spec, storage_class_name=found.metadata.name))


def ingress(obj: networking.Ingress, view: View) -> networking.Ingress:
    """The new ingress with the default ingress class, if it names none."""
    if obj.spec.ingress_class_name is not None or CLASS_ANNOTATION in obj.metadata.annotations:
        return obj
    found = _newest(view.list(kinds.INGRESS_CLASS), _DEFAULT_INGRESS)
    return obj if found is None else replace(obj, spec=replace(obj.spec, ingress_class_name=found.metadata.name))


def _newest(classes: Iterable[Any], marks: tuple[str, ...]) -> Any:
    """Of the classes that are marked as the default the newest, of equally old ones the first by name; or None."""
    marked = [found for found in classes if any(found.metadata.annotations.get(mark) == "true" for mark in marks)]
    return max(marked, key=lambda found: found.metadata.creation_timestamp or "", default=None)
