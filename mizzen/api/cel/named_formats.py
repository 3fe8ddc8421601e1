"""Kubernetes' library of named formats: what is wrong with a text that should have one.

What these functions give is empty where there is nothing; `macros` makes it optional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.api import formats, structural_formats
from mizzen.api.cel import addresses, values
from mizzen.api.cel.functions import TEXT, TEXTS, member, plain

_FORMAT = "kubernetes.NamedFormat"


def overloads() -> list[tuple[str, Any]]:
    """All of them."""
    kind = values.type_of(_FORMAT)
    return [
        plain("format.named", kind, [TEXT], lambda name: values.made(_FORMAT, text=name if name in _CHECKS else "")),
        member("validate", TEXTS, [kind, TEXT], lambda one, text: list(_CHECKS[one.text](text))),
        *(plain(f"format.{name}", kind, [], _named(name)) for name in _CHECKS),
    ]


def _named(name: str) -> Callable[[], Any]:
    return lambda: values.made(_FORMAT, text=name)


def _prefix(check: formats.Check) -> formats.Check:
    """The check of a text that something will be added to: a dash at its end may stand."""
    return lambda text: check(f"{text[:-1]}a" if len(text) > 1 and text.endswith("-") else text)


def _uri(text: str) -> tuple[str, ...]:
    try:
        addresses.url(text)
    except ValueError:
        return (f'parse "{text}": invalid URI for request',)
    return ()


def _as(form: str, why: str) -> formats.Check:
    return lambda text: () if structural_formats.fits(form, text) else (why,)


_CHECKS: dict[str, formats.Check] = {
    "dns1123Label": formats.dns_label,
    "dns1123Subdomain": formats.dns_subdomain,
    "dns1035Label": formats.dns_label_1035,
    "qualifiedName": formats.qualified_name,
    "portName": formats.port_name,
    "dns1123LabelPrefix": _prefix(formats.dns_label),
    "dns1123SubdomainPrefix": _prefix(formats.dns_subdomain),
    "dns1035LabelPrefix": _prefix(formats.dns_label_1035),
    "labelValue": formats.label_value,
    "uri": _uri,
    "uuid": _as("uuid", "does not match the UUID format"),
    "byte": _as("byte", "invalid base64"),
    "date": _as("date", "invalid date"),
    "datetime": _as("datetime", "invalid datetime"),
}
