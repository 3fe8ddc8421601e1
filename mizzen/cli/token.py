"""`mizzen token`: tokens for nodes to join with."""

from __future__ import annotations

import hashlib
import secrets
import ssl
import time
from typing import Annotated

import typer

from mizzen.api import kinds, times
from mizzen.api.types import core_v1, meta_v1
from mizzen.cli.common import Kubeconfig, configured, of_cluster, with_client

app = typer.Typer(help="Tokens for nodes to join with.", no_args_is_help=True)
PREFIX = "bootstrap-token-"
TYPE = "bootstrap.kubernetes.io/token"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@app.command()
@of_cluster
def create(
    ttl_hours: Annotated[float, typer.Option(min=0.01, help="How long it is good for, in hours.")] = 24,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Make a token and print it."""
    loaded = configured(kubeconfig)
    name = "".join(secrets.choice(ALPHABET) for _ in range(6))
    secret = secrets.token_hex(16)
    ends = times.render(int(time.time() * 1000 + ttl_hours * 3_600_000))
    data = {
        "token-id": name,
        "token-secret": secret,
        "expiration": ends,
        "usage-bootstrap-authentication": "true",
    }
    obj = core_v1.Secret(
        metadata=meta_v1.ObjectMeta(name=PREFIX + name, namespace="kube-system"),
        type=TYPE,
        data={key: value.encode() for key, value in data.items()},
    )
    with_client(kubeconfig, lambda client: client.create(obj))
    authority = hashlib.sha256(ssl.PEM_cert_to_DER_cert(loaded.ca_pem.decode())).hexdigest()
    typer.echo(f"mz1.{authority}.{name}.{secret}")


@app.command("list")
@of_cluster
def list_(kubeconfig: Kubeconfig = None) -> None:
    """Show the tokens' names and when they end; never their secrets."""
    found = with_client(
        kubeconfig, lambda client: client.list(kinds.SECRET, "kube-system", field_selector=f"type={TYPE}")
    )
    for secret in found.items:
        ends = secret.data.get("expiration", b"never").decode()
        typer.echo(f"{secret.metadata.name.removeprefix(PREFIX)}   {ends}")
