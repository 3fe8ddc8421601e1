"""Create a Deployment over gRPC, follow its pods until all are ready, and take it away again.

An example of the public client library; it needs a cluster with the image `demo:v1`, such as that of `make up`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from mizzen.api import kinds
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.client import Client, follow, load

NAMESPACE, NAME, REPLICAS = "default", "example", 3
LABELS = {"app": NAME}
PATIENCE_S = 30


def deployment() -> apps.Deployment:
    """Three pods of the demo's web server."""
    pod = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels=LABELS),
        spec=core.PodSpec(containers=(core.Container(name="web", image="demo:v1"),)),
    )
    return apps.Deployment(
        metadata=meta.ObjectMeta(name=NAME, namespace=NAMESPACE),
        spec=apps.DeploymentSpec(replicas=REPLICAS, selector=meta.LabelSelector(match_labels=LABELS), template=pod),
    )


async def follow_until_ready(client: Client) -> None:
    """Print what becomes of the pods until all of them are ready. Raises TimeoutError."""
    ready: set[str] = set()
    async with (
        asyncio.timeout(PATIENCE_S),
        aclosing(follow(client, kinds.POD, NAMESPACE, label_selector=f"app={NAME}")) as events,
    ):
        async for event in events:
            pod = event.object
            print(f"{event.type:<8} {pod.metadata.name} {pod.status.phase} {pod.spec.node_name}")
            conditions = {condition.type: condition.status for condition in pod.status.conditions}
            if event.type != "DELETED" and conditions.get("Ready") == "True":
                ready.add(pod.metadata.name)
            else:
                ready.discard(pod.metadata.name)
            if len(ready) == REPLICAS:
                return


async def main() -> None:
    """The program."""
    async with Client(load()) as client:
        await client.create(deployment())
        try:
            await follow_until_ready(client)
            print("all are ready")
        except TimeoutError:
            for reason in await client.why(kinds.DEPLOYMENT, NAMESPACE, NAME):
                print(reason)
        finally:
            await client.delete(kinds.DEPLOYMENT, NAMESPACE, NAME)


if __name__ == "__main__":
    asyncio.run(main())
