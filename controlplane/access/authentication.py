"""Who is believed beside the cluster's own certificates and tokens, and where one may come without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.access.oidc import Rules


@dataclass(frozen=True, slots=True)
class Login:
    """An issuer of tokens: how they are read, and where its keys are found."""

    rules: Rules
    discovery_url: str = ""
    """Where it is told where the keys are; empty: at the usual path below the issuer's URL."""
    ca_pem: str = ""
    """Authorities of its certificate; empty: those of this machine."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """Who is believed, and who may be nobody."""

    logins: Sequence[Login] = ()
    anonymous: bool = True
    """Whether requests without any credentials are heard at all."""
    anonymous_paths: Sequence[str] = ()
    """The only paths of such requests; empty: any."""

    def hears_nobody(self, path: str) -> bool:
        """Whether a request for a path is heard that comes without credentials."""
        return self.anonymous and (not self.anonymous_paths or path in self.anonymous_paths)
