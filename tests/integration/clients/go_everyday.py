"""What a program does with Go's client-go, by the wheel `kubernetes-lite` around it; prints what it found as JSON.

python go_everyday.py KUBECONFIG
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kubernetes_lite.client import DynamicClient

SPACE = "go"
GROUP = "go.example.com"
WATCH_S = 30
found: dict[str, Any] = {}


def error_of(call: Callable[[], Any]) -> str:
    """What kind of error client-go takes the answer of a call, which must fail, for."""
    try:
        call()
    except RuntimeError as error:
        return type(error).__name__
    raise AssertionError("it should fail")


def events(kind: Any, **options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Types and objects of a watch."""
    watch = kind.watch(namespace=SPACE, timeout=WATCH_S, **options)
    for event in watch:
        yield event["Type"], event["Object"]
    raise AssertionError("the watch ended")


def shop(replicas: int = 2, name: str = "shop") -> dict[str, Any]:
    """A deployment."""
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": SPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def writes(client: DynamicClient) -> None:
    """A deployment from its making to its end."""
    deployments = client.resource("apps/v1", "Deployment")
    made = deployments.create(shop(), namespace=SPACE, field_manager="go")
    found["defaulted"] = made["spec"]["strategy"]["type"]
    selector = "metadata.name=shop"
    for _, one in events(deployments, field_selector=selector, resource_version=made["metadata"]["resourceVersion"]):
        if one.get("status", {}).get("readyReplicas") == 2:
            break
    scale = {"spec": {"replicas": 3}}
    merge = "application/merge-patch+json"
    scaled = deployments.patch("shop", merge, scale, namespace=SPACE, subresources=["scale"])
    found["scaled"] = [scaled["kind"], scaled["spec"]["replicas"]]
    steps = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:2"}]
    stepped = deployments.patch("shop", "application/json-patch+json", steps, namespace=SPACE)
    found["image"] = stepped["spec"]["template"]["spec"]["containers"][0]["image"]
    strategic = {"metadata": {"labels": {"a": "b"}}}
    merged = deployments.patch("shop", "application/strategic-merge-patch+json", strategic, namespace=SPACE)
    found["labels"] = merged["metadata"]["labels"]
    found["errors"] = [
        error_of(lambda: deployments.update(made, namespace=SPACE)),
        error_of(lambda: deployments.create(shop(), namespace=SPACE)),
        error_of(lambda: deployments.create(shop(-1, "wrong"), namespace=SPACE)),
        error_of(lambda: deployments.get("nobody", namespace=SPACE)),
    ]
    deployments.delete("shop", namespace=SPACE, propagation_policy="Foreground")
    for event, _ in events(deployments, field_selector=selector):
        if event == "DELETED":
            break
    found["pods"] = client.resource("v1", "Pod").list(namespace=SPACE, label_selector="app=shop")["items"]


def maps(client: DynamicClient) -> None:
    """Server-side apply, pages and a watch."""
    kind = client.resource("v1", "ConfigMap")

    def one(name: str, **data: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": SPACE, "labels": {"seen": "1"}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    since = kind.list(namespace=SPACE)["metadata"]["resourceVersion"]
    applied = kind.apply(one("a", colour="red"), namespace=SPACE, field_manager="go")
    found["owner"] = applied["metadata"]["managedFields"][0]["operation"]
    blue = one("a", colour="blue")
    found["apart"] = error_of(lambda: kind.apply(blue, namespace=SPACE, field_manager="other"))
    found["forced"] = kind.apply(blue, namespace=SPACE, field_manager="other", force=True)["data"]
    for name in ("b", "c"):
        kind.create(one(name), namespace=SPACE)
    page = kind.list(namespace=SPACE, label_selector="seen", limit=2)
    rest = kind.list(namespace=SPACE, label_selector="seen", limit=2, continue_req=page["metadata"]["continue"])
    found["pages"] = [len(page["items"]), len(rest["items"])]
    kind.delete_collection(namespace=SPACE, label_selector="seen")
    told = events(kind, label_selector="seen", resource_version=since)
    found["watched"] = [f"{event} {given['metadata']['name']}" for event, given in (next(told) for _ in range(4))]


def customs(client: DynamicClient) -> None:
    """A kind of our own, found by discovery once it is served."""
    integer = {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": integer, "status": integer}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    names = {"plural": "wheels", "kind": "Wheel"}
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    body["metadata"] = {"name": f"wheels.{GROUP}"}
    body["spec"] = {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]}
    definitions = client.resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    definitions.create(body)
    watch = definitions.watch(field_selector=f"metadata.name=wheels.{GROUP}", timeout=WATCH_S)
    for event in watch:
        conditions = event["Object"].get("status", {}).get("conditions", ())
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            break
    wheels = client.resource(f"{GROUP}/v1", "Wheel")
    wheel = {"apiVersion": f"{GROUP}/v1", "kind": "Wheel", "metadata": {"name": "w", "namespace": SPACE}}
    made = wheels.create({**wheel, "spec": {"size": 3}}, namespace=SPACE)
    found["custom"] = wheels.update_status({**made, "status": {"size": 2}}, namespace=SPACE)["status"]
    wrong = {**wheel, "metadata": {"name": "x", "namespace": SPACE}, "spec": {"size": 0}}
    found["refused"] = error_of(lambda: wheels.create(wrong, namespace=SPACE))
    definitions.delete(f"wheels.{GROUP}")


def main(kubeconfig: str) -> None:
    """All of it, in a namespace of its own."""
    client = DynamicClient(Path(kubeconfig).read_bytes())
    spaces = client.resource("v1", "Namespace")
    spaces.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    writes(client)
    maps(client)
    customs(client)
    spaces.delete(SPACE)
    sys.stdout.write(json.dumps(found))


main(sys.argv[1])
