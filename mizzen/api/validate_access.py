"""The rules for roles, bindings, requests for certificates, and questions about who may do what."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import authorization_v1 as authorization
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from mizzen.api.validate_common import (
    Errors,
    checked,
    label_requirement,
    label_selector,
    presence_of_values,
    required,
    required_and,
)

RBAC_GROUP = "rbac.authorization.k8s.io"
TOKEN_MIN_S = 600
TOKEN_MAX_S = 1 << 32


def create_role(role: rbac.Role) -> Errors:
    """A Role that is about to be."""
    yield from validate_meta.create(role.metadata, formats.path_segment, namespaced=True)
    yield from _rules(role.rules, namespaced=True)


def update_role(new: rbac.Role, old: rbac.Role) -> Errors:
    """A Role that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _rules(new.rules, namespaced=True)


def create_cluster_role(role: rbac.ClusterRole) -> Errors:
    """A ClusterRole that is about to be."""
    yield from validate_meta.create(role.metadata, formats.path_segment, namespaced=False)
    yield from _cluster_role(role)


def update_cluster_role(new: rbac.ClusterRole, old: rbac.ClusterRole) -> Errors:
    """A ClusterRole that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _cluster_role(new)


def _cluster_role(role: rbac.ClusterRole) -> Errors:
    yield from _rules(role.rules, namespaced=False)
    if role.aggregation_rule is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    selectors = role.aggregation_rule.cluster_role_selectors
    yield from required(path, selectors, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for i, selector in enumerate(selectors):
        yield from label_selector(f"{path}[{i}]", selector)


def _rules(rules: tuple[rbac.PolicyRule, ...], *, namespaced: bool) -> Errors:
    for i, rule in enumerate(rules):
        yield from _rule(f"rules[{i}]", rule, namespaced=namespaced)


def _rule(path: str, rule: rbac.PolicyRule, *, namespaced: bool) -> Errors:
    yield from required(f"{path}.verbs", rule.verbs, "verbs must contain at least one value")
    urls = rule.non_resource_urls
    if not urls:
        yield from required(f"{path}.apiGroups", rule.api_groups, "resource rules must supply at least one api group")
        yield from required(f"{path}.resources", rule.resources, "resource rules must supply at least one resource")
        return
    field = f"{path}.nonResourceURLs"
    if namespaced:
        yield FieldError.invalid(field, urls, "namespaced rules cannot apply to non-resource URLs")
    if rule.api_groups or rule.resources or rule.resource_names:
        yield FieldError.invalid(field, urls, "rules cannot apply to both regular resources and non-resource URLs")


Binding = rbac.RoleBinding | rbac.ClusterRoleBinding


def create_role_binding(binding: rbac.RoleBinding) -> Errors:
    """A RoleBinding that is about to be."""
    yield from validate_meta.create(binding.metadata, formats.path_segment, namespaced=True)
    yield from _binding(binding, ("ClusterRole", "Role"))


def create_cluster_role_binding(binding: rbac.ClusterRoleBinding) -> Errors:
    """A ClusterRoleBinding that is about to be."""
    yield from validate_meta.create(binding.metadata, formats.path_segment, namespaced=False)
    yield from _binding(binding, ("ClusterRole",))


def update_role_binding(new: rbac.RoleBinding, old: rbac.RoleBinding) -> Errors:
    """A RoleBinding that is about to be replaced: who gets the role may change, the role may not."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _binding(new, ("ClusterRole", "Role"))
    yield from _same_role(new, old)


