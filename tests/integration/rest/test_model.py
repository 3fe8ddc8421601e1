"""The API beside a model of it: whatever clients do in whatever order, both say the same, and every watch tells it all.

The model is a dictionary, the list of its changes, and a copy of it at every version that a list has shown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.fixtures.api_server import api_server
from tests.integration.rest.conftest import Client, tls_of

WAIT_S = 10.0
BOUNDED = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json")
NAMES = st.sampled_from(["a", "b", "c", "d"])
DATA = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["", "1", "2"]), max_size=2)
COLORS = st.sampled_from(["red", "blue", ""])
HOLD = "a.example/hold"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
APPLIED = st.sampled_from(["p", "q"])
"""Names of config maps that are only applied, so that it is known whose each field is."""

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@dataclass(frozen=True)
class Thing:
    """What is known of one config map."""

    data: dict[str, str]
    color: str
    version: str
    uid: str
    held: bool = False
    going: bool = False


@dataclass(frozen=True)
class Event:
    """One change, with what was there before."""

    name: str
    before: Thing | None
    after: Thing | None


@dataclass
class Model:
    """What there is, what has happened, and what there was at some versions."""

    things: dict[str, Thing] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    shown: list[tuple[str, int, dict[str, Thing]]] = field(default_factory=list)
    """Versions of lists, how long the log was then, and what there was."""
    owners: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """Who has applied a key of a config map."""

    def put(self, name: str, thing: Thing | None) -> None:
        """Something has happened."""
        before = self.things.pop(name, None)
        if thing is not None:
            self.things[name] = thing
        self.log.append(Event(name, before, thing))


def body(name: str, data: dict[str, str], color: str, *, held: bool = False, version: str = "") -> dict[str, Any]:
    """A config map as a client writes it."""
    metadata: dict[str, Any] = {"name": name, "labels": {"color": color} if color else {}}
    if held:
        metadata["finalizers"] = [HOLD]
    if version:
        metadata["resourceVersion"] = version
    return {"metadata": metadata, "data": data}


def seen(obj: Any) -> Thing:
    """What an answer says of a config map."""
    metadata = obj["metadata"]
    return Thing(
        obj.get("data", {}),
        metadata.get("labels", {}).get("color", ""),
        metadata["resourceVersion"],
        metadata["uid"],
        bool(metadata.get("finalizers")),
        "deletionTimestamp" in metadata,
    )


class ApiMachine(RuleBasedStateMachine):
    """What clients may do, with what must come of it."""

    Versions = Bundle("versions")

    def __init__(self, run: Run[Any], client: Client, namespace: str) -> None:
        super().__init__()
        self._run = run
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._namespace = namespace
        self.model = Model()

    def _ask(self, method: str, path: str, sent: Any = None, **options: Any) -> tuple[int, Any]:
        code, answer = self._run(self._client.ask(method, path, sent, **options))
        return code, answer

    @initialize(target=Versions)
    def begin(self) -> int:
        """A namespace of its own."""
        code, answer = self._ask("POST", "/api/v1/namespaces", {"metadata": {"name": self._namespace}})
        assert code == 201, answer
        return self._look()

    def _look(self) -> int:
        """Lists, compares, and remembers the version; gives its number."""
        code, answer = self._ask("GET", self._path)
        assert code == 200, answer
        assert {item["metadata"]["name"]: seen(item) for item in answer["items"]} == self.model.things
        version = answer["metadata"]["resourceVersion"]
        self.model.shown.append((version, len(self.model.log), dict(self.model.things)))
        return len(self.model.shown) - 1

    # -- writing ---------------------------------------------------------------------------------------------------

    @rule(target=Versions, name=NAMES, data=DATA, color=COLORS, held=st.booleans(), dry=st.booleans())
    def create(self, name: str, data: dict[str, str], color: str, held: bool, dry: bool) -> int:
        """Works where there is none of that name."""
        query = "?dryRun=All" if dry else ""
        code, answer = self._ask("POST", self._path + query, body(name, data, color, held=held))
        there = self.model.things.get(name)
        if there is not None:
            assert (code, answer["reason"]) == (409, "AlreadyExists")
            assert answer["message"].startswith("object is being deleted: ") is there.going
        else:
            assert code == 201, answer
            if not dry:
                made = seen(answer)
                assert (made.data, made.color, made.held, made.going) == (data, color, held, False)
                self.model.put(name, made)
        return self._look()

    @rule(target=Versions, name=NAMES, data=DATA, color=COLORS, which=st.sampled_from(["current", "old", "none"]))
    def update(self, name: str, data: dict[str, str], color: str, which: str) -> int:
        """Works on the version that is there, or on any where none is named."""
        there = self.model.things.get(name)
        version = {"current": there.version if there else "7", "old": "7", "none": ""}[which]
        held = there.held if there else False
        sent = body(name, data, color, held=held, version=version)
        code, answer = self._ask("PUT", f"{self._path}/{name}", sent)
        if there is None:
            assert (code, answer["reason"]) == (404, "NotFound")
        elif which == "old":
            assert (code, answer["reason"]) == (409, "Conflict")
        else:
            self._changed(name, there, replace(there, data=data, color=color), code, answer)
        return self._look()

    @rule(
        target=Versions,
        name=NAMES,
        key=st.sampled_from(["k", "l"]),
        value=st.none() | st.sampled_from(["1", "2"]),
        media_type=st.sampled_from(PATCHES),
    )
    def patch(self, name: str, key: str, value: str | None, media_type: str) -> int:
        """Changes one key, or takes it away."""
        there = self.model.things.get(name)
        data = {**(there.data if there else {}), key: value}
        data = {key: value for key, value in data.items() if value is not None}
        whole = [{"op": "add", "path": "/data", "value": data}]
        sent = whole if media_type == PATCHES[-1] else {"data": {key: value}}
        code, answer = self._ask("PATCH", f"{self._path}/{name}", sent, headers={"Content-Type": media_type})
        if there is None:
            assert (code, answer["reason"]) == (404, "NotFound")
        else:
            self._changed(name, there, replace(there, data=data), code, answer)
        return self._look()

    @rule(target=Versions, name=APPLIED, manager=st.sampled_from(["m", "n"]), data=DATA, force=st.booleans())
    def apply(self, name: str, manager: str, data: dict[str, str], force: bool) -> int:
        """Sets what it says, takes away what its manager alone has said before, and tells of what others say."""
        there, owners = self.model.things.get(name), self.model.owners
        before = there.data if there else {}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} | (
            {"data": data} if data else {}
        )
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        code, answer = self._ask("PATCH", f"{self._path}/{name}{query}", config, headers=APPLY)
        differing = {key for key in data if key in before and before[key] != data[key]}
        taken = [key for key in differing if owners[name, key] - {manager}]
        if taken and not force:
            assert (code, answer["reason"], len(answer["details"]["causes"])) == (409, "Conflict", len(taken))
            return self._look()
        for key in {*before, *data}:
            others = owners.get((name, key), frozenset()) - {manager}
            mine = frozenset({manager}) if key in data else frozenset()
            owners[name, key] = mine if key in differing else others | mine
        wanted = {key: value for key, value in {**before, **data}.items() if owners[name, key]}
        assert code == (200 if there else 201), answer
        found = seen(answer)
        assert found.data == wanted
        if there is None or found.version != there.version:
            self.model.put(name, found)
        else:
            assert wanted == before
        return self._look()

    def _changed(self, name: str, before: Thing, wanted: Thing, code: int, answer: Any) -> None:
        """A write that changes nothing keeps the version, and nobody hears of it."""
        assert code == 200, answer
        found = seen(answer)
        assert replace(found, version="") == replace(wanted, version="")
        if wanted == before:
            assert found.version == before.version
        else:
            assert int(found.version) > int(before.version)
            self.model.put(name, found)

    @rule(target=Versions, name=NAMES, uid=st.sampled_from(["", "own", "other"]), dry=st.booleans())
    def delete(self, name: str, uid: str, dry: bool) -> int:
        """Works where the precondition holds; who is held stays until it is let go."""
        there = self.model.things.get(name)
        options: dict[str, Any] = {"dryRun": ["All"]} if dry else {}
        if uid:
            options["preconditions"] = {"uid": there.uid if there and uid == "own" else "none"}
        code, answer = self._ask("DELETE", f"{self._path}/{name}", options)
        if there is None:
            assert (code, answer["reason"]) == (404, "NotFound")
        elif uid == "other":
            assert (code, answer["reason"]) == (409, "Conflict")
        elif there.held:
            assert (code, seen(answer).going) == (200, True)
            if not dry and not there.going:
                self.model.put(name, seen(answer))
        else:
            assert (code, answer["status"], answer["details"]["uid"]) == (200, "Success", there.uid)
            if not dry:
                self.model.put(name, None)
        return self._look()

    @rule(target=Versions, name=NAMES)
    def let_go(self, name: str) -> int:
        """Without its finalizer a thing stays, or goes if it was to go."""
        there = self.model.things.get(name)
        code, answer = self._ask(
            "PATCH", f"{self._path}/{name}", {"metadata": {"finalizers": None}}, headers={"Content-Type": PATCHES[0]}
        )
        if there is None:
            assert code == 404
        elif there.going:
            assert code == 200, answer
            self.model.put(name, None)
        else:
            self._changed(name, there, replace(there, held=False), code, answer)
        return self._look()

    @rule(target=Versions, color=st.sampled_from(["red", "blue"]))
    def delete_collection(self, color: str) -> int:
        """Whatever matches goes, or begins to."""
        code, answer = self._ask("DELETE", f"{self._path}?labelSelector=color={color}")
        assert code == 200, answer
        states = {item["metadata"]["name"]: item for item in answer["items"]}
        matching = {name for name, thing in self.model.things.items() if thing.color == color}
        assert states.keys() == matching
        changed = []
        for name in matching:
            there = self.model.things[name]
            if there.held and not there.going:
                changed.append((int(seen(states[name]).version), name, seen(states[name])))
            elif not there.held:
                changed.append((int(seen(states[name]).version), name, None))
        for _, name, after in sorted(changed, key=lambda change: change[0]):
            self.model.put(name, after)
        return self._look()

    # -- reading ---------------------------------------------------------------------------------------------------

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        """What is there is shown."""
        code, answer = self._ask("GET", f"{self._path}/{name}")
        there = self.model.things.get(name)
        assert code == (404 if there is None else 200)
        assert there is None or seen(answer) == there

    @rule(limit=st.integers(1, 3), selector=st.sampled_from(["", "color=red", "color!=red", "!color"]))
    def list_in_pages(self, limit: int, selector: str) -> None:
        """The pages together are the list."""
        found: dict[str, Thing] = {}
        token = ""
        while True:
            params = {"limit": str(limit), "labelSelector": selector, "continue": token}
            code, answer = self._ask("GET", self._path, params=params)
            assert code == 200, answer
            found |= {item["metadata"]["name"]: seen(item) for item in answer["items"]}
            token = answer["metadata"].get("continue", "")
            if not token:
                break
        matching = {name: thing for name, thing in self.model.things.items() if matches(selector, thing)}
        assert found == matching
        assert list(found) == sorted(matching)

    @rule(number=Versions)
    def list_of_the_past(self, number: int) -> None:
        """Any version that was shown can be shown again."""
        version, _, things = self.model.shown[number]
        params = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
        code, answer = self._ask("GET", self._path, params=params)
        assert (code, answer["metadata"]["resourceVersion"]) == (200, version)
        assert {item["metadata"]["name"]: seen(item) for item in answer["items"]} == things

    @rule(number=Versions, selector=st.sampled_from(["", "color=red", "color!=red"]))
    def watch_from_the_past(self, number: int, selector: str) -> None:
        """Everything since a version is told, once, in order, as somebody sees it who looks through a selector."""
        version, since, _ = self.model.shown[number]
        expected = [told for event in self.model.log[since:] if (told := as_told(event, selector)) is not None]
        told = self._run(self._watched(version, selector, len(expected)))
        assert [(type_, name) for type_, name, _, _ in told] == [(type_, name) for type_, name, _ in expected]
        versions = [number for _, _, _, number in told]
        assert versions == sorted(set(versions))
        for (_, _, found, _), (type_, _, wanted) in zip(told, expected, strict=True):
            assert replace(found, version="") == replace(wanted, version="")
            assert type_ == "DELETED" or found.version == wanted.version

    async def _watched(self, version: str, selector: str, count: int) -> list[tuple[str, str, Thing, int]]:
        params = {"watch": "1", "resourceVersion": version, "labelSelector": selector}
        url, told = self._client.server.url + self._path, []
        async with asyncio.timeout(WAIT_S), self._client.session.get(url, params=params) as answer:
            for _ in range(count):
                event = json.loads(await answer.content.readline())
                thing = seen(event["object"])
                told.append((event["type"], event["object"]["metadata"]["name"], thing, int(thing.version)))
        return told


def matches(selector: str, thing: Thing) -> bool:
    """Whether one of the few selectors that are used here selects a thing."""
    return {
        "": True, "color=red": thing.color == "red", "color!=red": thing.color != "red", "!color": not thing.color,
    }[selector]  # fmt: skip


def as_told(event: Event, selector: str) -> tuple[str, str, Thing] | None:
    """How an event looks through a selector; None where it cannot be seen at all."""
    before = event.before if event.before is not None and matches(selector, event.before) else None
    after = event.after if event.after is not None and matches(selector, event.after) else None
    if after is not None:
        return ("MODIFIED" if before is not None else "ADDED"), event.name, after
    return None if before is None else ("DELETED", event.name, before)


def test_the_api_is_what_its_model_is(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        namespaces = iter(f"run-{number}" for number in range(10_000))

        async def started() -> Client:
            server = await stack.enter_async_context(api_server(tmp_path))
            tls = tls_of(server, server.client_certificate, server.client_key)
            connector = aiohttp.TCPConnector(ssl=tls)
            return Client(server, await stack.enter_async_context(aiohttp.ClientSession(connector=connector)))

        client = runner.run(started())
        try:
            run_state_machine_as_test(lambda: ApiMachine(runner.run, client, next(namespaces)), settings=BOUNDED)
        finally:
            runner.run(stack.aclose())
