"""Why a session with a control plane has ended, in words that say what to do."""

from __future__ import annotations

import grpc

from mizzen.api import times
from mizzen.engine.values import Instant
from nodeagent.drive.credentials import Credentials


class SessionLost(Exception):
    """The connection broke or fell silent; the next one begins after a pause."""


class SessionReplaced(SessionLost):
    """The control plane prefers another session of the same node: two agents have one name."""


def lost(error: grpc.aio.AioRpcError, credentials: Credentials, now: Instant) -> SessionLost:
    """The failure of a session in words that say what to do."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.ABORTED:
        return SessionReplaced(details)
    if code is grpc.StatusCode.UNAVAILABLE:
        until = times.render(credentials.valid_until_ms)
        if now > credentials.valid_until_ms:  # of which TLS says no more than that the connection was closed
            return SessionLost(
                f"{credentials.endpoint}: the certificate of node {credentials.node} expired at {until}; "
                "start the agent once with a new --token"
            )
        if "ertificate" in details + str(error.debug_error_string()):
            return SessionLost(
                f"{credentials.endpoint}: TLS failed ({details}); the certificate of node {credentials.node} is valid "
                f"until {until}; if the cluster was made anew, start the agent once with a new --token"
            )
    return SessionLost(f"{credentials.endpoint}: {code.name} {details}")
