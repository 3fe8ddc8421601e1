"""The rules for containers: those of a pod, init containers, sidecars, and ephemeral ones that are added later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mizzen.api import formats, quantity, resources, validate_env, validate_security, validate_volume
from mizzen.api.ephemeral import as_container
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import (
    PROTOCOLS,
    Errors,
    amount,
    checked,
    is_native,
    maybe_one_of,
    not_negative,
    one_of,
    port,
    port_or_name,
    required,
    required_and,
    unique,
)

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
RESTART_POLICIES = ("Always", "Never", "OnFailure")

_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_SCHEMES = ("HTTP", "HTTPS")
_STANDARD = ("cpu", "ephemeral-storage", "memory")
_OF_PODS = ("cpu", "memory")
_RESTART_RULES_MAX = 20
_NOT_FOR_INIT = "may not be set for init containers without restartPolicy=Always"
_NOT_FOR_EPHEMERAL = "cannot be set for an Ephemeral Container"
_FORBIDDEN_IN_EPHEMERAL = (
    ("ports", "ports"), ("resources", "resources"), ("lifecycle", "lifecycle"), ("liveness_probe", "livenessProbe"),
    ("readiness_probe", "readinessProbe"), ("startup_probe", "startupProbe"), ("resize_policy", "resizePolicy"),
    ("restart_policy", "restartPolicy"), ("restart_policy_rules", "restartPolicyRules"),
)  # fmt: skip
_NOTHING = core.EphemeralContainer()


@dataclass(frozen=True, slots=True)
class PodContext:
    """What the rules for a container need to know of its pod."""

    volumes: frozenset[str]
    block_volumes: frozenset[str]
    claims: tuple[str, ...]
    grace_s: int | None
    restart_policy: str
    host_users: bool

    @classmethod
    def of(cls, spec: core.PodSpec) -> PodContext:
        """The context that a pod's spec gives."""
        block = (v.name for v in spec.volumes if v.persistent_volume_claim is not None or v.ephemeral is not None)
        return cls(
            volumes=frozenset(volume.name for volume in spec.volumes),
            block_volumes=frozenset(block),
            claims=tuple(claim.name for claim in spec.resource_claims),
            grace_s=spec.termination_grace_period_seconds,
            restart_policy=spec.restart_policy,
            host_users=spec.host_users is not False,
        )


def containers(path: str, spec: core.PodSpec, pod: PodContext) -> Errors:
    """The containers of a pod."""
    yield from required(path, spec.containers)
    names: set[str] = set()
    for i, container in enumerate(spec.containers):
        at = f"{path}[{i}]"
        yield from _common(at, container, pod)
        yield from unique(f"{at}.name", container.name, names)
        yield from _running(at, container, pod)
        yield from _restart(at, container)
    yield from _host_ports(path, spec.containers)


def init_containers(path: str, spec: core.PodSpec, pod: PodContext) -> Errors:
    """What runs before the containers, and sidecars."""
    names = {container.name for container in spec.containers}
    for i, container in enumerate(spec.init_containers):
        at = f"{path}[{i}]"
        yield from _common(at, container, pod)
        yield from unique(f"{at}.name", container.name, names)
        yield from _restart(at, container)
        yield from _host_ports(path, (container,))
        if resources.is_sidecar(container):
            yield from _running(at, container, pod)
            continue
        for name, value in (
            ("lifecycle", container.lifecycle), ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe), ("startupProbe", container.startup_probe),
        ):  # fmt: skip
            if value is not None:
                yield FieldError.forbidden(f"{at}.{name}", _NOT_FOR_INIT)


def ephemeral_containers(path: str, spec: core.PodSpec, pod: PodContext) -> Errors:
    """What was added to a running pod to look into it."""
    others = {container.name for container in (*spec.containers, *spec.init_containers)}
    names = set(others)
    for i, ephemeral in enumerate(spec.ephemeral_containers):
        at = f"{path}[{i}]"
        yield from _common(at, as_container(ephemeral), pod)
        yield from unique(f"{at}.name", ephemeral.name, names)
        yield from image_spaces(at, ephemeral.image)
        if ephemeral.target_container_name and ephemeral.target_container_name not in others:
            yield FieldError.not_found(f"{at}.targetContainerName", ephemeral.target_container_name)
        for attr, name in _FORBIDDEN_IN_EPHEMERAL:
            if getattr(ephemeral, attr) != getattr(_NOTHING, attr):
                yield FieldError.forbidden(f"{at}.{name}", _NOT_FOR_EPHEMERAL)
        for j, mount in enumerate(ephemeral.volume_mounts):
            for name, value in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
                if value:
                    yield FieldError.forbidden(f"{at}.volumeMounts[{j}].{name}", _NOT_FOR_EPHEMERAL)


