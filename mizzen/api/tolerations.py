"""Does a pod's toleration accept a node's taint?"""

from __future__ import annotations

from collections.abc import Sequence

from mizzen.api.types import core_v1


def tolerates(toleration: core_v1.Toleration, taint: core_v1.Taint) -> bool:
    """Kubernetes' rule: an empty effect means every effect, an empty key with Exists every key."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def first_untolerated(
    taints: Sequence[core_v1.Taint], tolerations: Sequence[core_v1.Toleration], effects: Sequence[str]
) -> core_v1.Taint | None:
    """The first taint with one of these effects that nothing tolerates."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None
