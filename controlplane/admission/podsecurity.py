"""Pod security: what a namespace's labels demand of its pods.

Pods that violate the enforced level are refused, and whoever writes a pod or a template for pods is warned of the level
to warn of; the audit log is told of the level to audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.admission import security_levels as levels
from controlplane.admission.request import Operation, Request
from controlplane.admission.security_violations import Violation
from controlplane.admission.templates import template_of
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, Invalid
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.view import View

PODS_MAX = 3000
"""Existing pods that are looked at when a namespace's labels change."""
_AUDITED = "pod-security.kubernetes.io/audit-violations"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is said of an object that is let in."""

    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    """For the audit log."""


NOTHING = Findings()


def check(request: Request, obj: Any, old: Any, view: View) -> Findings:
    """What is said of an object that is about to be stored.

    Raises Forbidden for a pod that violates what is enforced, Invalid for a namespace whose new labels mean nothing.
    """
    if isinstance(obj, core.Namespace):
        warnings = _of_namespace(request, obj, old, view)
        return Findings(warnings) if warnings else NOTHING
    if isinstance(obj, core.Pod):
        return NOTHING if old is not None and not _matters(obj, old) else _of_pod(request, obj, view)
    template = template_of(obj)
    return NOTHING if template is None else _findings(_policy(request, view), template.metadata, template.spec)


def _findings(policy: levels.Policy, metadata: meta.ObjectMeta, spec: core.PodSpec) -> Findings:
    warnings = _warning(policy.warn, levels.violations(policy.warn, metadata, spec))
    audited = _warning(policy.audit, levels.violations(policy.audit, metadata, spec))
    return Findings(warnings, {_AUDITED: audited[0]} if audited else {}) if warnings or audited else NOTHING


def _of_pod(request: Request, pod: core.Pod, view: View) -> Findings:
    policy = _policy(request, view)
    found = levels.violations(policy.enforce, pod.metadata, pod.spec)
    if found:
        why = f'violates PodSecurity "{policy.enforce}": {levels.details(found)}'
        refused = Forbidden(request.kind, pod.metadata.name, why)
        refused.annotations = _findings(policy, pod.metadata, pod.spec).annotations
        raise refused
    return _findings(policy, pod.metadata, pod.spec)


def _policy(request: Request, view: View) -> levels.Policy:
    namespace = view.get(kinds.NAMESPACE, "", request.namespace)
    return levels.Policy() if namespace is None else levels.policy_of(namespace.metadata.labels)[0]


def _warning(level: levels.Level, found: tuple[Violation, ...]) -> tuple[str, ...]:
    return (f'would violate PodSecurity "{level}": {levels.details(found)}',) if found else ()


def _matters(pod: core.Pod, old: core.Pod) -> bool:
    """Whether a change of a pod can violate anything; most of a pod can't change."""
    if pod.metadata.annotations.get(_SECCOMP_POD) != old.metadata.annotations.get(_SECCOMP_POD):
        return True
    before = {container.name: container.image for container in _all(old)}
    return any(
        before.get(container.name) != container.image
        or pod.metadata.annotations.get(key) != old.metadata.annotations.get(key)
        for container in _all(pod)
        for key in (_SECCOMP_CONTAINER + container.name,)
    )


def _all(pod: core.Pod) -> tuple[core.Container | core.EphemeralContainer, ...]:
    return (*pod.spec.containers, *pod.spec.init_containers, *pod.spec.ephemeral_containers)


def _of_namespace(request: Request, new: core.Namespace, old: core.Namespace | None, view: View) -> tuple[str, ...]:
    if request.operation not in (Operation.CREATE, Operation.UPDATE):
        return ()
    policy, errors = levels.policy_of(new.metadata.labels)
    before, errors_before = levels.policy_of({} if old is None else old.metadata.labels)
    if errors and errors != errors_before:
        raise Invalid(request.kind, new.metadata.name, errors)
    level = policy.enforce
    if old is None or level == before.enforce or level.name == levels.PRIVILEGED:
        return ()
    order = levels.LEVELS.index
    if level.version == before.enforce.version and order(level.name) <= order(before.enforce.name):
        return ()
    return _of_existing(new.metadata.name, level, view)


def _of_existing(namespace: str, level: levels.Level, view: View) -> tuple[str, ...]:
    pods = view.list(kinds.POD, namespace)
    names: dict[str, list[str]] = {}
    for pod in pods[:PODS_MAX]:
        found = levels.violations(level, pod.metadata, pod.spec)
        if found:
            names.setdefault(levels.reasons(found), []).append(pod.metadata.name)
    warnings = []
    if len(pods) > PODS_MAX:
        seen = f"the first {PODS_MAX} of {len(pods)} existing pods"
        warnings.append(f"new PodSecurity enforce level only checked against {seen}")
    if names:
        what = f'violate the new PodSecurity enforce level "{level}"'
        warnings.append(f'existing pods in namespace "{namespace}" {what}')
    return (*warnings, *sorted(f"{_who(who)}: {why}" for why, who in names.items()))


def _who(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return min(names)
    return f"{min(names)} (and {others} other {'pod' if others == 1 else 'pods'})"
