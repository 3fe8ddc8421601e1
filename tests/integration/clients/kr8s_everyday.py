"""What a program does with kr8s; prints what it found as JSON.

python kr8s_everyday.py KUBECONFIG
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import kr8s
from kr8s.asyncio import api as api_of
from kr8s.asyncio.objects import ConfigMap, Deployment, Node, Pod, Service, new_class

SPACE = "kr8s"
WAIT_S = 30
found: dict[str, Any] = {}


def body(name: str, **more: Any) -> dict[str, Any]:
    """An object in our namespace."""
    return {"metadata": {"name": name, "namespace": SPACE}, **more}


async def writes(api: Any) -> None:
    """A deployment from its making to its end."""
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    shop = await Deployment(body("shop", spec=spec), api=api)
    await shop.create()
    await asyncio.wait_for(shop.wait("condition=Available"), WAIT_S)
    await shop.scale(2)
    found["scaled"] = shop.spec.replicas
    await shop.label(a="b")
    await shop.annotate({"note": "c"})
    await shop.patch([{"op": "replace", "path": "/spec/revisionHistoryLimit", "value": 3}], type="json")
    await shop.refresh()
    found["patched"] = [shop.labels["a"], shop.annotations["note"], shop.spec.revisionHistoryLimit]
    ports = [{"port": 80, "targetPort": 8080}]
    service = await Service(body("shop", spec={"selector": labels, "ports": ports}), api=api)
    await service.create()
    async with asyncio.timeout(WAIT_S):
        while len(await service.ready_pods()) < 2:  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.05)
    found["pods"] = len(await shop.pods())
    await shop.delete(propagation_policy="Foreground")
    await asyncio.wait_for(shop.wait("delete"), WAIT_S)
    found["exists"] = await shop.exists()
    try:
        await Pod.get("nobody", namespace=SPACE, api=api, timeout=1)
    except kr8s.NotFoundError:
        found["missing"] = True
    try:
        await (await Deployment(body("wrong", spec={**spec, "replicas": -1}), api=api)).create()
    except kr8s.ServerError as error:
        found["refused"] = [error.response.status_code, error.status["reason"]]


async def watches(api: Any) -> None:
    """A watch of what has a label."""
    told: list[str] = []
    begun = asyncio.Event()

    async def follow() -> None:
        async for event, one in api.watch("configmaps", namespace=SPACE, label_selector={"seen": "1"}):
            told.append(f"{event} {one.name}")
            begun.set()
            if event == "DELETED":
                return

    seen = await ConfigMap({"metadata": {"name": "w", "namespace": SPACE, "labels": {"seen": "1"}}}, api=api)
    await seen.create()
    following = asyncio.create_task(follow())
    await asyncio.wait_for(begun.wait(), WAIT_S)
    await seen.patch({"data": {"a": "b"}})
    await seen.delete()
    await asyncio.wait_for(following, WAIT_S)
    found["watched"] = told


async def containers(api: Any) -> None:
    """Logs, exec and port-forward."""
    command = ["sh", "-c", "echo hello; sleep 1000000"]
    spec = {
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "web:1", "command": command}],
    }
    talker = await Pod(body("talker", spec=spec), api=api)
    await talker.create()
    await asyncio.wait_for(talker.wait("condition=Ready"), WAIT_S)
    async with asyncio.timeout(WAIT_S):
        while not (log := [line async for line in talker.logs()]):  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.05)
    found["log"] = log
    done = await talker.exec(["echo", "from", "inside"])
    found["said"] = [done.stdout.decode(), done.returncode]
    failed = await talker.exec(["sh", "-c", "exit 3"], check=False)
    found["failed"] = failed.returncode
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with talker.portforward(remote_port=port, local_port="auto") as local, asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(b"through the pod\n")
            found["forwarded"] = (await reader.readline()).decode()
            writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what is said."""
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def customs(api: Any) -> None:
    """A kind of our own, and what there is."""
    group = "kr8s.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    # A name that no other program has: on the second try the client forgets the group.
    names = {"plural": "kr8swheels", "kind": "Kr8sWheel"}
    definition = {"metadata": {"name": f"kr8swheels.{group}"}}
    definition["spec"] = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
    defined = await kr8s.asyncio.objects.CustomResourceDefinition(definition, api=api)
    await defined.create()
    await asyncio.wait_for(defined.wait("condition=Established"), WAIT_S)
    wheel = await new_class(kind="Kr8sWheel", version=f"{group}/v1", namespaced=True)(
        body("w", spec={"size": 3}), api=api
    )
    await wheel.create()
    found["custom"] = [one.spec.size async for one in api.get(f"kr8swheels.{group}", namespace=SPACE)]
    await defined.delete()
    found["kinds"] = {"Pod", "Deployment"} <= {one["kind"] for one in await api.api_resources()}
    found["me"] = await api.whoami()
    node = await Node.get("n1", api=api)
    await node.cordon()
    found["cordoned"] = node.unschedulable
    await node.uncordon()


async def main(kubeconfig: str) -> None:
    """All of it, in a namespace of its own."""
    api = await api_of(kubeconfig=kubeconfig)
    space = await kr8s.asyncio.objects.Namespace({"metadata": {"name": SPACE}}, api=api)
    await space.create()
    await writes(api)
    await watches(api)
    await containers(api)
    await customs(api)
    await space.delete()
    sys.stdout.write(json.dumps(found))


asyncio.run(main(sys.argv[1]))
