"""Audit policies: what of a request is written down, by Kubernetes' `audit.k8s.io/v1` Policy.

Vocabulary
- *level*: `None`, `Metadata`, `Request` (and its object), `RequestResponse` (and that of the answer).
- *stage*: when an event is written: `RequestReceived`, `ResponseStarted` (of what lasts), `ResponseComplete`, `Panic`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import yaml

from controlplane.access.values import UserInfo
from mizzen.api import formats
from mizzen.api.errors import FieldError

NONE, METADATA, REQUEST, REQUEST_RESPONSE = LEVELS = ("None", "Metadata", "Request", "RequestResponse")
"""The levels, from nothing to everything."""
RECEIVED, STARTED, COMPLETE, PANIC = STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
"""The stages, in their order."""
_VERSION, _KIND = "audit.k8s.io/v1", "Policy"


class BadPolicy(ValueError):
    """The file says what it can't mean; names every field."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request is judged by."""

    user: UserInfo | None
    """Who asks; None for who could not prove it."""
    verb: str
    path: str = ""
    """Of what is no object; then nothing below is set."""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is written of a request."""

    level: str = NONE
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    def covers(self, level: str) -> bool:
        """Whether what belongs to a level is written."""
        return LEVELS.index(self.level) >= LEVELS.index(level)


class _Struct(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class _Resources(_Struct):
    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class _Rule(_Struct):
    level: str = ""
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[_Resources, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool | None = None


class _Policy(_Struct):
    api_version: str = ""
    kind: str = ""
    metadata: dict[str, object] = msgspec.field(default_factory=dict)
    rules: tuple[_Rule, ...] = ()
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool = False


class AuditPolicy:
    """Rules, of which the first that fits decides."""

    def __init__(self, policy: _Policy) -> None:
        self._rules = [(rule, _decision(rule, policy)) for rule in policy.rules]

    def decide(self, asked: Attributes) -> Decision:
        """What is written of a request; what no rule is about is not written."""
        return next((decision for rule, decision in self._rules if _fits(rule, asked)), Decision())


def read_policy(text: str) -> AuditPolicy:
    """The policy in a file, YAML or JSON. Raises BadPolicy."""
    try:
        found = msgspec.convert(yaml.safe_load(text), _Policy)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadPolicy(f"it can't be read: {error}") from error
    if (found.api_version, found.kind) != (_VERSION, _KIND):
        raise BadPolicy(f"it must be of apiVersion {_VERSION} and kind {_KIND}")
    if not found.rules:
        raise BadPolicy("loaded illegal policy with 0 rules")
    if errors := list(_errors(found)):
        raise BadPolicy("; ".join(map(str, errors)))
    return AuditPolicy(found)


def _decision(rule: _Rule, policy: _Policy) -> Decision:
    unmanaged = policy.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields
    return Decision(rule.level, frozenset((*policy.omit_stages, *rule.omit_stages)), unmanaged)


# ---------------------------------------------------------------------------------------------------------- what fits


def _fits(rule: _Rule, asked: Attributes) -> bool:
    user = asked.user
    if rule.users and (user is None or user.name not in rule.users):
        return False
    if rule.user_groups and (user is None or not any(group in rule.user_groups for group in user.groups)):
        return False
    if rule.verbs and asked.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return not asked.path and _fits_objects(rule, asked)
    if rule.non_resource_urls:
        return bool(asked.path) and any(_fits_path(pattern, asked.path) for pattern in rule.non_resource_urls)
    return True


def _fits_objects(rule: _Rule, asked: Attributes) -> bool:
    if rule.namespaces and asked.namespace not in rule.namespaces:
        return False
    return not rule.resources or any(_fits_resources(one, asked) for one in rule.resources)


def _fits_resources(one: _Resources, asked: Attributes) -> bool:
    if one.group != asked.group:
        return False
    if not one.resources:
        return True
    whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    wanted = {whole, "*", f"{asked.resource}/*"} | ({f"*/{asked.subresource}"} if asked.subresource else set())
    named = not one.resource_names or asked.name in one.resource_names
    return named and any(resource in wanted for resource in one.resources)


def _fits_path(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


# -------------------------------------------------------------------------------------------------------- what is wrong


def _errors(policy: _Policy) -> Iterator[FieldError]:
    yield from _wrong_stages("omitStages", policy.omit_stages)
    for place, rule in enumerate(policy.rules):
        at = f"rules[{place}]"
        if not rule.level:
            yield FieldError.required(f"{at}.level")
        elif rule.level not in LEVELS:
            yield FieldError.unsupported(f"{at}.level", rule.level, LEVELS)
        yield from _wrong_urls(f"{at}.nonResourceURLs", rule.non_resource_urls)
        if rule.non_resource_urls and (rule.resources or rule.namespaces):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            yield FieldError.invalid(f"{at}.nonResourceURLs", list(rule.non_resource_urls), detail)
        for number, one in enumerate(rule.resources):
            yield from _wrong_resources(f"{at}.resources[{number}]", one)
        yield from _wrong_stages(f"{at}.omitStages", rule.omit_stages)


def _wrong_stages(at: str, stages: Sequence[str]) -> Iterator[FieldError]:
    for place, stage in enumerate(stages):
        if stage not in STAGES:
            yield FieldError.invalid(f"{at}[{place}]", stage, f"allowed stages are {','.join(STAGES)}")


def _wrong_urls(at: str, urls: Sequence[str]) -> Iterator[FieldError]:
    for place, url in enumerate(urls):
        if url == "*":
            continue
        if not url.startswith("/"):
            detail = "non-resource URL rules must begin with a '/' character"
            yield FieldError.invalid(f"{at}[{place}]", url, detail)
        if "*" in url[:-1]:
            detail = "non-resource URL wildcards '*' must be the final character of the rule"
            yield FieldError.invalid(f"{at}[{place}]", url, detail)


def _wrong_resources(at: str, one: _Resources) -> Iterator[FieldError]:
    if one.group:
        for problem in formats.dns_subdomain(one.group):
            yield FieldError.invalid(f"{at}.group", one.group, problem)
    if one.resource_names and not one.resources:
        detail = "using resourceNames requires at least one resource"
        yield FieldError.invalid(f"{at}.resourceNames", list(one.resource_names), detail)