def image_spaces(path: str, image: str) -> Errors:
    """In pods, but not in templates, an image's name must be without spaces around it."""
    if image != image.strip():
        yield FieldError.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _common(path: str, container: core.Container, pod: PodContext) -> Errors:
    """What holds for all containers."""
    yield from required_and(f"{path}.name", container.name, formats.dns_label)
    yield from required(f"{path}.image", container.image)
    yield from one_of(f"{path}.terminationMessagePolicy", container.termination_message_policy, _MESSAGE_POLICIES)
    yield from _ports(f"{path}.ports", container.ports)
    yield from validate_env.variables(f"{path}.env", container.env)
    yield from validate_env.sources(f"{path}.envFrom", container.env_from)
    yield from validate_volume.mounts(f"{path}.volumeMounts", container, pod.volumes)
    yield from validate_volume.devices(f"{path}.volumeDevices", container, pod.block_volumes)
    yield from one_of(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES)
    yield from requirements(f"{path}.resources", container.resources, pod.claims)
    yield from _resizing(f"{path}.resizePolicy", container.resize_policy, pod.restart_policy)
    yield from validate_security.container_context(
        f"{path}.securityContext", container.security_context, host_users=pod.host_users
    )


def _running(path: str, container: core.Container, pod: PodContext) -> Errors:
    """What holds for containers that run on."""
    if container.lifecycle is not None:
        for name, handler in (
            ("postStart", container.lifecycle.post_start), ("preStop", container.lifecycle.pre_stop)
        ):  # fmt: skip
            if handler is not None:
                yield from _handler(f"{path}.lifecycle.{name}", handler, pod.grace_s)
    yield from _probe(f"{path}.livenessProbe", container.liveness_probe, once=True)
    yield from _probe(f"{path}.readinessProbe", container.readiness_probe, once=False)
    yield from _probe(f"{path}.startupProbe", container.startup_probe, once=True)


def _restart(path: str, container: core.Container) -> Errors:
    yield from maybe_one_of(f"{path}.restartPolicy", container.restart_policy, RESTART_POLICIES)
    rules = container.restart_policy_rules
    if not rules:
        return
    at = f"{path}.restartPolicyRules"
    if container.restart_policy is None:
        yield FieldError.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > _RESTART_RULES_MAX:
        yield FieldError.too_many(at, len(rules), _RESTART_RULES_MAX)
    for i, rule in enumerate(rules):
        yield from one_of(f"{at}[{i}].action", rule.action, ("Restart",))
        if rule.exit_codes is None:
            yield FieldError.required(f"{at}[{i}].exitCodes", "must be specified")
        else:
            yield from one_of(f"{at}[{i}].exitCodes.operator", rule.exit_codes.operator, ("In", "NotIn"))


def _ports(path: str, ports: tuple[core.ContainerPort, ...]) -> Errors:
    names: set[str] = set()
    for i, entry in enumerate(ports):
        at = f"{path}[{i}]"
        if entry.name:
            yield from checked(f"{at}.name", entry.name, formats.port_name)
            yield from unique(f"{at}.name", entry.name, names)
        if not entry.container_port:
            yield FieldError.required(f"{at}.containerPort")
        else:
            yield from port(f"{at}.containerPort", entry.container_port)
        if entry.host_port:
            yield from port(f"{at}.hostPort", entry.host_port)
        yield from one_of(f"{at}.protocol", entry.protocol, PROTOCOLS)


def _host_ports(path: str, items: Iterable[core.Container]) -> Errors:
    """Ports of the host must not be asked for twice."""
    seen: set[str] = set()
    for i, container in enumerate(items):
        for j, entry in enumerate(container.ports):
            if entry.host_port:
                key = f"{entry.protocol}/{entry.host_ip}/{entry.host_port}"
                yield from unique(f"{path}[{i}].ports[{j}].hostPort", key, seen)


def _resizing(path: str, policies: tuple[core.ContainerResizePolicy, ...], restart_policy: str) -> Errors:
    seen: set[str] = set()
    for i, policy in enumerate(policies):
        yield from unique(f"{path}[{i}]", policy.resource_name, seen)
        yield from one_of(path, policy.resource_name, _OF_PODS)
        yield from one_of(path, policy.restart_policy, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and policy.restart_policy != "NotRequired":
            why = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            yield FieldError.invalid(path, policy.restart_policy, why)


# Probes and lifecycle


def _probe(path: str, probe: core.Probe | None, *, once: bool) -> Errors:
    """A probe; `once` for those where one success is enough and a grace period of its own makes sense."""
    if probe is None:
        return
    yield from _handler(path, probe, None)
    for name, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds), ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds), ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):  # fmt: skip
        yield from not_negative(f"{path}.{name}", value)
    grace_s = probe.termination_grace_period_seconds
    if grace_s is not None and grace_s <= 0:
        yield FieldError.invalid(f"{path}.terminationGracePeriodSeconds", grace_s, "must be greater than 0")
    if once and probe.success_threshold != 1:
        yield FieldError.invalid(f"{path}.successThreshold", probe.success_threshold, "must be 1")
    if not once and grace_s is not None:
        why = "must not be set for readinessProbes"
        yield FieldError.invalid(f"{path}.terminationGracePeriodSeconds", grace_s, why)


