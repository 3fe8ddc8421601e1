"""The order of API versions, the best first.

`v2`, `v1`, `v1beta2`, `v1alpha1`: stable ones before beta, beta before alpha, and the greater number first; what has
no such name comes last, in the order of the alphabet. Source: Kubernetes' documentation of version priority.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORM = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STAGES = {None: 0, "beta": 1, "alpha": 2}


def by_priority(names: Iterable[str]) -> list[str]:
    """The versions, the best first."""
    return sorted(names, key=_rank)


def _rank(name: str) -> tuple[int, int, int, str]:
    found = _FORM.fullmatch(name)
    if found is None:
        return (len(_STAGES), 0, 0, name)
    return (_STAGES[found[2]], -int(found[1]), -int(found[3] or 0), name)
