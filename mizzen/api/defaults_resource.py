"""Defaults of claims for devices."""

from __future__ import annotations

from typing import TypeVar

from mizzen.api.edit import each, edited, filled, maybe
from mizzen.api.types import resource_v1 as resource

Wanted = TypeVar("Wanted", resource.ExactDeviceRequest, resource.DeviceSubRequest)


def claim(obj: resource.ResourceClaim) -> resource.ResourceClaim:
    """One device for each request."""
    return edited(obj, spec=_claim(obj.spec))


def template(obj: resource.ResourceClaimTemplate) -> resource.ResourceClaimTemplate:
    """One device for each request of the claims."""
    return edited(obj, spec=edited(obj.spec, spec=_claim(obj.spec.spec)))


def _claim(spec: resource.ResourceClaimSpec) -> resource.ResourceClaimSpec:
    return edited(spec, devices=edited(spec.devices, requests=each(spec.devices.requests, _request)))


def _request(request: resource.DeviceRequest) -> resource.DeviceRequest:
    return edited(
        request, exactly=maybe(request.exactly, _wanted), first_available=each(request.first_available, _wanted)
    )


def _wanted(wanted: Wanted) -> Wanted:
    wanted = filled(
        edited(wanted, tolerations=each(wanted.tolerations, lambda toleration: filled(toleration, operator="Equal"))),
        allocation_mode="ExactCount",
    )
    return edited(wanted, count=wanted.count or 1) if wanted.allocation_mode == "ExactCount" else wanted
