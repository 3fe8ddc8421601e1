"""Ephemeral containers: what is added to a pod that runs, to look into it."""

from __future__ import annotations

from mizzen.api.types import core_v1 as core

_FIELDS = core.Container.__struct_fields__


def as_container(ephemeral: core.EphemeralContainer) -> core.Container:
    """The same as a plain container; whose namespaces it is to join is left out."""
    return core.Container(**{name: getattr(ephemeral, name) for name in _FIELDS})
