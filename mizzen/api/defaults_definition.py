"""What the API fills in where a definition of a kind leaves something out."""

from __future__ import annotations

from mizzen.api.edit import edited, filled, maybe
from mizzen.api.types import apiextensions_v1 as apiextensions

_HTTPS = 443


def definition(obj: apiextensions.CustomResourceDefinition) -> apiextensions.CustomResourceDefinition:
    """The definition with its defaults."""
    names = filled(obj.spec.names, singular=obj.spec.names.kind.lower())
    if names.kind:
        names = filled(names, list_kind=f"{names.kind}List")
    conversion = obj.spec.conversion or apiextensions.CustomResourceConversion(strategy="None")
    conversion = edited(conversion, webhook=maybe(conversion.webhook, _webhook))
    return edited(obj, spec=edited(obj.spec, names=names, conversion=conversion))


def _webhook(webhook: apiextensions.WebhookConversion) -> apiextensions.WebhookConversion:
    config = webhook.client_config
    if config is None or config.service is None:
        return webhook
    return edited(webhook, client_config=edited(config, service=filled(config.service, port=_HTTPS)))
