"""Programs that use a cluster; see README.md."""

from __future__ import annotations
