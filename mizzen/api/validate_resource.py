"""The rules for device classes, claims and slices. Expressions are not compiled here."""

from __future__ import annotations

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import resource_v1 as resource
from mizzen.api.validate_common import (
    NOT_POSITIVE,
    Errors,
    checked,
    immutable,
    label_key,
    not_negative,
    one_of,
    required,
    required_and,
    unique,
)
from mizzen.api.validate_scheduling import node_selector
from mizzen.api.validate_storage import driver_name

ITEMS_MAX = 32
WISHES_MAX = 8
DEVICES_MAX = 128
CONSUMERS_MAX = 256

_MODES = ("All", "ExactCount")
_PLACES = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`"
_EFFECTS = ("NoExecute", "NoSchedule", "None")


def create_class(obj: resource.DeviceClass) -> Errors:
    """A DeviceClass that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _class(obj.spec)


def update_class(new: resource.DeviceClass, old: resource.DeviceClass) -> Errors:
    """A DeviceClass that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _class(new.spec)


def _class(spec: resource.DeviceClassSpec) -> Errors:
    yield from _selectors("spec.selectors", spec.selectors)
    if len(spec.config) > ITEMS_MAX:
        yield FieldError.too_many("spec.config", len(spec.config), ITEMS_MAX)
    for i, config in enumerate(spec.config):
        yield from _opaque(f"spec.config[{i}]", config.opaque)
    if spec.extended_resource_name is not None:
        yield from label_key("spec.extendedResourceName", spec.extended_resource_name)


def _selectors(path: str, selectors: tuple[resource.DeviceSelector, ...]) -> Errors:
    if len(selectors) > ITEMS_MAX:
        yield FieldError.too_many(path, len(selectors), ITEMS_MAX)
    for i, selector in enumerate(selectors):
        if selector.cel is None:
            yield FieldError.required(f"{path}[{i}].cel")
        else:
            yield from required(f"{path}[{i}].cel.expression", selector.cel.expression)


def _opaque(path: str, opaque: resource.OpaqueDeviceConfiguration | None) -> Errors:
    if opaque is None:
        yield FieldError.required(f"{path}.opaque")
        return
    yield from driver_name(f"{path}.opaque.driver", opaque.driver)
    if opaque.parameters is None:
        yield FieldError.required(f"{path}.opaque.parameters")


def create_claim(obj: resource.ResourceClaim) -> Errors:
    """A ResourceClaim that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _claim("spec", obj.spec)


def update_claim(new: resource.ResourceClaim, old: resource.ResourceClaim) -> Errors:
    """A ResourceClaim that is about to be replaced: what is wanted stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("spec", new.spec, old.spec)


def update_claim_status(new: resource.ResourceClaim, old: resource.ResourceClaim) -> Errors:
    """A ResourceClaim's status that is about to be replaced: what has been given stays until it is given back."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status, before = new.status, old.status
    if before.allocation is not None and status.allocation is not None:
        yield from immutable("status.allocation", status.allocation, before.allocation)
    if status.reserved_for and status.allocation is None:
        yield FieldError.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    if len(status.reserved_for) > CONSUMERS_MAX:
        yield FieldError.too_many("status.reservedFor", len(status.reserved_for), CONSUMERS_MAX)
    seen: set[str] = set()
    for i, consumer in enumerate(status.reserved_for):
        at = f"status.reservedFor[{i}]"
        for name, value in (("resource", consumer.resource), ("name", consumer.name), ("uid", consumer.uid)):
            yield from required(f"{at}.{name}", value)
        yield from unique(f"{at}.uid", consumer.uid, seen)


def _claim(path: str, spec: resource.ResourceClaimSpec) -> Errors:
    devices, at = spec.devices, f"{path}.devices"
    for name, count in (
        ("requests", len(devices.requests)), ("constraints", len(devices.constraints)), ("config", len(devices.config)),
    ):  # fmt: skip
        if count > ITEMS_MAX:
            yield FieldError.too_many(f"{at}.{name}", count, ITEMS_MAX)
    names: set[str] = set()
    for i, request in enumerate(devices.requests):
        yield from required_and(f"{at}.requests[{i}].name", request.name, formats.dns_label)
        yield from unique(f"{at}.requests[{i}].name", request.name, names)
        yield from _request(f"{at}.requests[{i}]", request)
    for i, constraint in enumerate(devices.constraints):
        yield from _constraint(f"{at}.constraints[{i}]", constraint, devices.requests)
    for i, config in enumerate(devices.config):
        yield from _named(f"{at}.config[{i}].requests", config.requests, devices.requests)
        yield from _opaque(f"{at}.config[{i}]", config.opaque)


def _named(path: str, names: tuple[str, ...], requests: tuple[resource.DeviceRequest, ...]) -> Errors:
    """Requests must be those of the claim; a wish stands behind its request and a slash."""
    known = {request.name for request in requests}
    known |= {f"{request.name}/{wish.name}" for request in requests for wish in request.first_available}
    for i, name in enumerate(names):
        if name not in known:
            why = (
                "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
            )
            yield FieldError.invalid(f"{path}[{i}]", name, why)


def _constraint(
    path: str, constraint: resource.DeviceConstraint, requests: tuple[resource.DeviceRequest, ...]
) -> Errors:
    yield from _named(f"{path}.requests", constraint.requests, requests)
    given = (("matchAttribute", constraint.match_attribute), ("distinctAttribute", constraint.distinct_attribute))
    for name, attribute in given:
        if attribute is not None:
            yield from label_key(f"{path}.{name}", attribute)
    if constraint.match_attribute is None and constraint.distinct_attribute is None:
        yield FieldError.required(path, "exactly one of `matchAttribute` or `distinctAttribute` is required")


def _request(path: str, request: resource.DeviceRequest) -> Errors:
    wishes = request.first_available
    if (request.exactly is None) == (not wishes):
        yield FieldError.required(path, "exactly one of `exactly` or `firstAvailable` is required")
        return
    if request.exactly is not None:
        yield from _wanted(f"{path}.exactly", request.exactly)
        return
    if len(wishes) > WISHES_MAX:
        yield FieldError.too_many(f"{path}.firstAvailable", len(wishes), WISHES_MAX)
    names: set[str] = set()
    for i, wish in enumerate(wishes):
        at = f"{path}.firstAvailable[{i}]"
        yield from required_and(f"{at}.name", wish.name, formats.dns_label)
        yield from unique(f"{at}.name", wish.name, names)
        yield from _wanted(at, wish)


def _wanted(path: str, wanted: resource.ExactDeviceRequest | resource.DeviceSubRequest) -> Errors:
    yield from required_and(f"{path}.deviceClassName", wanted.device_class_name, formats.dns_subdomain)
    yield from _selectors(f"{path}.selectors", wanted.selectors)
    yield from one_of(f"{path}.allocationMode", wanted.allocation_mode, _MODES)
    if wanted.allocation_mode == "All" and wanted.count:
        why = "must not be specified when allocationMode is 'All'"
        yield FieldError.invalid(f"{path}.count", wanted.count, why)
    elif wanted.allocation_mode == "ExactCount" and wanted.count <= 0:
        yield FieldError.invalid(f"{path}.count", wanted.count, NOT_POSITIVE)


def create_template(obj: resource.ResourceClaimTemplate) -> Errors:
    """A ResourceClaimTemplate that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _claim("spec.spec", obj.spec.spec)


def update_template(new: resource.ResourceClaimTemplate, old: resource.ResourceClaimTemplate) -> Errors:
    """A ResourceClaimTemplate that is about to be replaced: its claim stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("spec", new.spec, old.spec)


def create_slice(obj: resource.ResourceSlice) -> Errors:
    """A ResourceSlice that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _slice(obj.spec)


def update_slice(new: resource.ResourceSlice, old: resource.ResourceSlice) -> Errors:
    """A ResourceSlice that is about to be replaced: driver, pool and node stay."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _slice(new.spec)
    yield from immutable("spec.pool.name", new.spec.pool.name, old.spec.pool.name)
    yield from immutable("spec.driver", new.spec.driver, old.spec.driver)
    yield from immutable("spec.nodeName", new.spec.node_name, old.spec.node_name)


def _slice(spec: resource.ResourceSliceSpec) -> Errors:
    yield from driver_name("spec.driver", spec.driver)
    yield from required("spec.pool.name", spec.pool.name)
    for part in spec.pool.name.split("/") if spec.pool.name else ():
        yield from checked("spec.pool.name", part, formats.dns_subdomain)
    yield from not_negative("spec.pool.generation", spec.pool.generation)
    if spec.pool.resource_slice_count <= 0:
        yield FieldError.invalid("spec.pool.resourceSliceCount", spec.pool.resource_slice_count, NOT_POSITIVE)
    places = (spec.node_name, spec.node_selector, spec.all_nodes, spec.per_device_node_selection)
    given = [place for place in places if place not in (None, False, "")]
    if not given:
        yield FieldError.required("spec", f"exactly one of {_PLACES} is required")
    elif len(given) > 1:
        yield FieldError.invalid("spec", "", f"exactly one of {_PLACES} is required, but multiple fields are set")
    if spec.node_selector is not None:
        yield from node_selector("spec.nodeSelector", spec.node_selector)
    if len(spec.devices) > DEVICES_MAX:
        yield FieldError.too_many("spec.devices", len(spec.devices), DEVICES_MAX)
    names: set[str] = set()
    for i, device in enumerate(spec.devices):
        yield from _device(f"spec.devices[{i}]", device, names)


def _device(path: str, device: resource.Device, names: set[str]) -> Errors:
    yield from required_and(f"{path}.name", device.name, formats.dns_label)
    yield from unique(f"{path}.name", device.name, names)
    if len(device.attributes) + len(device.capacity) > ITEMS_MAX:
        yield FieldError.invalid(
            path, len(device.attributes) + len(device.capacity), f"must not be more than {ITEMS_MAX}"
        )
    for name, attribute in device.attributes.items():
        at = f"{path}.attributes[{name}]"
        yield from label_key(at, name)
        values = (attribute.int_, attribute.bool_, attribute.string, attribute.version)
        lists = (attribute.ints, attribute.bools, attribute.strings, attribute.versions)
        if sum(value is not None for value in values) + sum(map(bool, lists)) != 1:
            yield FieldError.invalid(at, attribute, "exactly one value must be specified")
    for name in device.capacity:
        yield from label_key(f"{path}.capacity[{name}]", name)
    for i, taint in enumerate(device.taints):
        yield from label_key(f"{path}.taints[{i}].key", taint.key)
        yield from one_of(f"{path}.taints[{i}].effect", taint.effect, _EFFECTS)
