"""What the client takes and gives beside the API's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from mizzen.api.kinds import Object

T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A list, or a page of one, at one version."""

    items: tuple[T, ...]
    resource_version: str
    continue_: str = ""
    """Asks for the next page; empty at the end."""
    remaining: int | None = None
    """How many follow, where known."""


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One change: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`."""

    type: str
    object: T


@dataclass(frozen=True, slots=True)
class Command:
    """What to run in which container."""

    namespace: str
    pod: str
    command: tuple[str, ...]
    container: str = ""
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """Which running container to attach to."""

    namespace: str
    pod: str
    container: str = ""
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Stdin:
    """Input for the command."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """There is no more input."""


@dataclass(frozen=True, slots=True)
class Resize:
    """The terminal has another size, in characters."""

    width: int
    height: int


Input: TypeAlias = Stdin | EndOfInput | Resize


@dataclass(frozen=True, slots=True)
class Stdout:
    """Output of the command."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stderr:
    """Error output of the command."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """The command has ended."""

    code: int


Output: TypeAlias = Stdout | Stderr | Exit


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why an object is as it is."""

    reason: str
    message: str
    since: str
    """RFC 3339; empty where not known."""
