"""Docker Engine on this box from the outside: does it answer, which version is it."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path


def answers(path: Path, timeout_s: float = 5) -> bool:
    """Whether an Engine answers on this socket."""
    connection = http.client.HTTPConnection("docker", timeout=timeout_s)
    try:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(timeout_s)
            raw.connect(str(path))
            connection.sock = raw
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
