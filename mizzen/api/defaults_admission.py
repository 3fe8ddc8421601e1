"""What the API fills in where webhooks, policies and served groups leave something out."""

from __future__ import annotations

from typing import Any, TypeVar

from mizzen.api.edit import each, edited, filled, maybe
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import meta_v1 as meta

T = TypeVar("T")

_HTTPS = 443
_EVERYTHING = meta.LabelSelector()


def webhooks(obj: T) -> T:
    """A configuration of webhooks with its defaults."""
    return edited(obj, webhooks=each(obj.webhooks, _webhook))  # type: ignore[attr-defined]


def policy(obj: T) -> T:
    """A policy with its defaults."""
    spec: Any = obj.spec  # type: ignore[attr-defined]
    matched = maybe(spec.match_constraints, _matched)
    return edited(obj, spec=edited(filled(spec, failure_policy="Fail"), match_constraints=matched))


def binding(obj: T) -> T:
    """A binding of a policy with its defaults."""
    spec: Any = obj.spec  # type: ignore[attr-defined]
    return edited(obj, spec=edited(spec, match_resources=maybe(spec.match_resources, _matched)))


def served_group(obj: apiregistration.APIService) -> apiregistration.APIService:
    """A served group and version with its defaults."""
    service = maybe(obj.spec.service, lambda service: filled(service, port=_HTTPS))
    return edited(obj, spec=edited(obj.spec, service=service))


def _webhook(webhook: Any) -> Any:
    service = maybe(webhook.client_config.service, lambda service: filled(service, port=_HTTPS))
    webhook = edited(
        webhook,
        rules=each(webhook.rules, _scoped),
        client_config=edited(webhook.client_config, service=service),
    )
    if isinstance(webhook, admission.MutatingWebhook):
        webhook = filled(webhook, reinvocation_policy="Never")
    return _selecting(filled(webhook, failure_policy="Fail", timeout_seconds=10))


def _matched(match: admission.MatchResources) -> admission.MatchResources:
    return _selecting(
        edited(
            match,
            resource_rules=each(match.resource_rules, _scoped),
            exclude_resource_rules=each(match.exclude_resource_rules, _scoped),
        )
    )


def _selecting(match: T) -> T:
    return filled(match, match_policy="Equivalent", namespace_selector=_EVERYTHING, object_selector=_EVERYTHING)


def _scoped(rule: T) -> T:
    return filled(rule, scope="*")
