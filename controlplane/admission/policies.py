"""The policies that only look: they come after an object has been completed and found valid, and change nothing."""

from __future__ import annotations

from typing import Any

from controlplane.admission import classes, limits, podsecurity, storage
from controlplane.admission.request import Request
from mizzen.api.types import core_v1 as core
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.engine.view import View


def check(request: Request, new: Any, old: Any, view: View) -> podsecurity.Findings:
    """What is said of an object that is about to be stored; `old` is None for a new one. Raises ApiError."""
    limits.check(request, new, old, view)
    if isinstance(new, scheduling.PriorityClass):
        classes.check_priority(request, new, view)
    elif isinstance(new, core.PersistentVolumeClaim) and old is not None:
        storage.check_growth(request, new, old, view)
    return podsecurity.check(request, new, old, view)