def update_cluster_role_binding(new: rbac.ClusterRoleBinding, old: rbac.ClusterRoleBinding) -> Errors:
    """A ClusterRoleBinding that is about to be replaced: who gets the role may change, the role may not."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _binding(new, ("ClusterRole",))
    yield from _same_role(new, old)


def _same_role(new: Binding, old: Binding) -> Errors:
    if new.role_ref != old.role_ref:
        yield FieldError.invalid("roleRef", new.role_ref, "cannot change roleRef")


def _binding(binding: Binding, roles: tuple[str, ...]) -> Errors:
    role = binding.role_ref
    if role.api_group != RBAC_GROUP:
        yield FieldError.unsupported("roleRef.apiGroup", role.api_group, [RBAC_GROUP])
    if role.kind not in roles:
        yield FieldError.unsupported("roleRef.kind", role.kind, roles)
    yield from required_and("roleRef.name", role.name, formats.path_segment)
    for i, subject in enumerate(binding.subjects):
        yield from _subject(f"subjects[{i}]", subject, namespaced="Role" in roles)


def _subject(path: str, subject: rbac.Subject, *, namespaced: bool) -> Errors:
    yield from required(f"{path}.name", subject.name)
    if subject.kind == "ServiceAccount":
        if subject.name:
            yield from checked(f"{path}.name", subject.name, formats.dns_subdomain)
        if subject.api_group:
            yield FieldError.unsupported(f"{path}.apiGroup", subject.api_group, [""])
        if not namespaced:
            yield from required(f"{path}.namespace", subject.namespace)
    elif subject.kind in ("User", "Group"):
        if subject.api_group != RBAC_GROUP:
            yield FieldError.unsupported(f"{path}.apiGroup", subject.api_group, [RBAC_GROUP])
    else:
        yield FieldError.unsupported(f"{path}.kind", subject.kind, ["ServiceAccount", "User", "Group"])


def token_review(review: authentication.TokenReview) -> Errors:
    """A question about a token."""
    yield from required("spec.token", review.spec.token)


def token_request(request: authentication.TokenRequest) -> Errors:
    """A request for a token, with its defaults."""
    seconds = request.spec.expiration_seconds or 0
    path = "spec.expirationSeconds"
    if seconds < TOKEN_MIN_S:
        yield FieldError.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > TOKEN_MAX_S:
        yield FieldError.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def subject_access_review(review: authorization.SubjectAccessReview) -> Errors:
    """A question about somebody."""
    yield from _bare(review.metadata)
    yield from _attributes(review.spec.resource_attributes, review.spec.non_resource_attributes)
    yield from _somebody(review.spec)


def local_subject_access_review(review: authorization.LocalSubjectAccessReview) -> Errors:
    """A question about somebody in one namespace."""
    yield from _bare(review.metadata, "must be empty except for namespace", namespace=review.metadata.namespace)
    yield from _somebody(review.spec)
    attributes = review.spec.resource_attributes
    yield from _selectors(attributes)
    if attributes is None:
        yield FieldError.required("spec.resourceAttributes", "must specify resourceAttributes")
    elif attributes.namespace != review.metadata.namespace:
        why = "must match metadata.namespace"
        yield FieldError.invalid("spec.resourceAttributes.namespace", attributes.namespace, why)
    if review.spec.non_resource_attributes is not None:
        why = "disallowed on this kind of request"
        yield FieldError.invalid("spec.nonResourceAttributes", review.spec.non_resource_attributes, why)


def self_subject_access_review(review: authorization.SelfSubjectAccessReview) -> Errors:
    """A question about the asker."""
    yield from _bare(review.metadata)
    yield from _attributes(review.spec.resource_attributes, review.spec.non_resource_attributes)


def _bare(metadata: meta.ObjectMeta, why: str = "must be empty", namespace: str = "") -> Errors:
    """A question is no object: it has no name and nothing else of what objects are known by."""
    if replace(metadata, managed_fields=()) != meta.ObjectMeta(namespace=namespace):
        yield FieldError.invalid("metadata", metadata, why)


def _somebody(spec: authorization.SubjectAccessReviewSpec) -> Errors:
    if not spec.user and not spec.groups:
        yield FieldError.invalid("spec.user", spec.user, "at least one of user or group must be specified")


def _attributes(
    resource: authorization.ResourceAttributes | None, path: authorization.NonResourceAttributes | None
) -> Errors:
    if resource is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        yield FieldError.invalid("spec.nonResourceAttributes", path, why)
    if resource is None and path is None:
        what = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield FieldError.invalid("spec.resourceAttributes", path, what)
    yield from _selectors(resource)


def _selectors(resource: authorization.ResourceAttributes | None) -> Errors:
    """Operators that nobody knows are left to who answers, as newer clients may know more than this server."""
    if resource is None:
        return
    fields, labels = resource.field_selector, resource.label_selector
    path = "spec.resourceAttributes.fieldSelector"
    if fields is not None:
        yield from _one_form(path, fields.raw_selector, present=bool(fields.requirements))
        for i, one in enumerate(fields.requirements):
            where = f"{path}.requirements[{i}]"
            yield from presence_of_values(where, one.operator, one.values, other_operators=True)
            yield from required(f"{where}.key", one.key, "must be specified")
    path = "spec.resourceAttributes.labelSelector"
    if labels is not None:
        yield from _one_form(path, labels.raw_selector, present=bool(labels.requirements))
        for i, expression in enumerate(labels.requirements):
            yield from label_requirement(f"{path}.requirements[{i}]", expression, other_operators=True)


def _one_form(path: str, raw: str, *, present: bool) -> Errors:
    """A selector is written as a text or as requirements."""
    if raw and present:
        yield FieldError.invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")
    if not raw and not present:
        why = f"when {path} is specified, requirements or rawSelector is required"
        yield FieldError.required(f"{path}.requirements", why)


def nothing(obj: object, old: object = None) -> Iterator[FieldError]:
    """Nothing can be wrong with it, or it is never stored."""
    del obj, old
    yield from ()
