"""Stock kubectl of every version on this machine, doing what people do with it."""

from __future__ import annotations

import asyncio
import json

from tests.fixtures.api_server import ApiServer
from tests.integration.rest.conftest import Kubectl
from tests.integration.rest.workloads import roll_out, run_pod

WAIT_S = 15.0
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "img:1", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"""


async def test_everyday(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    assert "deployment.apps/web created" in await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert "deployment.apps/web unchanged" in await kubectl("apply", "-f", "-", stdin=MANIFEST)
    changed = MANIFEST.replace("blue", "red").replace("replicas: 2", "replicas: 3")
    out = await kubectl("apply", "-f", "-", stdin=changed)
    assert "deployment.apps/web configured" in out
    assert "service/web unchanged" in out
    await roll_out(server, "web", 1)
    wide = await kubectl("get", "deployments", "-o", "wide")
    assert wide.split()[:8] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert "3/3" in wide
    assert "replicaset.apps/web-h1" in await kubectl("get", "all")
    got = json.loads(await kubectl("get", "service", "web", "-o", "json"))
    assert got["spec"]["clusterIP"].startswith("10.96.")
    assert "colour: red" in await kubectl("get", "configmap", "settings", "-o", "yaml")
    await kubectl("scale", "deployment", "web", "--replicas=5")
    await kubectl("scale", "deployment", "web", "--replicas=4", "--current-replicas=5")
    await kubectl(
        "patch", "deployment", "web", "--type=json", "-p", '[{"op":"add","path":"/spec/paused","value":true}]'
    )
    await kubectl("label", "deployment", "web", "tier=front")
    await kubectl("annotate", "deployment", "web", "note=yes")
    assert "web" in await kubectl("get", "deploy", "-l", "tier=front", "-o", "name")
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}{.spec.paused}") == "4true"
    described = await kubectl("describe", "deployment", "web")
    assert "4 desired" in described
    assert "Pod Template:" in described
    out = await kubectl("delete", "-f", "-", stdin=MANIFEST)
    assert 'deployment.apps "web" deleted' in out
    assert await kubectl("get", "deployments") == ""
    assert "No resources found" in kubectl.said


async def test_creating_by_command(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    assert (
        await kubectl("create", "deployment", "web", "--image=img:1", "--replicas=2") == "deployment.apps/web created\n"
    )
    await kubectl("create", "configmap", "c", "--from-literal=a=b")
    await kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    await kubectl("create", "namespace", "shop")
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort")
    await kubectl("run", "p", "--image=img:1", "--restart=Never")
    rows = (await kubectl("get", "svc,cm,secret,sa,pod", "--no-headers")).splitlines()
    assert [row.split()[0] for row in rows if row] == [
        "service/web", "configmap/c", "secret/s", "serviceaccount/robot", "pod/p",
    ]  # fmt: skip
    assert "already exists" in await kubectl.fails("create", "configmap", "c")
    assert "created (server dry run)" in await kubectl("create", "configmap", "d", "--dry-run=server")
    template = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))["spec"]["template"]
    assert "creationTimestamp" not in template["metadata"] or template["metadata"]["creationTimestamp"] is None


async def test_rollouts(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    await kubectl("create", "deployment", "web", "--image=img:1")
    await roll_out(server, "web", 1)
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment", "web")
    await kubectl("set", "image", "deployment/web", "*=img:2")
    waiting = asyncio.create_task(kubectl("rollout", "status", "deployment", "web", "--timeout=20s"))
    await roll_out(server, "web", 2)
    assert "successfully rolled out" in await waiting
    history = await kubectl("rollout", "history", "deployment", "web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    assert "img:1" in await kubectl("rollout", "history", "deployment", "web", "--revision=1")
    assert "rolled back" in await kubectl("rollout", "undo", "deployment", "web")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deployment", "web", "-o", image) == "img:1"
    await kubectl("rollout", "restart", "deployment", "web")
    annotations = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))["spec"]["template"]["metadata"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations["annotations"]


async def test_pods_and_nodes(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
    await kubectl("create", "-f", "-", stdin=node)
    await kubectl("run", "p", "--image=img:1", "--grace-period=1")
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s"))
    await run_pod(server, "p")
    assert "condition met" in await waiting
    assert "Running" in await kubectl("get", "pod", "p", "-o", "wide")
    described = await kubectl("describe", "pod", "p")
    assert "Node:             n1/" in described
    assert "Tolerations:" in described
    await kubectl("cordon", "n1")
    assert "SchedulingDisabled" in await kubectl("get", "nodes")
    assert "Non-terminated Pods:          (1 in total)" in await kubectl("describe", "node", "n1")
    await kubectl("uncordon", "n1")
    await kubectl("taint", "node", "n1", "a=b:NoSchedule")
    event = """
apiVersion: v1
kind: Event
metadata: {name: e, namespace: default}
involvedObject: {apiVersion: v1, kind: Pod, namespace: default, name: p}
type: Warning
reason: Tired
message: needs a rest
lastTimestamp: "2026-01-01T00:00:00Z"
"""
    await kubectl("create", "-f", "-", stdin=event)
    assert "needs a rest" in await kubectl("events")
    assert "needs a rest" in await kubectl("events", "--for=pod/p")
    assert "needs a rest" in await kubectl("get", "events")
    await kubectl("delete", "pod", "p", "--wait=false")
    assert "Terminating" in await kubectl("get", "pod", "p")
    gone = asyncio.create_task(kubectl("wait", "--for=delete", "pod/p", "--timeout=20s"))
    await kubectl("delete", "pod", "p", "--grace-period=0", "--force")
    await gone
    assert "NotFound" in await kubectl.fails("get", "pod", "p")


async def test_watching(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    await kubectl("run", "p", "--image=img:1")
    process = await kubectl.start("get", "pods", "-w", "-o", "wide")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            assert (await process.stdout.readline()).split()[:3] == [b"NAME", b"READY", b"STATUS"]
            assert (await process.stdout.readline()).split()[:3] == [b"p", b"0/1", b"Pending"]
            await run_pod(server, "p")
            while (line := await process.stdout.readline()).split()[2] != b"Running":
                assert line.split()[0] == b"p"
            assert line.split()[6] == b"n1"
    finally:
        process.terminate()
        await process.communicate()


async def test_mistakes_are_explained(every_kubectl: Kubectl) -> None:
    kubectl = every_kubectl
    wrong = MANIFEST.replace("replicas: 2", "replica: 2")
    assert 'unknown field "spec.replica"' in await kubectl.fails("apply", "-f", "-", stdin=wrong)
    wrong = MANIFEST.replace("app: web}}\n  template", "app: other}}\n  template")
    said = await kubectl.fails("apply", "-f", "-", stdin=wrong)
    assert "spec.template.metadata.labels: Invalid value" in said
    assert 'namespaces "nowhere" not found' in await kubectl.fails("apply", "-n", "nowhere", "-f", "-", stdin=MANIFEST)
    assert 'deployments.apps "x" not found' in await kubectl.fails("get", "deployment", "x")
    assert "doesn't have a resource type" in await kubectl.fails("get", "nonsense")


async def test_explanations(every_kubectl: Kubectl) -> None:
    said = await every_kubectl("explain", "deployment.spec.replicas")
    assert "replicas" in said
    assert "integer" in said
