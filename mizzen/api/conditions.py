"""Names of conditions that more than one part of the house speaks of."""

from __future__ import annotations

RESIZE_PENDING = "PodResizePending"
RESIZE_IN_PROGRESS = "PodResizeInProgress"
OF_RESIZES = (RESIZE_PENDING, RESIZE_IN_PROGRESS)
"""What a pod's node says of new resources, for as long as there is something to say."""
