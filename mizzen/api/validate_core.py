"""The rules for ConfigMaps, Secrets, ServiceAccounts, Namespaces and Nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

import msgspec

from mizzen.api import formats, validate_meta, validate_scheduling
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import Errors, amount, checked, immutable

DATA_MAX_BYTES = 1024 * 1024
SERVICE_ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"

_IMMUTABLE = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
_CIDR_STAYS = 'node updates may not change podCIDR except from "" to valid'
_PROVIDER_STAYS = 'node updates may not change providerID except from "" to valid'
_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def create_config_map(config: core.ConfigMap) -> Errors:
    """A ConfigMap that is about to be."""
    yield from validate_meta.create(config.metadata, formats.dns_subdomain, namespaced=True)
    yield from _config_map(config)


def update_config_map(new: core.ConfigMap, old: core.ConfigMap) -> Errors:
    """A ConfigMap that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    if old.immutable:
        if not new.immutable:
            yield FieldError.forbidden("immutable", _IMMUTABLE)
        if new.data != old.data:
            yield FieldError.forbidden("data", _IMMUTABLE)
        if new.binary_data != old.binary_data:
            yield FieldError.forbidden("binaryData", _IMMUTABLE)
    yield from _config_map(new)


def _config_map(config: core.ConfigMap) -> Errors:
    size = sum(len(text.encode()) for text in config.data.values())
    size += sum(len(data) for data in config.binary_data.values())
    yield from _keys("data", config.data)
    for key in config.data:
        if key in config.binary_data:
            yield FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    yield from _keys("binaryData", config.binary_data)
    if size > DATA_MAX_BYTES:
        yield FieldError.too_long("[]", DATA_MAX_BYTES)


def _keys(path: str, keys: Iterable[str]) -> Errors:
    for key in keys:
        yield from checked(f"{path}[{key}]", key, formats.config_key)


def create_secret(secret: core.Secret) -> Errors:
    """A Secret that is about to be."""
    yield from validate_meta.create(secret.metadata, formats.dns_subdomain, namespaced=True)
    yield from _secret(secret)


def update_secret(new: core.Secret, old: core.Secret) -> Errors:
    """A Secret that is about to be replaced: its type stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("type", new.type, old.type)
    if old.immutable:
        if not new.immutable:
            yield FieldError.forbidden("immutable", _IMMUTABLE)
        if new.data != old.data:
            yield FieldError.forbidden("data", _IMMUTABLE)
    yield from _secret(new)


def _secret(secret: core.Secret) -> Errors:
    yield from _keys("data", secret.data)
    if sum(len(data) for data in secret.data.values()) > DATA_MAX_BYTES:
        yield FieldError.too_long("data", DATA_MAX_BYTES)
    for key in _REQUIRED_KEYS.get(secret.type, ()):
        if key not in secret.data:
            yield FieldError.required(f"data[{key}]")
    yield from _by_type(secret.type, secret.data, secret.metadata.annotations)


def _by_type(type_: str, data: Mapping[str, bytes], annotations_: Mapping[str, str]) -> Errors:
    if type_ == "kubernetes.io/service-account-token" and not annotations_.get(SERVICE_ACCOUNT_ANNOTATION):
        yield FieldError.required(f"metadata.annotations[{SERVICE_ACCOUNT_ANNOTATION}]")
    if type_ == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield FieldError.required("data[username]")
        yield FieldError.required("data[password]")
    if type_ == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        yield FieldError.required("data[ssh-privatekey]")
    key = _JSON_KEYS.get(type_, "")
    if key in data:
        try:
            msgspec.json.decode(data[key], type=dict)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield FieldError.invalid(f"data[{key}]", _REDACTED, str(error))


def create_service_account(account: core.ServiceAccount) -> Errors:
    """A ServiceAccount that is about to be."""
    yield from validate_meta.create(account.metadata, formats.dns_subdomain, namespaced=True)


def update_service_account(new: core.ServiceAccount, old: core.ServiceAccount) -> Errors:
    """A ServiceAccount that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)


def create_namespace(namespace: core.Namespace) -> Errors:
    """A Namespace that is about to be."""
    yield from validate_meta.create(namespace.metadata, formats.dns_label, namespaced=False)
    yield from _namespace_finalizers(namespace)


def update_namespace(new: core.Namespace, old: core.Namespace) -> Errors:
    """A Namespace that is about to be replaced, its spec through `finalize`."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _namespace_finalizers(new)


def update_namespace_status(new: core.Namespace, old: core.Namespace) -> Errors:
    """A Namespace's status that is about to be replaced: its phase follows its deletion."""
    yield from validate_meta.update(new.metadata, old.metadata)
    deleted = new.metadata.deletion_timestamp is not None
    phase = "Terminating" if deleted else "Active"
    if new.status.phase != phase:
        why = f"may only be '{phase}' if `deletionTimestamp` is {'not ' if deleted else ''}empty"
        yield FieldError.invalid("status.Phase", new.status.phase, why)


def _namespace_finalizers(namespace: core.Namespace) -> Errors:
    for finalizer in namespace.spec.finalizers:
        yield from checked("spec.finalizers", finalizer, formats.qualified_name)
        if "/" not in finalizer and finalizer not in _FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield FieldError.invalid("spec.finalizers", finalizer, why)


def create_node(node: core.Node) -> Errors:
    """A Node that is about to be."""
    yield from validate_meta.create(node.metadata, formats.dns_subdomain, namespaced=False)
    yield from validate_scheduling.taints("metadata.taints", node.spec.taints)
    yield from _amounts(node.status)
    yield from _pod_cidrs(node.spec.pod_cidrs)


def update_node(new: core.Node, old: core.Node) -> Errors:
    """A Node that is about to be replaced: its pod addresses stay."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _amounts(new.status)
    seen: set[tuple[str, str]] = set()
    for i, address in enumerate(new.status.addresses):
        if (address.type, address.address) in seen:
            yield FieldError.duplicate(f"status.addresses[{i}]", address)
        seen.add((address.type, address.address))
    if old.spec.pod_cidrs and new.spec.pod_cidrs != old.spec.pod_cidrs:
        yield FieldError.forbidden("spec.podCIDRs", _CIDR_STAYS)
    elif not old.spec.pod_cidrs:
        yield from _pod_cidrs(new.spec.pod_cidrs)
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        yield FieldError.forbidden("spec.providerID", _PROVIDER_STAYS)
    if new.spec.external_id != old.spec.external_id:
        yield FieldError.forbidden("spec.externalID", "may not be updated")
    yield from validate_scheduling.taints("metadata.taints", new.spec.taints)


def _amounts(status: core.NodeStatus) -> Errors:
    for field, listed in (("capacity", status.capacity), ("allocatable", status.allocatable)):
        for name, text in listed.items():
            yield from amount(f"status.{field}.{name}", name, text)


def _pod_cidrs(ranges: tuple[str, ...]) -> Errors:
    path = "spec.podCIDRs"
    versions: list[int] = []
    for i, value in enumerate(ranges):
        problems = formats.cidr(value)
        for problem in problems:
            yield FieldError.invalid(f"{path}[{i}]", value, problem)
        if problems:
            return
        if value in ranges[:i]:
            yield FieldError.duplicate(f"{path}[{i}]", value)
        versions.append(ipaddress.ip_network(value, strict=False).version)
    if len(set(versions)) != len(versions):
        yield FieldError.invalid(path, ranges, "may specify no more than one CIDR for each IP family")
