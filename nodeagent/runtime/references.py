"""Image references: what stands in a pod's `image` field, checked and split. Pure.

The form is `[host[:port]/]path[:tag][@algorithm:hex]`; what has neither tag nor digest means `:latest`, and what has
no host means Docker Hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nodeagent.runtime.errors import InvalidImageName

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_WORD = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<host>{_HOST})/)?{_WORD}(?:/{_WORD})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}))?"
)
_NAME_MAX = 255
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference."""

    name: str
    """Everything before tag and digest, as written."""
    tag: str
    digest: str
    registry: str
    """The host that serves it."""

    @property
    def locator(self) -> str:
        """How the engine finds it: by digest where there is one, else by tag."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def is_id(text: str) -> bool:
    """Whether this names an image by its own id and not by a reference."""
    return _ID.fullmatch(text) is not None


def parse(text: str) -> Reference:
    """Split a reference. Raises InvalidImageName."""
    match = _REFERENCE.fullmatch(text)
    if match is None or len(match["name"]) > _NAME_MAX:
        raise InvalidImageName(
            f'couldn\'t parse image name "{text}": invalid reference format; use [registry/]name[:tag][@digest]'
        )
    digest = match["digest"] or ""
    return Reference(match["name"], match["tag"] or ("" if digest else "latest"), digest, _registry(match["host"]))


def _registry(host: str | None) -> str:
    """A first part is a host only when it looks like one; otherwise it is a folder on Docker Hub."""
    if host and ("." in host or ":" in host or host == "localhost" or host != host.lower()):
        return host
    return _HUB