def _handler(path: str, handler: core.Probe | core.LifecycleHandler, grace_s: int | None) -> Errors:
    """Exactly one way to probe or to act."""
    given = 0
    for name, attr in (
        ("exec", "exec"), ("httpGet", "http_get"), ("tcpSocket", "tcp_socket"), ("grpc", "grpc"), ("sleep", "sleep")
    ):  # fmt: skip
        action = getattr(handler, attr, None)
        if action is None:
            continue
        given += 1
        if given > 1:
            yield FieldError.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
        else:
            yield from _action(f"{path}.{name}", action, grace_s)
    if not given:
        yield FieldError.required(path, "must specify a handler type")


def _action(
    path: str,
    action: core.ExecAction | core.HTTPGetAction | core.TCPSocketAction | core.GRPCAction | core.SleepAction,
    grace_s: int | None,
) -> Errors:
    match action:
        case core.ExecAction():
            yield from required(f"{path}.command", action.command)
        case core.HTTPGetAction():
            yield from required(f"{path}.path", action.path)
            yield from port_or_name(f"{path}.port", action.port)
            yield from one_of(f"{path}.scheme", action.scheme, _SCHEMES)
            for header in action.http_headers:
                yield from checked(f"{path}.httpHeaders", header.name, formats.header_name)
        case core.TCPSocketAction() | core.GRPCAction():
            yield from port_or_name(f"{path}.port", action.port)
        case core.SleepAction():
            if action.seconds < 0 or (grace_s is not None and action.seconds > grace_s):
                why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
                yield FieldError.invalid(path, action.seconds, why)


# Resources


def requirements(path: str, wanted: core.ResourceRequirements, claims: tuple[str, ...]) -> Errors:
    """Requests and limits of a container; `claims` are the pod's resource claims."""
    for name, text in wanted.limits.items():
        yield from resource_name(f"{path}.limits[{name}]", name)
        yield from amount(f"{path}.limits[{name}]", name, text)
    for name, text in wanted.requests.items():
        yield from resource_name(f"{path}.requests[{name}]", name)
        yield from amount(f"{path}.requests[{name}]", name, text)
        yield from _against_limit(path, name, text, wanted.limits.get(name))
    named = {*wanted.limits, *wanted.requests}
    if any(name.startswith(resources.HUGE_PAGES_PREFIX) for name in named) and named.isdisjoint(_OF_PODS):
        yield FieldError.forbidden(path, "HugePages require cpu or memory")
    yield from _claims(f"{path}.claims", wanted.claims, claims)


def whole_pod(path: str, wanted: core.ResourceRequirements) -> Errors:
    """Requests and limits of a pod as a whole."""
    for field, listed in (("limits", wanted.limits), ("requests", wanted.requests)):
        for name, text in listed.items():
            if name not in _OF_PODS and not name.startswith(resources.HUGE_PAGES_PREFIX):
                yield FieldError.unsupported(f"{path}.{field}[{name}]", name, (*_OF_PODS, "hugepages-*"))
            yield from amount(f"{path}.{field}[{name}]", name, text)
    for name, text in wanted.requests.items():
        yield from _against_limit(path, name, text, wanted.limits.get(name, text))


def resource_name(path: str, name: str) -> Errors:
    """The name of a resource that containers ask for."""
    problems = formats.qualified_name(name)
    for problem in problems:
        yield FieldError.invalid(path, name, problem)
    if problems:
        return
    if "/" not in name:
        if name not in _STANDARD and not name.startswith(resources.HUGE_PAGES_PREFIX):
            yield FieldError.invalid(path, name, "must be a standard resource type or fully qualified")
            yield FieldError.invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and name.startswith("requests."):
        yield FieldError.invalid(path, name, "doesn't follow extended resource name standard")


def _against_limit(path: str, name: str, request: str, limit: str | None) -> Errors:
    """A request must not exceed its limit; what cannot be overcommitted must equal it."""
    divisible = can_overcommit(name)
    if limit is None:
        if not divisible:
            yield FieldError.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        return
    order = quantity.compare(request, limit)
    if not divisible and order:
        yield FieldError.invalid(f"{path}.requests", request, f"must be equal to {name} limit of {limit}")
    elif order > 0:
        yield FieldError.invalid(f"{path}.requests", request, f"must be less than or equal to {name} limit of {limit}")


def can_overcommit(name: str) -> bool:
    """Whether more of a resource may be promised than there is."""
    return is_native(name) and not name.startswith(resources.HUGE_PAGES_PREFIX)


def _claims(path: str, wanted: tuple[core.ResourceClaim, ...], known: tuple[str, ...]) -> Errors:
    seen: set[str] = set()
    for i, claim in enumerate(wanted):
        at = f"{path}[{i}]"
        if not claim.name:
            yield FieldError.required(at)
            continue
        yield from unique(at, claim.name, seen)
        if claim.name not in known:
            rest = f": {', '.join(sorted(known))}" if known else " which is empty"
            why = f"must be one of the names in pod.spec.resourceClaims{rest}"
            yield FieldError("FieldValueNotFound", at, claim.name, why)
