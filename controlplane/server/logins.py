"""The logins of several issuers, as their file says at the moment.

The file is looked at every few seconds. A change counts once it is right; what is wrong is logged, and
the former goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import jwt
import structlog

from controlplane.access.authentication import Authentication, Login
from controlplane.access.values import UserInfo
from controlplane.server.oidc import PAUSE_S, TOKEN_MAX_BYTES, OidcLogin
from mizzen.engine.values import Clock

_LOG = structlog.get_logger(__name__)
REREAD_S = 10.0
"""Time between two looks at the file, in seconds."""


class Logins:
    """Whom tokens of other issuers stand for, and where one may come without any."""

    def __init__(
        self,
        authentication: Authentication,
        clock: Clock,
        file: Path | None = None,
        read: Callable[[str], Authentication] | None = None,
        *,
        pause_s: float = PAUSE_S,
        reread_s: float = REREAD_S,
    ) -> None:
        """Believe what `authentication` says, and then what `read` gives for `file` when that changes.

        `read` raises ValueError for a file that is wrong. Raises OSError for authorities that are none.
        """
        self._clock = clock
        self._file, self._read = file, read
        self._seen = _content(file)
        self._pause_s, self._reread_s = pause_s, reread_s
        self._logins: dict[str, tuple[Login, OidcLogin]] = {}
        self._authentication = authentication
        self._take(authentication)

    def user_of(self, token: str) -> UserInfo | None:
        """Whom a token stands for; None for one of nobody who is believed."""
        if not self._logins or len(token) > TOKEN_MAX_BYTES:
            return None
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, TypeError, ValueError):
            return None
        found = self._logins.get(issuer) if isinstance(issuer, str) else None
        return found[1].user_of(token) if found is not None else None

    def hears_nobody(self, path: str) -> bool:
        """Whether a request for a path is heard that comes without credentials."""
        return self._authentication.hears_nobody(path)

    async def run(self) -> None:
        """Fetch keys, and follow the file, for ever."""
        while True:
            async with asyncio.TaskGroup() as group:
                fetching = [group.create_task(login.run()) for _, login in self._logins.values()]
                authentication = await self._changed()
                for task in fetching:
                    task.cancel()
            self._take(authentication)

    def _take(self, authentication: Authentication) -> None:
        logins: dict[str, tuple[Login, OidcLogin]] = {}
        for login in authentication.logins:
            made = OidcLogin(login, self._clock, pause_s=self._pause_s)
            before = self._logins.get(login.rules.issuer)
            if before is not None and _same_keys(before[0], login):
                made.take_keys_of(before[1])
            logins[login.rules.issuer] = login, made
        self._logins, self._authentication = logins, authentication

    async def _changed(self) -> Authentication:
        """What the file says once it says something else."""
        if self._file is None or self._read is None:
            await asyncio.Event().wait()
        assert self._file is not None
        assert self._read is not None
        while True:
            await asyncio.sleep(self._reread_s)
            content = await asyncio.to_thread(_content, self._file)
            if content in (self._seen, None):
                continue
            self._seen = content
            try:
                found = await asyncio.to_thread(self._read, str(self._file))
            except ValueError as error:
                _LOG.warning("authentication_config_wrong", error=str(error))
                continue
            _LOG.info("authentication_config", issuers=[one.rules.issuer for one in found.logins])
            return found


def _content(file: Path | None) -> bytes | None:
    """What stands in a file; None for one that is not there, as in the moment in which it is replaced."""
    try:
        return None if file is None else file.read_bytes()
    except OSError:
        return None


def _same_keys(one: Login, other: Login) -> bool:
    return (one.discovery_url, one.ca_pem) == (other.discovery_url, other.ca_pem)
