"""The plain values that every decision is made of: instants, keys and the sources of new names.

Nothing here reads a clock or a random source: a decision receives `now` and an `Ids`, so that the same inputs give
the same outputs in production, in the simulator and in a plan.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

Instant = int
"""Milliseconds since the Unix epoch, UTC."""


class Key(NamedTuple):
    """Names one object: the resource as kubectl writes it (`pods`, `deployments.apps`), its namespace and its name.

    The namespace is empty for cluster-scoped kinds.
    """

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.namespace}/{self.name}" if self.namespace else f"{self.resource}/{self.name}"


class Clock(Protocol):
    """Where drivers take `now` from; deciders never hold one."""

    def now(self) -> Instant:
        """The wall clock in milliseconds since the epoch."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds on a clock that never steps back; only differences have a meaning."""
        ...


class Ids(Protocol):
    """The source of names that must not repeat; each `stream` is independent, so one use never renumbers another."""

    def uid(self, stream: str) -> str:
        """A new object identity in the form of a UUID."""
        ...

    def suffix(self, stream: str, length: int = 5) -> str:
        """A random name ending out of Kubernetes' safe alphabet (no vowels, no look-alikes)."""
        ...
