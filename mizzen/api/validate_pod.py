"""The rules for pods and pod templates, and for what may change of a pod."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from mizzen.api import formats, validate_container, validate_meta, validate_scheduling, validate_security
from mizzen.api.edit import edited
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import (
    Errors,
    amount,
    annotations_of,
    checked,
    label_key,
    labels,
    maybe_one_of,
    one_of,
    unique,
    within,
)
from mizzen.api.validate_volume import volumes

MIRROR = "kubernetes.io/config.mirror"
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(core.PodSpec)
_NAMESERVERS_MAX = 3
_SEARCHES_MAX = 32
_SEARCH_CHARS_MAX = 2048
_INT32_MAX = 2**31 - 1
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def create(pod: core.Pod) -> Errors:
    """A pod that is about to be."""
    yield from validate_meta.create(pod.metadata, formats.dns_subdomain, namespaced=True)
    yield from whole(pod)
    if pod.spec.ephemeral_containers:
        yield FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if pod.spec.node_name and pod.spec.scheduling_gates:
        yield FieldError.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def whole(pod: core.Pod) -> Errors:
    """The rules for a pod's spec, and those that templates are spared."""
    if MIRROR in pod.metadata.annotations and not pod.spec.node_name:
        why = "must set spec.nodeName if mirror pod annotation is set"
        yield FieldError.invalid(f"metadata.annotations[{MIRROR}]", pod.metadata.annotations[MIRROR], why)
    yield from spec("spec", pod.spec)
    yield from _host_ports("spec", pod.spec, of_pod=True)
    for field, containers in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        for i, container in enumerate(containers):
            yield from validate_container.image_spaces(f"spec.{field}[{i}]", container.image)
    if pod.spec.service_account_name:
        return
    for i, volume in enumerate(pod.spec.volumes):
        for j, source in enumerate(volume.projected.sources if volume.projected else ()):
            if source.service_account_token is not None:
                at = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                yield FieldError.forbidden(at, "must not be specified when serviceAccountName is not set")


def template(path: str, value: core.PodTemplateSpec) -> Errors:
    """A pod template of a workload."""
    yield from labels(f"{path}.labels", value.metadata.labels)
    yield from annotations_of(f"{path}.annotations", value.metadata.annotations)
    yield from spec(f"{path}.spec", value.spec)
    yield from _host_ports(f"{path}.spec", value.spec, of_pod=False)
    if value.spec.ephemeral_containers:
        why = "ephemeral containers not allowed in pod template"
        yield FieldError.forbidden(f"{path}.spec.ephemeralContainers", why)


def spec(path: str, value: core.PodSpec) -> Errors:
    """A pod's spec, in a pod or in a template."""
    data = _ENCODER.encode(value)
    drawn = set(_DRAWN.findall(data))
    # Every pod has a volume with a name of its own for its token. Under one name for all, what was found good is known.
    if len(drawn) == 1 and not _problems_of(path, data.replace(drawn.pop(), _ANY_DRAWN)):
        return
    yield from _problems_of(path, data)


_DRAWN = re.compile(rb"kube-api-access-[a-z0-9]{5}")
_ANY_DRAWN = b"kube-api-access-00000"


@lru_cache(maxsize=256)
def _problems_of(path: str, data: bytes) -> tuple[FieldError, ...]:
    """What is wrong with an encoded spec. Kept, because the pods of a workload have one spec, by the thousands."""
    return tuple(_spec(path, _DECODER.decode(data)))


def _spec(path: str, value: core.PodSpec) -> Errors:
    if value.termination_grace_period_seconds is None:
        yield FieldError.required(f"{path}.terminationGracePeriodSeconds")
    pod = validate_container.PodContext.of(value)
    yield from volumes(f"{path}.volumes", value.volumes)
    yield from _claims(f"{path}.resourceClaims", value.resource_claims)
    yield from validate_container.containers(f"{path}.containers", value, pod)
    yield from validate_container.init_containers(f"{path}.initContainers", value, pod)
    yield from validate_container.ephemeral_containers(f"{path}.ephemeralContainers", value, pod)
    if value.resources is not None:
        yield from validate_container.whole_pod(f"{path}.resources", value.resources)
    yield from _policies(path, value)
    yield from _names(path, value)
    yield from validate_security.pod_context(f"{path}.securityContext", value)
    yield from validate_security.host_users(path, value)
    yield from _placement(path, value)
    yield from _network(path, value)
    for name, text in value.overhead.items():
        yield from amount(f"{path}.overhead[{name}]", name, text)


