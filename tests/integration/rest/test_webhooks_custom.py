"""Webhooks and objects of users' kinds: seen in the rules' version, changed, and shown in the request's."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from tests.fixtures.webhook_server import patch, webhook_server
from tests.integration.rest.conftest import Client
from tests.integration.rest.test_custom_http import WIDGETS, client, define
from tests.integration.rest.test_webhooks import Configured
from tests.integration.rest.widgets import VERSION, widget

__all__ = ["client"]


async def test_a_users_object_is_seen_in_the_version_of_the_rules(client: Client, tmp_path: Path) -> None:
    await define(client, VERSION, {**deepcopy(VERSION), "name": "v2", "storage": False})
    rule = {"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}
    async with webhook_server(tmp_path) as hooks:
        configured = Configured(client, hooks)
        hooks.answers["more"] = lambda _: patch({"op": "replace", "path": "/spec/replicas", "value": 4})
        await configured("mutating", "m", "more", rules=[rule])
        await configured("validating", "v", "exact", rules=[rule], matchPolicy="Exact")
        path = WIDGETS.replace("/v1/", "/v2/")
        made = await client.made(path, widget("w") | {"apiVersion": "example.com/v2"})
        assert (made["apiVersion"], made["spec"]["replicas"]) == ("example.com/v2", 4)
        assert hooks.order == ["more"]
        told = hooks.asked[0][1]
        assert (told["kind"]["version"], told["requestKind"]["version"]) == ("v1", "v2")
        assert (told["object"]["apiVersion"], told["object"]["spec"]["replicas"]) == ("example.com/v1", 1)
        hooks.answers["more"] = lambda _: patch({"op": "replace", "path": "/spec/replicas", "value": 40})
        code, answer = await client.ask("POST", WIDGETS, widget("x"))
        assert (code, answer["details"]["causes"][0]["field"]) == (422, "spec.replicas")
        hooks.answers["more"] = lambda _: {"allowed": False}
        code, _ = await client.ask("DELETE", f"{path}/w")
        assert code == 400
        assert hooks.asked[-1][1]["oldObject"]["spec"]["replicas"] == 4
