"""What becomes of an object before it is stored: filled in, checked against the cluster, or refused."""

from __future__ import annotations

from controlplane.admission.chain import admit, complete, finish, redone
from controlplane.admission.request import Admitted, Operation, Request, Settings

__all__ = ["Admitted", "Operation", "Request", "Settings", "admit", "complete", "finish", "redone"]