def _policies(path: str, value: core.PodSpec) -> Errors:
    yield from one_of(f"{path}.restartPolicy", value.restart_policy, validate_container.RESTART_POLICIES)
    yield from one_of(f"{path}.dnsPolicy", value.dns_policy, DNS_POLICIES)
    preemption = value.preemption_policy
    yield from maybe_one_of(f"{path}.preemptionPolicy", preemption, ("Never", "PreemptLowerPriority"))
    if value.active_deadline_seconds is not None:
        yield from within(f"{path}.activeDeadlineSeconds", value.active_deadline_seconds, 1, _INT32_MAX)
    if value.os is not None:
        if not value.os.name:
            yield FieldError.required(f"{path}.os.name", "cannot be empty")
        else:
            yield from maybe_one_of(f"{path}.os", value.os.name, ("linux", "windows"))


def _names(path: str, value: core.PodSpec) -> Errors:
    for field, name, check in (
        ("serviceAccountName", value.service_account_name, formats.dns_subdomain),
        ("nodeName", value.node_name, formats.dns_subdomain),
        ("priorityClassName", value.priority_class_name, formats.dns_subdomain),
        ("runtimeClassName", value.runtime_class_name, formats.dns_subdomain),
        ("hostname", value.hostname, formats.dns_label),
        ("subdomain", value.subdomain, formats.dns_label),
        ("hostnameOverride", value.hostname_override, formats.dns_subdomain),
    ):
        if name:
            yield from checked(f"{path}.{field}", name, check)


def _placement(path: str, value: core.PodSpec) -> Errors:
    yield from labels(f"{path}.nodeSelector", value.node_selector)
    yield from validate_scheduling.affinity(f"{path}.affinity", value.affinity)
    yield from validate_scheduling.tolerations(f"{path}.tolerations", value.tolerations)
    yield from validate_scheduling.spreading(f"{path}.topologySpreadConstraints", value.topology_spread_constraints)
    for i, gate in enumerate(value.readiness_gates):
        yield from label_key(f"{path}.readinessGates[{i}].conditionType", gate.condition_type)
    gates: set[str] = set()
    for i, scheduling_gate in enumerate(value.scheduling_gates):
        yield from label_key(f"{path}.schedulingGates[{i}]", scheduling_gate.name)
        yield from unique(f"{path}.schedulingGates[{i}]", scheduling_gate.name, gates)


def _claims(path: str, claims: tuple[core.PodResourceClaim, ...]) -> Errors:
    names: set[str] = set()
    for i, claim in enumerate(claims):
        at = f"{path}[{i}]"
        if not claim.name:
            yield FieldError.required(f"{at}.name")
        else:
            yield from checked(f"{at}.name", claim.name, formats.dns_label)
            yield from unique(f"{at}.name", claim.name, names)
        if claim.resource_claim_name is not None and claim.resource_claim_template_name is not None:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield FieldError.invalid(at, claim, why)
        elif claim.resource_claim_name is None and claim.resource_claim_template_name is None:
            yield FieldError.invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")


def _network(path: str, value: core.PodSpec) -> Errors:
    for i, alias in enumerate(value.host_aliases):
        yield from checked(f"{path}.hostAliases[{i}].ip", alias.ip, formats.ip_address)
        for j, hostname in enumerate(alias.hostnames):
            yield from checked(f"{path}.hostAliases[{i}].hostnames[{j}]", hostname, formats.dns_subdomain)
    yield from _dns(f"{path}.dnsConfig", value.dns_policy, value.dns_config)


def _dns(path: str, policy: str, config: core.PodDNSConfig | None) -> Errors:
    if policy == "None":
        if config is None:
            yield FieldError.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not config.nameservers:
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield FieldError.required(f"{path}.nameservers", why)
    if config is None:
        return
    if len(config.nameservers) > _NAMESERVERS_MAX:
        why = f"must not have more than {_NAMESERVERS_MAX} nameservers"
        yield FieldError.invalid(f"{path}.nameservers", config.nameservers, why)
    for i, server in enumerate(config.nameservers):
        yield from checked(f"{path}.nameservers[{i}]", server, formats.ip_address)
    yield from _searches(f"{path}.searches", config.searches)
    for i, option in enumerate(config.options):
        if not option.name:
            yield FieldError.required(f"{path}.options[{i}]", "must not be empty")


