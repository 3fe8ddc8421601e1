"""Which admission policies concern a request, by which bindings, with which parameters; and what expressions see of it.

What it is not: what is done about it (`policy_judging`, `policy_changing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controlplane.access.grants import grants_of, wants
from controlplane.access.values import ACCOUNTS, AUTHENTICATED, UserInfo, Wanted, account_user
from controlplane.admission import matching
from controlplane.admission.matching import Asked
from controlplane.admission.request import Operation, Request
from mizzen.api import codec, custom, kinds, selectors
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.engine.view import View

if TYPE_CHECKING:
    from mizzen.api.cel.authorizer import Answer, Question

FAIL = "Fail"
_DENY = "Deny"
_CONTROL_PLANE = "system:kube-controller-manager"


class Misconfigured(Exception):
    """A policy or a binding cannot be put into force as it stands."""


@dataclass(frozen=True, slots=True)
class Concern:
    """A policy that concerns a request, by a binding."""

    policy: Any
    binding: Any
    kind: Kind[Any]
    """The kind in which the policy sees the objects."""


@dataclass(slots=True)
class Seen:
    """A request as rules and expressions see it."""

    request: Request
    object: Any
    """As it shall be; None for DELETE."""
    old: Any
    view: View
    about: Asked = field(init=False)

    def __post_init__(self) -> None:
        self.about = matching.asked(self.request)

    def given(self, kind: Kind[Any], params: Any) -> dict[str, Any]:
        """The variables of expressions for a policy that sees objects as of `kind`."""
        from mizzen.api.cel import authorizer, values

        about = self.about
        resource = values.made(
            "kubernetes.authorization.ResourceCheck",
            group=about.kind.group, resource=about.kind.plural, subresource=about.subresource,
            namespace=self.request.namespace, name=about.name,
        )  # fmt: skip
        return {
            "object": shown(self.object, kind),
            "oldObject": shown(self.old, kind),
            "request": self._attributes(kind),
            "params": params,
            "namespaceObject": self._namespace(),
            "authorizer": authorizer.of_sender(),
            "authorizer.requestResource": resource,
        }

    def ask(self, question: Question) -> Answer:
        """What the authorizer says."""
        user = self._sender()
        if question.account:
            namespace, _, name = question.account.partition("/")
            groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)
            user = UserInfo(account_user(namespace, name), groups)
        elif self.request.user is None:
            return True, ""
        if question.path:
            verdict = grants_of(user, "", self.view).decide(Wanted(question.verb, path=question.path))
            return verdict.allowed, verdict.reason
        resource = f"{question.resource}/{question.subresource}" if question.subresource else question.resource
        wanted = wants(question.verb, question.group, resource, question.namespace, question.name)
        verdict = grants_of(user, wanted.namespace, self.view).decide(wanted)
        return verdict.allowed, verdict.reason

    def _sender(self) -> UserInfo:
        return self.request.user or UserInfo(_CONTROL_PLANE, (AUTHENTICATED,))

    def _attributes(self, kind: Kind[Any]) -> dict[str, Any]:
        about, user = self.about, self._sender()
        asked_kind, asked_resource = _kind(about.kind), _resource(about.kind)
        return {
            "kind": _kind(kind),
            "resource": _resource(kind),
            "subResource": about.subresource,
            "requestKind": asked_kind,
            "requestResource": asked_resource,
            "requestSubResource": about.subresource,
            "name": about.name,
            "namespace": self.request.namespace,
            "operation": about.operation,
            "userInfo": {
                "username": user.name,
                "uid": user.uid,
                "groups": list(user.groups),
                "extra": {name: list(texts) for name, texts in user.extra.items()},
            },
            "dryRun": self.request.dry_run,
            "options": dict(self.request.options),
        }

    def _namespace(self) -> Any:
        if not self.about.namespace or self.about.kind is kinds.NAMESPACE:
            return None
        found = self.view.get(kinds.NAMESPACE, "", self.about.namespace)
        return None if found is None else codec.to_dict(found)


def shown(obj: Any, kind: Kind[Any]) -> Any:
    """An object as JSON in the version in which a policy sees it; None for none."""
    if obj is None or isinstance(obj, Mapping):
        return obj
    if isinstance(obj, custom.Custom) and isinstance(kind, CustomKind) and kind.hub is not None:
        obj = custom.in_version(kind, obj)
    return codec.to_dict(obj)


def seen(request: Request, obj: Any, old: Any, view: View) -> Seen:
    """A request as policies see it; `obj` is the object as it shall be."""
    if request.operation is Operation.DELETE:
        return Seen(request, None, old, view)
    if request.operation is Operation.CONNECT:
        return Seen(request, request.object, None, view)
    return Seen(request, obj, old, view)


def concerns(one: Seen, policies: Kind[Any], bindings: Kind[Any]) -> Iterator[Concern]:
    """The policies that concern a request, by name, and each by the names of its bindings."""
    if matching.is_exempt(one.request.kind):
        return
    by_policy: dict[str, list[Any]] = {}
    for binding in one.view.list(bindings):
        by_policy.setdefault(binding.spec.policy_name, []).append(binding)
    others = matching.equivalents(one.about.kind, one.view.catalog) if by_policy else ()
    for name in sorted(by_policy):
        policy = one.view.get(policies, "", name)
        if policy is None or policy.spec.match_constraints is None:
            continue
        kind = _chosen(policy.spec.match_constraints, one, others, needs_rules=True)
        if kind is None:
            continue
        if isinstance(one.about.kind, CustomKind) and one.about.kind.conversion is not None:
            # Asking who converts is for the server; a policy sees the object in the version of the request.
            kind = one.about.kind
        for binding in by_policy[name]:
            resources = binding.spec.match_resources
            if resources is None or _chosen(resources, one, others, needs_rules=False) is not None:
                yield Concern(policy, binding, kind)


def _chosen(
    match: admission.MatchResources, one: Seen, others: Sequence[Kind[Any]], *, needs_rules: bool
) -> Kind[Any] | None:
    if not matching.of_object(match.object_selector, one.object, one.old):
        return None
    if not matching.in_namespace(match.namespace_selector, one.request, one.about, one.view):
        return None
    if matching.chosen(_named(match.exclude_resource_rules, one), match.match_policy, one.about, others) is not None:
        return None
    if not match.resource_rules and not needs_rules:
        return one.about.kind
    return matching.chosen(_named(match.resource_rules, one), match.match_policy, one.about, others)


def _named(rules: Sequence[admission.NamedRuleWithOperations], one: Seen) -> list[admission.NamedRuleWithOperations]:
    return [rule for rule in rules if not rule.resource_names or one.about.name in rule.resource_names]


def parameters(concern: Concern, one: Seen) -> list[Any]:
    """The parameters to evaluate a policy with, one after another; None stands for none. Raises Misconfigured."""
    wanted, ref = concern.policy.spec.param_kind, concern.binding.spec.param_ref
    if wanted is None or ref is None:
        return [None]
    kind = one.view.catalog.by_type.get((wanted.api_version, wanted.kind))
    if kind is None:
        group = wanted.api_version if "/" in wanted.api_version else f"/{wanted.api_version}"
        raise Misconfigured(f"paramKind kind `{group}, Kind={wanted.kind}` not known")
    found = _found(kind, ref, _place(kind, ref, one), one.view)
    if any(_must_be_converted(param, kind) for param in found):
        raise Misconfigured(f"paramKind {wanted.kind} is not stored in {wanted.api_version}; name the stored version")
    if not found and ref.parameter_not_found_action == _DENY:
        raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
    return [shown(param, kind) for param in found]


def _must_be_converted(param: Any, kind: Kind[Any]) -> bool:
    return isinstance(kind, CustomKind) and kind.conversion is not None and bool(param.form != kind.version)


def _place(kind: Kind[Any], ref: admission.ParamRef, one: Seen) -> str:
    if not kind.namespaced:
        if ref.namespace:
            raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    namespace = ref.namespace or one.request.namespace
    if not namespace:
        raise Misconfigured("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    return namespace


def _found(kind: Kind[Any], ref: admission.ParamRef, namespace: str, view: View) -> list[Any]:
    stored = kind.storage if isinstance(kind, CustomKind) else kinds.BY_RESOURCE.get(kind.resource, kind)
    if ref.name:
        param = view.get(stored, namespace, ref.name)
        return [] if param is None else [param]
    assert ref.selector is not None
    selector = selectors.from_field(ref.selector)
    return [param for param in view.list(stored, namespace) if selector.matches(param.metadata.labels)]


def _kind(kind: Kind[Any]) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource(kind: Kind[Any]) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}
