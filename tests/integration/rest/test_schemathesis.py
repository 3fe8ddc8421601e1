"""The API held against its own description: whatever is asked, no answer is a failure or of a shape not described.

Every operation is asked once in plain words, about an object that is there, and then with cases made from the
description: some that keep to it and some that break it. Nothing is streamed: `watch` and what nodes
answer are taken out beforehand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, GenerationMode, openapi
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks

from tests.fixtures.api_server import ApiServer
from tests.fixtures.examples import EXAMPLES, KEPT, example
from tests.integration.rest.conftest import Client
from tests.integration.rest.test_every_kind import collection

Json = dict[str, Any]

CASES = {
    "api/v1": 1, "apis/apps/v1": 1, "apis/batch/v1": 1, "apis/policy/v1": 4, "apis/networking.k8s.io/v1": 2,
    "apis/rbac.authorization.k8s.io/v1": 2,
}  # fmt: skip
"""How many cases of each sort every operation of a group and version gets."""
ORDER = ("get", "patch", "post", "put", "delete")
"""Objects are deleted only when all else has been asked of them."""
STREAMED = {"attach", "exec", "log", "portforward", "proxy"}
ANSWER_S = 10.0
MERGE = "application/merge-patch+json"
CHANGE = {"metadata": {"annotations": {"example.com/seen": "yes"}}}
AS_DESCRIBED = (checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance)


def bounded(cases: int) -> settings:
    """The same few cases in every run."""
    return settings(
        max_examples=cases, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@dataclass
class Asker:
    """Asks and judges as an administrator; not to be used on the server's event loop."""

    server: ApiServer
    session: requests.Session
    wrong: list[str] = field(default_factory=list)
    """What was answered otherwise than described."""

    def ask(self, case: Case) -> int:
        """The code of the answer, which has been judged."""
        tls = (str(self.server.client_certificate), str(self.server.client_key))
        answer = case.call(
            self.server.url, session=self.session, timeout=ANSWER_S, verify=str(self.server.ca), cert=tls
        )
        self.wrong += [f"{case.as_curl_command()}: {fault}" for fault in faults(case, answer)]
        return int(answer.status_code)


def faults(case: Case, answer: Response) -> Iterator[str]:
    """What is wrong with an answer."""
    if answer.status_code >= 500:
        yield f"{answer.status_code} {answer.text}"
    elif answer.status_code >= 400:
        status = answer.json()
        if (status.get("kind"), status.get("code")) != ("Status", answer.status_code):
            yield f"{answer.status_code} without its Status: {answer.text}"
    else:
        if case.method == "DELETE" and answer.json()["kind"] != "Status":
            return  # What goes only later is shown as it is until then.
        if case.path.endswith("/token"):
            return  # Kubernetes writes the object that a token is not bound to as null, against its description.
        try:
            case.validate_response(answer, checks=AS_DESCRIBED)
        except FailureGroup as found:
            yield from (f"{one.title}: {one.message}" for one in found.exceptions)


def operations(description: Json) -> list[APIOperation]:
    """All that can be asked, without streams."""
    for path in [path for path in description["paths"] if {*path.split("/")} & STREAMED]:
        del description["paths"][path]
    for item in description["paths"].values():
        for method in item.keys() & {*ORDER}:
            item[method]["parameters"] = [one for one in item[method]["parameters"] if one["name"] != "watch"]
    found = [result.ok() for result in openapi.from_dict(description).get_all_operations()]
    return sorted(found, key=lambda operation: ORDER.index(operation.method))


def names_in(path: str) -> dict[str, str]:
    """An object that is there, for the path's parameters."""
    plural = path.partition("/{name}")[0].rpartition("/")[2]
    names = {EXAMPLES[kind].name for kind in KEPT if kind.plural == plural}
    known = {"namespace": "default", "name": min(names, default="")}
    return {name: value for name, value in known.items() if f"{{{name}}}" in path}


def body_of(operation: APIOperation) -> str:
    """The name of what is sent; empty where nothing is."""
    content = operation.definition.raw.get("requestBody", {}).get("content", {})
    return str(content.get("application/json", {}).get("schema", ""))


def plain(operation: APIOperation) -> Case:
    """A read, or the least of changes."""
    body: Json = {"body": CHANGE, "media_type": MERGE} if operation.method == "patch" else {}
    return operation.Case(path_parameters=names_in(operation.path), **body)


def exercise(asker: Asker, description: Json, cases: int) -> dict[str, int]:
    """Ask everything; gives the codes of plain reads and changes that did not succeed.

    Bodies take most of the time, so they are made once for each type that is sent.
    """
    refused, made = {}, {""}
    for operation in operations(description):
        if operation.method in ("get", "patch") and (code := asker.ask(plain(operation))) != 200:
            refused[operation.label] = code
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            message = body_of(operation)
            body: Json = {"body": CHANGE, "media_type": "application/json"} if message in made - {""} else {}
            made.add(message)

            @bounded(cases)
            @given(case=operation.as_strategy(mode, path_parameters=names_in(operation.path), **body))
            def answered(case: Case) -> None:
                asker.ask(case)

            answered()
    return refused


@pytest.mark.parametrize("described", CASES)
async def test_answers_are_as_described(server: ApiServer, client: Client, described: str) -> None:
    for kind in KEPT:
        if f"/{described}/" in f"{collection(kind)}":
            await client.made(collection(kind), example(kind))
    _, description = await client.ask("GET", f"/openapi/v3/{described}")
    with requests.Session() as session:
        session.trust_env = False
        asker = Asker(server, session)
        refused = await asyncio.to_thread(exercise, asker, description, CASES[described])
    assert asker.wrong == []
    assert refused == {}
