"""The rules for environment variables and for the fields that they and volumes may show."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mizzen.api import formats, quantity
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import Errors, checked, required, required_and

_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_CPU_DIVISORS = ("1m", "1")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_BYTE_RESOURCES = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]")
_SOURCES = ("field_ref", "resource_field_ref", "config_map_key_ref", "secret_key_ref", "file_key_ref")


def variables(path: str, items: Iterable[core.EnvVar]) -> Errors:
    """The environment variables of a container."""
    for i, variable in enumerate(items):
        at = f"{path}[{i}]"
        yield from required_and(f"{at}.name", variable.name, formats.env_name)
        if variable.value_from is not None:
            yield from _value_from(f"{at}.valueFrom", variable, variable.value_from)


def _value_from(path: str, variable: core.EnvVar, source: core.EnvVarSource) -> Errors:
    if source.field_ref is not None:
        yield from field_selector(f"{path}.fieldRef", source.field_ref, _ENV_FIELDS)
    if source.resource_field_ref is not None:
        yield from resource_selector(f"{path}.resourceFieldRef", source.resource_field_ref)
    if source.config_map_key_ref is not None:
        yield from _key(f"{path}.configMapKeyRef", source.config_map_key_ref)
    if source.secret_key_ref is not None:
        yield from _key(f"{path}.secretKeyRef", source.secret_key_ref)
    if source.file_key_ref is not None:
        yield from _file_key(f"{path}.fileKeyRef", source.file_key_ref)
    count = sum(getattr(source, name) is not None for name in _SOURCES)
    if not count:
        why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield FieldError.invalid(path, "", why)
    elif variable.value:
        yield FieldError.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield FieldError.invalid(path, "", "may not have more than one field specified at a time")


def _key(path: str, selector: core.ConfigMapKeySelector | core.SecretKeySelector) -> Errors:
    yield from checked(f"{path}.name", selector.name, formats.dns_subdomain)
    yield from required_and(f"{path}.key", selector.key, formats.config_key)


def _file_key(path: str, selector: core.FileKeySelector) -> Errors:
    yield from required_and(f"{path}.volumeName", selector.volume_name, formats.dns_label)
    yield from required(f"{path}.path", selector.path)
    yield from required_and(f"{path}.key", selector.key, formats.env_name)


def sources(path: str, items: Iterable[core.EnvFromSource]) -> Errors:
    """The ConfigMaps and Secrets that a container takes all variables from."""
    for i, source in enumerate(items):
        at = f"{path}[{i}]"
        if source.prefix:
            yield from checked(f"{at}.prefix", source.prefix, formats.env_name)
        if source.config_map_ref is not None:
            yield from required_and(f"{at}.configMapRef.name", source.config_map_ref.name, formats.dns_subdomain)
        if source.secret_ref is not None:
            yield from required_and(f"{at}.secretRef.name", source.secret_ref.name, formats.dns_subdomain)
        if source.config_map_ref is None and source.secret_ref is None:
            yield FieldError.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif source.config_map_ref is not None and source.secret_ref is not None:
            yield FieldError.invalid(path, "", "may not have more than one field specified at a time")


def field_selector(path: str, selector: core.ObjectFieldSelector, fields: tuple[str, ...]) -> Errors:
    """A field of the pod that is shown; of the `fields`, or one label or annotation."""
    if not selector.api_version:
        yield FieldError.required(f"{path}.apiVersion")
    elif not selector.field_path:
        yield FieldError.required(f"{path}.fieldPath")
    elif selector.api_version != "v1":
        why = f"error converting fieldPath: unsupported pod version: {selector.api_version}"
        yield FieldError.invalid(f"{path}.fieldPath", selector.field_path, why)
    elif match := _SUBSCRIPT.fullmatch(selector.field_path):
        yield from _subscripted(path, match[1], match[2])
    elif selector.field_path not in fields:
        yield FieldError.unsupported(f"{path}.fieldPath", selector.field_path, fields)


def _subscripted(path: str, field: str, subscript: str) -> Errors:
    if field == "metadata.annotations":
        yield from checked(path, subscript.lower(), formats.qualified_name)
    elif field == "metadata.labels":
        yield from checked(path, subscript, formats.qualified_name)
    else:
        yield FieldError.invalid(path, field, "does not support subscript")


def resource_selector(path: str, selector: core.ResourceFieldSelector, *, in_volume: bool = False) -> Errors:
    """A request or limit of a container that is shown."""
    if in_volume and not selector.container_name:
        yield FieldError.required(f"{path}.containerName")
    elif not selector.resource:
        yield FieldError.required(f"{path}.resource")
    elif selector.resource not in _RESOURCES and not selector.resource.startswith(_HUGE_PAGES):
        yield FieldError.unsupported(f"{path}.resource", selector.resource, _RESOURCES)
    if selector.divisor and quantity.parse(selector.divisor).nano:
        yield from _divisor(path, selector.resource, quantity.canonical(selector.divisor))


def _divisor(path: str, resource: str, divisor: str) -> Errors:
    name = resource.partition(".")[2]
    what = "hugepages" if name.startswith("hugepages-") else _BYTE_RESOURCES.get(name, "")
    if name == "cpu" and divisor not in _CPU_DIVISORS:
        why = "only divisor's values 1m and 1 are supported with the cpu resource"
        yield FieldError.invalid(f"{path}.divisor", resource, why)
    elif what and divisor not in _BYTE_DIVISORS:
        why = f"only divisor's values {', '.join(_BYTE_DIVISORS)} are supported with the {what} resource"
        yield FieldError.invalid(f"{path}.divisor", resource, why)
