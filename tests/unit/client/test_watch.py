"""Following objects: nothing is missed and nothing told twice, however the connection fares. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import errors, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.client import Event, Listed, follow, states, wait_for

pytestmark = pytest.mark.looptime


def config(name: str, version: int) -> core.ConfigMap:
    """An object at a version."""
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default", resource_version=str(version)))


class Server:
    """Answers lists and watches by script, in order; an exception is an answer, too. Hangs at the end."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, str]] = []
        self.at: list[float] = []
        self.open = 0
        """Watches that have not been closed."""

    def _next(self, verb: str, version: str) -> Any:
        self.asked.append((verb, version))
        self.at.append(asyncio.get_running_loop().time())
        wanted, answer = self.script.pop(0) if self.script else (verb, [])
        assert wanted == verb
        return answer

    async def list(self, kind: Any, namespace: str = "", **selection: Any) -> Listed[Any]:
        """A list: (version, objects)."""
        answer = self._next("list", "")
        if isinstance(answer, Exception):
            raise answer
        version, *items = answer
        return Listed(tuple(items), str(version))

    async def watch(
        self, kind: Any, namespace: str, *, resource_version: str, **selection: Any
    ) -> AsyncGenerator[Any, None]:
        """A watch: events, then perhaps an exception; without one the connection ends, or hangs after the script."""
        self.open += 1
        try:
            for answer in self._next("watch", resource_version):
                if isinstance(answer, Exception):
                    raise answer
                yield Event(*answer)
            if not self.script:
                await asyncio.Event().wait()
        finally:
            self.open -= 1


async def told(server: Server, count: int) -> list[tuple[str, str, str]]:
    """The first events of `follow`."""
    found: list[tuple[str, str, str]] = []
    client: Any = server
    async with asyncio.timeout(100), aclosing(follow(client, kinds.CONFIG_MAP, "default")) as events:
        async for event in events:
            found.append((event.type, event.object.metadata.name, event.object.metadata.resource_version))
            if len(found) == count:
                break
    assert server.open == 0, "who leaves ends the watch"
    return found


async def test_the_present_and_then_the_changes() -> None:
    server = Server(
        ("list", (5, config("a", 3), config("b", 4))),
        ("watch", [("ADDED", config("c", 6)), ("BOOKMARK", config("", 9)), ("DELETED", config("a", 10))]),
        ("watch", [("MODIFIED", config("b", 11))]),
    )
    assert await told(server, 5) == [
        ("ADDED", "a", "3"),
        ("ADDED", "b", "4"),
        ("ADDED", "c", "6"),
        ("DELETED", "a", "10"),
        ("MODIFIED", "b", "11"),
    ]
    assert server.asked == [("list", ""), ("watch", "5"), ("watch", "10")]


async def test_a_bookmark_moves_the_place_on() -> None:
    server = Server(
        ("list", (5,)), ("watch", [("BOOKMARK", config("", 900))]), ("watch", [("ADDED", config("a", 901))])
    )
    await told(server, 1)
    assert server.asked[-1] == ("watch", "900")


async def test_a_lost_connection_is_taken_up_where_it_ended() -> None:
    away = errors.ServiceUnavailable("away")
    server = Server(
        ("list", away),
        ("list", errors.Timeout("late")),
        ("list", (5, config("a", 3))),
        ("watch", [("MODIFIED", config("a", 6)), away]),
        ("watch", [away]),
        ("watch", [errors.TooManyRequests("busy")]),
        ("watch", [("MODIFIED", config("a", 7))]),
    )
    assert [version for _, _, version in await told(server, 3)] == ["3", "6", "7"]
    assert server.asked == [("list", "")] * 3 + [("watch", "5")] + [("watch", "6")] * 3
    pauses = [round(after - before, 3) for before, after in zip(server.at, server.at[1:], strict=False)]
    assert pauses == [0.2, 0.4, 0.0, 0.2, 0.4, 0.8], "longer and longer, until something comes again"


async def test_pauses_have_an_end() -> None:
    server = Server(*[("list", errors.ServiceUnavailable("away"))] * 12, ("list", (5, config("a", 3))))
    await told(server, 1)
    assert max(after - before for before, after in zip(server.at, server.at[1:], strict=False)) == pytest.approx(10)


async def test_after_a_gap_the_difference_is_told() -> None:
    server = Server(
        ("list", (5, config("a", 3), config("b", 4), config("c", 5))),
        ("watch", [errors.Expired("too old")]),
        ("list", (50, config("a", 3), config("c", 40), config("d", 41))),
        ("watch", [("DELETED", config("d", 51))]),
    )
    found = await told(server, 7)
    assert found[3:] == [("DELETED", "b", "4"), ("MODIFIED", "c", "40"), ("ADDED", "d", "41"), ("DELETED", "d", "51")]


async def test_what_no_patience_helps_against_is_raised() -> None:
    with pytest.raises(errors.Forbidden):
        await told(Server(("list", errors.Forbidden(kinds.POD, "", "no"))), 1)
    with pytest.raises(errors.BadRequest):
        await told(Server(("list", (5,)), ("watch", [errors.BadRequest("no")])), 1)


async def test_one_objects_states() -> None:
    client: Any = Server(
        ("list", (5,)),
        ("watch", [("ADDED", config("a", 6)), ("BOOKMARK", config("", 7)), ("DELETED", config("a", 8))]),
        ("list", (9, config("a", 9))),
        ("watch", [errors.Expired("old")]),
        ("list", (20,)),
    )
    found: list[str | None] = []
    async with aclosing(states(client, kinds.CONFIG_MAP, "default", "a")) as every:
        async for state in every:
            found.append(state and state.metadata.resource_version)
            if len(found) == 5:
                break
    assert found == [None, "6", None, "9", None]
    assert client.open == 0


async def test_waiting_for_one_object() -> None:
    gone = config("a", 3)
    client: Any = Server(("list", (5, gone)), ("watch", [("MODIFIED", replace(gone)), ("DELETED", gone)]))
    assert await wait_for(client, kinds.CONFIG_MAP, "default", "a", lambda obj: obj is None) is None
    client = Server(("list", (5,)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await wait_for(client, kinds.CONFIG_MAP, "default", "a", lambda obj: obj is not None)
    assert client.open == 0


async def test_what_the_condition_raises_is_not_taken_for_a_lost_connection() -> None:
    def done(obj: Any) -> bool:
        raise errors.Timeout("its deadline has passed")

    client: Any = Server(("list", (5,)))
    with pytest.raises(errors.Timeout, match="its deadline"):
        await wait_for(client, kinds.CONFIG_MAP, "default", "a", done)
