"""What the server itself writes into definitions of kinds: which versions were stored, and that one is going."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission.request import unique
from mizzen.api import definitions, times
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.engine.values import Instant

_PENDING = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"


def with_stored_version(obj: apiextensions.CustomResourceDefinition) -> apiextensions.CustomResourceDefinition:
    """The definition with the version that objects are stored in among those that were ever stored."""
    stored = obj.status.stored_versions
    news = tuple(one.name for one in obj.spec.versions if one.storage and one.name not in stored)
    return replace(obj, status=replace(obj.status, stored_versions=(*stored, *news))) if news else obj


def terminating(obj: apiextensions.CustomResourceDefinition, now: Instant) -> apiextensions.CustomResourceDefinition:
    """The definition when its deletion begins: it waits for its objects to be gone."""
    metadata = obj.metadata
    if metadata.deletion_timestamp:
        return obj
    finalizers = unique((*metadata.finalizers, definitions.CLEANUP))
    metadata = replace(metadata, deletion_timestamp=times.render(now), finalizers=finalizers)
    condition = definitions.Condition(definitions.TERMINATING, "True", "InstanceDeletionPending", _PENDING)
    return definitions.with_condition(replace(obj, metadata=metadata), condition, now)