def _searches(path: str, searches: tuple[str, ...]) -> Errors:
    if len(searches) > _SEARCHES_MAX:
        yield FieldError.invalid(path, searches, f"must not have more than {_SEARCHES_MAX} search paths")
    if len(" ".join(searches)) > _SEARCH_CHARS_MAX:
        why = f"must not have more than {_SEARCH_CHARS_MAX} characters (including spaces) in the search list"
        yield FieldError.invalid(path, searches, why)
    for i, search in enumerate(searches):
        if search != ".":
            yield from checked(f"{path}[{i}]", search.removesuffix("."), formats.dns_subdomain)


def _host_ports(path: str, value: core.PodSpec, *, of_pod: bool) -> Errors:
    """On the host's network a container's port is the host's port; templates may leave it open."""
    if not value.host_network:
        return
    for i, container in enumerate(value.containers):
        for j, port in enumerate(container.ports):
            if (of_pod or port.host_port) and port.host_port != port.container_port:
                why = "must match `containerPort` when `hostNetwork` is true"
                yield FieldError.invalid(f"{path}.containers[{i}].ports[{j}].hostPort", port.host_port, why)


# Changes


def update(new: core.Pod, old: core.Pod) -> Errors:
    """A pod's spec that is about to be replaced: little of it may change."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from whole(new)
    yield from _mirror(new, old)
    for field, after, before in (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
    ):
        if len(after) != len(before):
            yield FieldError.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    yield from _deadline(new.spec.active_deadline_seconds, old.spec.active_deadline_seconds)
    yield from _kept_tolerations(new.spec, old.spec)
    known = {gate.name for gate in old.spec.scheduling_gates}
    for i, gate in enumerate(new.spec.scheduling_gates):
        if gate.name not in known:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            yield FieldError.forbidden(f"spec.schedulingGates[{i}].name", why)
    if new.spec != old.spec:
        yield from _rest(new.spec, old.spec)


def _rest(new: core.PodSpec, old: core.PodSpec) -> Errors:
    """What is not among the exceptions must be as it was."""
    reset = edited(
        new,
        containers=_with_images(new.containers, old.containers),
        init_containers=_with_images(new.init_containers, old.init_containers),
        active_deadline_seconds=old.active_deadline_seconds,
        tolerations=old.tolerations,
        scheduling_gates=old.scheduling_gates,
    )
    before = old.termination_grace_period_seconds
    if before is not None and before < 0 and new.termination_grace_period_seconds == 1:
        reset = edited(reset, termination_grace_period_seconds=before)
    if old.scheduling_gates:
        yield from _while_gated(new, old)
        reset = edited(reset, node_selector=old.node_selector, affinity=old.affinity)
    if reset != old:
        changed = "\n".join(f"  {line}" for line in differences(reset, old, "spec"))
        yield FieldError.forbidden("spec", f"{_MAY_CHANGE}\n{changed}")


def _with_images(new: tuple[core.Container, ...], old: tuple[core.Container, ...]) -> tuple[core.Container, ...]:
    return tuple(edited(after, image=before.image) for after, before in zip(new, old, strict=True))


def _while_gated(new: core.PodSpec, old: core.PodSpec) -> Errors:
    """Before it may be scheduled, a pod's choice of nodes may become narrower."""
    if any(new.node_selector.get(key) != value for key, value in old.node_selector.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield FieldError.invalid("spec.nodeSelector", dict(new.node_selector), why)
    after, before = new.affinity or core.Affinity(), old.affinity or core.Affinity()
    if (after.pod_affinity, after.pod_anti_affinity) != (before.pod_affinity, before.pod_anti_affinity):
        yield FieldError.forbidden("spec.affinity", _MAY_CHANGE)
    wanted, terms = _required_terms(before), _required_terms(after)
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    if wanted and len(terms) != len(wanted):
        yield FieldError.invalid(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for i, (term, kept) in enumerate(zip(terms, wanted, strict=False)):
        if term.match_expressions[: len(kept.match_expressions)] != kept.match_expressions:
            why = "only additions are allowed (no mutations or deletions)"
            yield FieldError.invalid(f"{path}[{i}]", term, why)


def _required_terms(affinity: core.Affinity) -> tuple[core.NodeSelectorTerm, ...]:
    node = affinity.node_affinity
    required = None if node is None else node.required_during_scheduling_ignored_during_execution
    return () if required is None else required.node_selector_terms


def _deadline(new: int | None, old: int | None) -> Errors:
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            yield FieldError.invalid(path, None, "must not update from a positive integer to nil value")
    elif old is not None and new > old:
        yield FieldError.invalid(path, new, "must be less than or equal to previous value")


def _kept_tolerations(new: core.PodSpec, old: core.PodSpec) -> Errors:
    kept = {edited(toleration, toleration_seconds=None) for toleration in new.tolerations}
    if any(edited(toleration, toleration_seconds=None) not in kept for toleration in old.tolerations):
        why = "existing toleration can not be modified except its tolerationSeconds"
        yield FieldError.forbidden("spec.tolerations", why)


def _mirror(new: core.Pod, old: core.Pod) -> Errors:
    after, before = new.metadata.annotations.get(MIRROR), old.metadata.annotations.get(MIRROR)
    if after != before:
        verb = "add" if before is None else "remove or update"
        yield FieldError.forbidden(f"metadata.annotations[{MIRROR}]", f"may not {verb} mirror pod annotation")


def update_status(new: core.Pod, old: core.Pod) -> Errors:
    """A pod's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _mirror(new, old)
    if new.spec.node_name != old.spec.node_name:
        yield FieldError.forbidden("status.nodeName", "may not be changed directly")
    for i, condition in enumerate(new.status.conditions):
        if condition.type not in _SYSTEM_CONDITIONS:
            yield from label_key(f"status.conditions[{i}].Type", condition.type)
    if new.status.nominated_node_name:
        yield from checked("status.nominatedNodeName", new.status.nominated_node_name, formats.dns_subdomain)
    for i, ip in enumerate(new.status.pod_ips):
        yield from checked(f"status.podIPs[{i}]", ip.ip, formats.ip_address)
    for i, host_ip in enumerate(new.status.host_ips):
        yield from checked(f"status.hostIPs[{i}]", host_ip.ip, formats.ip_address)
    status, before = new.status, old.status
    restartable = {c.name: c.restart_policy for c in (*old.spec.init_containers, *old.spec.containers)}
    for field, after, earlier in (
        ("containerStatuses", status.container_statuses, before.container_statuses),
        ("initContainerStatuses", status.init_container_statuses, before.init_container_statuses),
    ):
        for i, container in enumerate(earlier):
            policy = restartable.get(container.name) or old.spec.restart_policy
            yield from _stays_ended(f"status.{field}[{i}].state", container, after, policy)


def _stays_ended(path: str, before: core.ContainerStatus, now: tuple[core.ContainerStatus, ...], policy: str) -> Errors:
    """What has ended for good must not run again."""
    ended = before.state.terminated
    if ended is None or policy == "Always" or (policy == "OnFailure" and ended.exit_code):
        return
    if any(status.name == before.name and status.state.terminated is None for status in now):
        yield FieldError.forbidden(path, "may not be transitioned to non-terminated state")


def binding(value: core.Binding) -> Errors:
    """The assignment of a pod to a node."""
    if value.target.kind not in ("", "Node"):
        yield FieldError.unsupported("target.kind", value.target.kind, ("Node", "<empty>"))
    if not value.target.name:
        yield FieldError.required("target.name")


def differences(new: Any, old: Any, path: str, limit: int = 10) -> list[str]:
    """The fields in which two values differ, one a line, with what they hold; at most so many."""
    found: list[str] = []
    _collect(msgspec.to_builtins(new), msgspec.to_builtins(old), path, found)
    return found[:limit]


def _collect(new: Any, old: Any, path: str, found: list[str]) -> None:
    if new == old:
        return
    if isinstance(new, dict) and isinstance(old, dict):
        for key in sorted({*new, *old}):
            _collect(new.get(key), old.get(key), f"{path}.{key}", found)
    elif isinstance(new, (list, tuple)) and isinstance(old, (list, tuple)) and len(new) == len(old):
        for i, (after, before) in enumerate(zip(new, old, strict=True)):
            _collect(after, before, f"{path}[{i}]", found)
    else:
        shown = [msgspec.json.encode(value).decode() for value in (old, new)]
        found.append(f"{path}: {shown[0]} -> {shown[1]}")
