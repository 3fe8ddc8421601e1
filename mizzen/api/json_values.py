"""Plain JSON values, as they come out of a decoder."""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: neither `true` nor `1.0` is `1`, and the order of an object's fields means nothing."""
    return bool(left == right) and _ENCODE(left) == _ENCODE(right)
