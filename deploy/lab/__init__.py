"""The lab: several machines on one Linux box, to power off, cut, freeze and fill. See README.md."""

from __future__ import annotations

from deploy.lab.lab import Lab
from deploy.lab.machine import Machine
from deploy.lab.state import LabError

__all__ = ["Lab", "LabError", "Machine"]
