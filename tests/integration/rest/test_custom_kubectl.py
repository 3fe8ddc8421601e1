"""Kinds that users define, through stock kubectl."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.store.memory import MemoryBackend, MemoryStore
from tests.fixtures.api_server import api_server
from tests.fixtures.deciders import deciding
from tests.integration.rest.conftest import Kubectl, kubectls
from tests.integration.rest.widgets import definition, widget


@pytest.fixture(params=kubectls() or [None], ids=lambda path: path.name if path else "none")
async def working_kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """Each kubectl of this machine in turn, for a server whose controllers run."""
    if request.param is None:
        pytest.skip("no kubectl on this machine")
    store = MemoryStore(MemoryBackend())
    async with api_server(tmp_path, store=store) as server, deciding(store, server.registry):
        yield Kubectl(request.param, server, tmp_path)


def manifest(name: str, **spec: Any) -> str:
    """The manifest of a widget."""
    return json.dumps(widget(name, **spec))


async def define(kubectl: Kubectl) -> None:
    """Define widgets and wait until they are served."""
    await kubectl("apply", "-f", "-", stdin=json.dumps(definition()))
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s")


async def test_widgets_from_their_definition_to_its_end(working_kubectl: Kubectl) -> None:
    kubectl = working_kubectl
    await define(kubectl)
    assert "widgets.example.com" in await kubectl("get", "crd")
    resources = await kubectl("api-resources", "--api-group=example.com")
    assert resources.splitlines()[1].split() == ["widgets", "wd", "example.com/v1", "true", "Widget"]
    assert "How big it is." in await kubectl("explain", "widget.spec.size")

    await kubectl("apply", "-f", "-", stdin=manifest("a"))
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=manifest("a"))
    assert "configured" in await kubectl("apply", "-f", "-", stdin=manifest("a", tags=["x"]))
    assert "configured" in await kubectl("apply", "-f", "-", stdin=manifest("a"))
    header, row = (await kubectl("get", "wd", "-o", "wide")).splitlines()
    assert header.split() == ["NAME", "SIZE", "REPLICAS", "READY", "AGE"]
    assert row.split()[:3] == ["a", "small", "1"]
    assert "widget.example.com/a" in await kubectl("get", "all")
    await kubectl("patch", "wd", "a", "--type=merge", "-p", '{"spec":{"replicas":3}}')
    await kubectl("patch", "wd", "a", "--type=json", "-p", '[{"op":"replace","path":"/spec/size","value":"large"}]')
    await kubectl("scale", "wd", "a", "--replicas=5")
    await kubectl("label", "wd", "a", "colour=red")
    found = json.loads(await kubectl("get", "widgets.example.com", "a", "-o", "json"))
    assert found["spec"] == {"replicas": 5, "size": "large"}
    assert found["metadata"]["generation"] == 6
    assert "a" in await kubectl("get", "wd", "--field-selector=spec.size=large", "-o", "name")
    assert await kubectl("get", "wd", "--field-selector=spec.size=small", "-o", "name") == ""

    await kubectl("delete", "crd", "widgets.example.com")
    assert "find the requested resource" in await kubectl.fails("get", "widgets.v1.example.com")
    await define(kubectl)
    assert await kubectl("get", "wd", "-o", "name") == ""


async def test_what_does_not_fit_is_refused_in_kubernetes_words(working_kubectl: Kubectl) -> None:
    kubectl = working_kubectl
    await define(kubectl)
    said = await kubectl.fails(
        "create", "--validate=false", "-f", "-", stdin=manifest("b", size="huge", replicas="3", tags=["x", "x"])
    )
    assert 'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"' in said
    assert 'spec.size: Unsupported value: "huge": supported values: "small", "large"' in said
    assert 'spec.tags[1]: Duplicate value: "x"' in said
    said = await kubectl.fails("create", "-f", "-", stdin=manifest("b", colour="red"))
    assert "colour" in said
    said = await kubectl.fails(
        "patch", "crd", "widgets.example.com", "--type=merge", "-p", '{"spec":{"scope":"Cluster"}}'
    )
    assert 'spec.scope: Invalid value: "Cluster": field is immutable' in said


async def test_a_namespace_takes_its_widgets_along_and_owners_their_dependents(working_kubectl: Kubectl) -> None:
    kubectl = working_kubectl
    await define(kubectl)
    await kubectl("create", "namespace", "shop")
    await kubectl("-n", "shop", "create", "-f", "-", stdin=manifest("w"))
    await kubectl("delete", "namespace", "shop", "--timeout=20s")
    assert await kubectl("get", "wd", "-A", "-o", "name") == ""

    await kubectl("create", "-f", "-", stdin=manifest("owner"))
    owner = json.loads(await kubectl("get", "wd", "owner", "-o", "json"))
    reference = {
        "apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"],
    }  # fmt: skip
    for kind, version, more in (("ConfigMap", "v1", {}), ("Widget", "example.com/v1", {"spec": {"size": "small"}})):
        metadata = {"name": "owned", "ownerReferences": [reference]}
        dependent = {"apiVersion": version, "kind": kind, "metadata": metadata} | more
        await kubectl("create", "-f", "-", stdin=json.dumps(dependent))
    await kubectl("delete", "wd", "owner")
    await kubectl("wait", "--for=delete", "configmap/owned", "widget/owned", "--timeout=20s")
