"""Which images go when the engine's disk fills up. Pure; the algorithm is the kubelet's, with two bounds of its own.

Above the high threshold, images go until the low one is reached: the longest unused first, never one in use, never one
that has just come. An engine may serve others beside the node, so only images that were run for pods here are ever
looked at; and what no registry can give back (placed by hand, or with `mizzen image load`) stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from mizzen.engine.values import Instant
from nodeagent.lifecycle.pressure import Disk
from nodeagent.runtime.values import ImageInfo


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When images are taken away."""

    high_percent: int = 85
    """Of the disk in use; from here on images go. 100: never."""
    low_percent: int = 80
    """Until so much is in use."""
    min_age_ms: int = 120_000
    """An image stays for this long after it was seen first."""
    max_unused_ms: int = 0
    """An image that was not used for this long goes whatever the disk; 0: none does."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of an image that pods here have had."""

    since_ms: int
    used_ms: int


class Decision(msgspec.Struct, frozen=True):
    """What to take away."""

    remove: tuple[ImageInfo, ...] = ()
    """In this order, until enough is free."""
    free_bytes: int = 0
    """How much is enough; 0: all of `remove` goes."""


def remembered(
    known: Mapping[str, Known], images: Iterable[ImageInfo], used: Collection[str], now: Instant
) -> dict[str, Known]:
    """What is known of images now, by id: those that are in use or were once, and are still there. `used`: ids."""
    present = {image.id for image in images}
    found = {image_id: kept for image_id, kept in known.items() if image_id in present}
    for image_id in used:
        if image_id in present:
            found[image_id] = Known(found[image_id].since_ms if image_id in found else now, now)
    return found


def choose(
    known: Mapping[str, Known], images: Sequence[ImageInfo], used: Collection[str], disk: Disk, policy: Policy,
    now: Instant, *, pressed: bool = False,
) -> Decision:  # fmt: skip
    """What goes now. `pressed`: the disk is so full that pods would have to go; then every unused image goes."""
    candidates = [image for image in images if image.id in known and image.id not in used and image.digests]
    candidates = [image for image in candidates if now - known[image.id].since_ms >= policy.min_age_ms]
    candidates.sort(key=lambda image: (known[image.id].used_ms, known[image.id].since_ms, image.id))
    if pressed:
        return Decision(tuple(candidates))
    wanted = _too_much(disk, policy)
    if wanted:
        return Decision(tuple(candidates), wanted)
    if not policy.max_unused_ms:
        return Decision()
    return Decision(tuple(i for i in candidates if now - known[i.id].used_ms > policy.max_unused_ms))


def _too_much(disk: Disk, policy: Policy) -> int:
    """How many bytes are to go; 0 below the high threshold."""
    if not disk.total_bytes or policy.high_percent >= 100:
        return 0
    used_percent = 100 - disk.free_bytes * 100 // disk.total_bytes
    if used_percent < policy.high_percent:
        return 0
    return max(disk.total_bytes * (100 - policy.low_percent) // 100 - disk.free_bytes, 1)
