"""Whom a request concerns: the rules and selectors of webhooks and admission policies.

Why: webhooks and policies are told apart by what they do, not by how they are chosen.
What it is not: conditions in CEL, and what is done to those that are chosen.

Vocabulary
- *asked*: what a request is about, in the words of rules: an operation on a resource, maybe below an object.
- *equivalent*: another version or group in which the same stored objects are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from controlplane.admission.request import SUBRESOURCES, Operation, Request
from mizzen.api import kinds, selectors
from mizzen.api.catalog import Catalog
from mizzen.api.custom import CustomKind
from mizzen.api.errors import NotFound
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.view import View

EXACT = "Exact"
_EVERY = "*"
_NAMESPACED, _CLUSTER = "Namespaced", "Cluster"
_CONFIGURATION = (
    kinds.VALIDATING_WEBHOOKS, kinds.MUTATING_WEBHOOKS, kinds.VALIDATING_POLICY, kinds.VALIDATING_POLICY_BINDING,
    kinds.MUTATING_POLICY, kinds.MUTATING_POLICY_BINDING,
)  # fmt: skip
"""Nobody may lock themselves out of what would mend it."""
_SEEN_AS: tuple[tuple[Kind[Any], ...], ...] = (
    (kinds.EVENT, kinds.EVENTS_EVENT),
    (kinds.HORIZONTAL_POD_AUTOSCALER, kinds.HORIZONTAL_POD_AUTOSCALER_V1),
)
"""Kinds of the table that are seen in more than one version or group."""


class Rule(Protocol):
    """What a rule of a webhook says; one of a policy may name objects beside."""

    @property
    def operations(self) -> tuple[str, ...]:
        """Such as `CREATE`, or `*`."""

    @property
    def api_groups(self) -> tuple[str, ...]:
        """Groups, or `*`."""

    @property
    def api_versions(self) -> tuple[str, ...]:
        """Versions, or `*`."""

    @property
    def resources(self) -> tuple[str, ...]:
        """Such as `pods`, `pods/status`, `pods/*`, `*/scale`, `*/*`."""

    @property
    def scope(self) -> str | None:
        """`Namespaced`, `Cluster`, or `*`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is about, in the words of rules."""

    kind: Kind[Any]
    """In the version and group that the request names."""
    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    subresource: str
    namespace: str
    """Empty at the cluster's scope; a namespace is in itself."""
    name: str


def asked(request: Request) -> Asked:
    """What a request is about."""
    operation, below = request.operation, SUBRESOURCES.get(request.operation, "")
    word = Operation.UPDATE.value if below else operation.value
    name = request.name or request.object.metadata.name
    namespace = name if request.kind is kinds.NAMESPACE else request.namespace
    return Asked(request.named, word, request.subresource or below, namespace, name)


def is_exempt(kind: Kind[Any]) -> bool:
    """Whether requests on a kind concern nobody: the configuration of admission itself."""
    return kind in _CONFIGURATION


def equivalents(kind: Kind[Any], catalog: Catalog) -> tuple[Kind[Any], ...]:
    """The kinds that show the same stored objects, without the kind itself."""
    if isinstance(kind, CustomKind):
        found: Iterable[Kind[Any]] = (
            version for one in catalog.defined.values() if one.hub is kind.storage for version in one.versions
        )
    else:
        found = next((group for group in _SEEN_AS if kind in group), ())
    return tuple(other for other in found if other is not kind)


def chosen(
    rules: Sequence[Rule], match_policy: str | None, about: Asked, others: Sequence[Kind[Any]]
) -> Kind[Any] | None:
    """The kind in which a request concerns whoever has these rules; None where it does not.

    `others` are the kind's equivalents; unless the policy is `Exact`, a rule for one of them will do.
    """
    candidates = (about.kind,) if match_policy == EXACT else (about.kind, *others)
    for kind in candidates:
        if any(fits(rule, about, kind) for rule in rules):
            return kind
    return None


def fits(rule: Rule, about: Asked, kind: Kind[Any]) -> bool:
    """Whether a rule is for what is asked, seen as an object of `kind`."""
    return (
        _in(about.operation, rule.operations)
        and _in(kind.group, rule.api_groups)
        and _in(kind.version, rule.api_versions)
        and any(_is_for(resource, kind.plural, about.subresource) for resource in rule.resources)
        and _in_scope(rule.scope, about)
    )


def in_namespace(selector: meta.LabelSelector | None, request: Request, about: Asked, view: View) -> bool:
    """Whether a namespace selector takes the namespace that a request is in; what is in none is always taken.

    Raises NotFound where there is no such namespace.
    """
    if selector is None or not about.namespace or _is_empty(selector):
        return True
    return _matches(selector, namespace_of(request, about, view))


def namespace_of(request: Request, about: Asked, view: View) -> Any:
    """The namespace that a request is in, or that it is about as it shall be. Raises NotFound."""
    if about.kind is kinds.NAMESPACE and not about.subresource and about.operation in ("CREATE", "UPDATE"):
        return request.object
    found = view.get(kinds.NAMESPACE, "", about.namespace)
    if found is None:
        raise NotFound(kinds.NAMESPACE, about.namespace)
    return found


def of_object(selector: meta.LabelSelector | None, *objects: Any) -> bool:
    """Whether an object selector takes the new object or the old one; None where there is none."""
    if selector is None or _is_empty(selector):
        return True
    return any(_matches(selector, obj) for obj in objects if obj is not None and hasattr(obj, "metadata"))


def _matches(selector: meta.LabelSelector, obj: Any) -> bool:
    return selectors.from_field(selector).matches(obj.metadata.labels)


def _is_empty(selector: meta.LabelSelector) -> bool:
    return not selector.match_labels and not selector.match_expressions


def _in(word: str, words: tuple[str, ...]) -> bool:
    return word in words or _EVERY in words


def _is_for(resource: str, plural: str, subresource: str) -> bool:
    name, _, below = resource.partition("/")
    return name in (_EVERY, plural) and below in (_EVERY, subresource)


def _in_scope(scope: str | None, about: Asked) -> bool:
    if scope not in (_NAMESPACED, _CLUSTER):
        return True
    inside = bool(about.namespace) and about.kind is not kinds.NAMESPACE
    return inside is (scope == _NAMESPACED)
