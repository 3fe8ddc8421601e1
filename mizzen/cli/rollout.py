"""`mizzen rollout`: follow, look back at, undo, promote and repeat a Deployment's rollouts."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import msgspec
import typer

from mizzen.api import errors, kinds, times, workloads
from mizzen.api.types import apps_v1
from mizzen.base.settings import duration_ms
from mizzen.cli.common import CommandError, Kubeconfig, Namespace, namespace_of, of_cluster, with_client
from mizzen.cli.names import NameProblem, target
from mizzen.client import Client, wait_for

app = typer.Typer(help="Follow, look back at, undo and repeat rollouts.", no_args_is_help=True)
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
What = Annotated[list[str], typer.Argument(metavar="deployment/NAME", help="Which.")]


def _deployment(what: list[str]) -> str:
    kind, name = target(what, lambda: ())
    if kind is not kinds.DEPLOYMENT:
        raise NameProblem("only deployments are rolled out")
    return name


@app.command()
@of_cluster
def status(
    what: What,
    namespace: Namespace = "",
    timeout: Annotated[str, typer.Option(help="How long to wait, like 60s.")] = "600s",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Wait until a rollout is complete."""
    name, where = _deployment(what), namespace_of(kubeconfig, namespace)
    try:
        seconds = duration_ms(timeout) / 1000
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error
    said = ""

    def done(deployment: apps_v1.Deployment | None) -> bool:
        nonlocal said
        if deployment is None:
            raise errors.NotFound(kinds.DEPLOYMENT, name)
        text, complete = progress(deployment)
        if text != said:
            typer.echo(text)
        said = text
        return complete

    async def use(client: Client) -> None:
        try:
            async with asyncio.timeout(seconds):
                await wait_for(client, kinds.DEPLOYMENT, where, name, done)
        except TimeoutError as error:
            raise CommandError(f"timed out waiting for the condition: {said or 'nothing was heard'}") from error

    with_client(kubeconfig, use)


def progress(deployment: apps_v1.Deployment) -> tuple[str, bool]:
    """How far a rollout is, in kubectl's words, and whether it is complete. Raises when its deadline has passed."""
    name, status_ = deployment.metadata.name, deployment.status
    if deployment.metadata.generation > status_.observed_generation:
        return "Waiting for deployment spec update to be observed...", False
    progressing = next((c for c in status_.conditions if c.type == "Progressing"), None)
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        raise CommandError(f'deployment "{name}" exceeded its progress deadline')
    desired = deployment.spec.replicas if deployment.spec.replicas is not None else 1
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    if status_.updated_replicas < desired:
        return f"{waiting} {status_.updated_replicas} out of {desired} new replicas have been updated...", False
    if status_.replicas > status_.updated_replicas:
        pending = status_.replicas - status_.updated_replicas
        return f"{waiting} {pending} old replicas are pending termination...", False
    if status_.available_replicas < status_.updated_replicas:
        have, want = status_.available_replicas, status_.updated_replicas
        return f"{waiting} {have} of {want} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


async def _sets(client: Client, namespace: str, name: str) -> list[apps_v1.ReplicaSet]:
    """A deployment's replica sets by revision."""
    deployment = await client.get(kinds.DEPLOYMENT, namespace, name)
    found = await client.list(kinds.REPLICA_SET, namespace)
    own = [rs for rs in found.items if any(r.uid == deployment.metadata.uid for r in rs.metadata.owner_references)]
    return sorted(own, key=_revision)


def _revision(rs: apps_v1.ReplicaSet) -> int:
    return int(rs.metadata.annotations.get(REVISION, "0"))


@app.command()
@of_cluster
def history(what: What, namespace: Namespace = "", kubeconfig: Kubeconfig = None) -> None:
    """Show the revisions."""
    name, where = _deployment(what), namespace_of(kubeconfig, namespace)
    sets = with_client(kubeconfig, lambda client: _sets(client, where, name))
    typer.echo("REVISION  IMAGES")
    for rs in sets:
        images = ", ".join(container.image for container in rs.spec.template.spec.containers)
        typer.echo(f"{_revision(rs):<8}  {images}")


@app.command()
@of_cluster
def undo(
    what: What,
    namespace: Namespace = "",
    to_revision: Annotated[int, typer.Option(min=0, help="Which; 0: the one before.")] = 0,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go back to an earlier revision."""
    name, where = _deployment(what), namespace_of(kubeconfig, namespace)

    async def use(client: Client) -> None:
        sets = await _sets(client, where, name)
        wanted = sets[-2:-1] if not to_revision else [rs for rs in sets if _revision(rs) == to_revision]
        if not wanted:
            which = f"revision {to_revision}" if to_revision else "earlier revision"
            raise CommandError(f"deployment {name!r} has no {which}; see `mizzen rollout history deployment/{name}`")
        patch = [{"op": "replace", "path": "/spec/template", "value": _template(wanted[0])}]
        await client.patch(kinds.DEPLOYMENT, where, name, json.dumps(patch).encode(), type_="json")

    with_client(kubeconfig, use)
    typer.echo(f"deployment.apps/{name} rolled back")


@app.command()
@of_cluster
def promote(
    what: What,
    namespace: Namespace = "",
    full: Annotated[bool, typer.Option("--full", help="Skip all steps that are left.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """End a canary's pause."""
    name, where = _deployment(what), namespace_of(kubeconfig, namespace)
    patch = {"metadata": {"annotations": {workloads.PROMOTE: workloads.PROMOTE_FULL if full else "true"}}}
    with_client(
        kubeconfig,
        lambda client: client.patch(kinds.DEPLOYMENT, where, name, json.dumps(patch).encode(), type_="merge"),
    )
    typer.echo(f"deployment.apps/{name} promoted")


def _template(rs: apps_v1.ReplicaSet) -> object:
    template = msgspec.json.decode(msgspec.json.encode(rs.spec.template))
    template["metadata"].get("labels", {}).pop(HASH, None)
    return template


@app.command()
@of_cluster
def restart(what: What, namespace: Namespace = "", kubeconfig: Kubeconfig = None) -> None:
    """Replace all pods, one after the other, by new ones of the same kind."""
    name, where = _deployment(what), namespace_of(kubeconfig, namespace)
    stamp = {"kubectl.kubernetes.io/restartedAt": times.render(int(time.time() * 1000))}
    patch = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    with_client(
        kubeconfig,
        lambda client: client.patch(kinds.DEPLOYMENT, where, name, json.dumps(patch).encode(), type_="strategic-merge"),
    )
    typer.echo(f"deployment.apps/{name} restarted")
