"""How many requests are served at the same time, and for whom: nobody can take the whole server.

Nodes have a lane of their own, so that they are heard however many others ask. Within a lane each client has a bound,
too. Who comes on top is asked to come again in a second; nothing waits in line here, because clients do that better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from controlplane.server.authn import UserInfo
from mizzen.api.errors import TooManyRequests

NODES = "system:nodes"


@dataclass(frozen=True, slots=True)
class Width:
    """How many requests fit into a lane."""

    most: int
    """Of all clients together."""
    each: int
    """Of one client."""


EVERYBODY = Width(800, 400)
OF_NODES = Width(400, 40)


@dataclass(slots=True)
class _Lane:
    width: Width
    taken: int = 0
    by_client: Counter[str] = field(default_factory=Counter)


class Lanes:
    """The short requests that are being served."""

    def __init__(self, everybody: Width = EVERYBODY, nodes: Width = OF_NODES) -> None:
        """Begin with none."""
        self._everybody = _Lane(everybody)
        self._nodes = _Lane(nodes)

    @contextmanager
    def enter(self, user: UserInfo) -> Iterator[None]:
        """Hold a place while a request is served. Raises TooManyRequests where there is none."""
        lane = self._nodes if NODES in user.groups else self._everybody
        if lane.taken >= lane.width.most or lane.by_client[user.name] >= lane.width.each:
            raise TooManyRequests("too many requests are being served, please try again later")
        lane.taken += 1
        lane.by_client[user.name] += 1
        try:
            yield
        finally:
            lane.taken -= 1
            lane.by_client[user.name] -= 1
            if not lane.by_client[user.name]:
                del lane.by_client[user.name]
