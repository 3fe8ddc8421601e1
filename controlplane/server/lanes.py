"""How many requests are served at the same time, and for whom: nobody can take the whole server.

Nodes have a lane of their own, so that they are heard however many others ask. Within a lane each client has a bound,
too. Who comes on top is asked to come again in a second; nothing waits in line here, because clients do that better.
"""

from __future__ import annotations

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
    by_client: dict[str, int] = field(default_factory=dict)


class Held:
    """A place in a lane; every request passes here, so it is as little as can be."""

    __slots__ = ("_client", "_lane")

    def __init__(self, lane: _Lane, client: str) -> None:
        self._lane = lane
        self._client = client

    def __enter__(self) -> None:
        """Served from now on."""

    def __exit__(self, *_: object) -> None:
        """Served no more."""
        lane = self._lane
        lane.taken -= 1
        left = lane.by_client[self._client] - 1
        if left:
            lane.by_client[self._client] = left
        else:
            del lane.by_client[self._client]


class Lanes:
    """The short requests that are being served."""

    def __init__(self, everybody: Width = EVERYBODY, nodes: Width = OF_NODES) -> None:
        """Begin with none."""
        self._everybody = _Lane(everybody)
        self._nodes = _Lane(nodes)

    def enter(self, user: UserInfo) -> Held:
        """Hold a place while a request is served, as a context. Raises TooManyRequests where there is none."""
        lane = self._nodes if NODES in user.groups else self._everybody
        here = lane.by_client.get(user.name, 0)
        if lane.taken >= lane.width.most or here >= lane.width.each:
            raise TooManyRequests("too many requests are being served, please try again later")
        lane.taken += 1
        lane.by_client[user.name] = here + 1
        return Held(lane, user.name)
