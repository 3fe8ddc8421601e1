"""The project's own command line with kinds that users define, and the ways to say who one is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.store.memory import MemoryBackend, MemoryStore
from mizzen.api import codec, kinds
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.control_plane import Plane, control_plane
from tests.fixtures.deciders import deciding
from tests.integration.rest.widgets import definition, widget

COMMAND_S = 60.0
WAIT_S = 10.0


@dataclass
class Command:
    """`mizzen`, for one kubeconfig or environment."""

    environment: dict[str, str]
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def ends(self, *args: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, output and complaints."""
        async with self.turn:
            return await self._run(args, stdin)

    async def _run(self, args: Sequence[str], stdin: str) -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mizzen.cli.main", *args, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment
        )
        try:
            async with asyncio.timeout(COMMAND_S):
                out, said = await process.communicate(stdin.encode())
        except TimeoutError:
            process.kill()
            raise
        return process.returncode or 0, out.decode(), said.decode()

    async def __call__(self, *args: str, stdin: str = "") -> str:
        """The output of a command that must succeed."""
        code, out, said = await self.ends(*args, stdin=stdin)
        assert code == 0, f"mizzen {' '.join(args)}: {out}{said}"
        return out


def command(config: Path, **environment: str) -> Command:
    """The command with a kubeconfig."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "COV_"))}
    return Command({**bare, "KUBECONFIG": str(config), **environment})


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    store = MemoryStore(MemoryBackend())
    async with control_plane(tmp_path, store=store) as running, deciding(store, running.registry):
        yield running


async def defined(plane: Plane) -> None:
    """Widgets are served."""
    async with plane.client() as client:
        await client.create(codec.decode_dict(definition(), kinds.CUSTOM_RESOURCE_DEFINITION)[0])
    async with asyncio.timeout(WAIT_S):
        while "widgets.example.com" not in plane.registry.catalog.best:  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.01)


async def test_users_kinds(plane: Plane) -> None:
    mizzen = command(plane.kubeconfig)
    code, _, said = await mizzen.ends("get", "widgets")
    assert code == 1
    assert 'the server doesn\'t have a resource type "widgets"' in said
    await defined(plane)
    manifest = yaml.safe_dump(widget("a", size="small"))
    assert await mizzen("apply", "-f", "-", "--dry-run", stdin=manifest) == (
        "widget.example.com/a created (server dry run)\n"
    )
    assert await mizzen("plan", "-f", "-", stdin=manifest) == (
        "     1.0 s  create     widgets.example.com/default/a  applied\n"
    )
    assert await mizzen("apply", "-f", "-", stdin=manifest) == "widget.example.com/a created\n"
    assert await mizzen("apply", "-f", "-", stdin=manifest) == "widget.example.com/a unchanged\n"
    large = yaml.safe_dump(widget("a", size="large"))
    assert await mizzen("apply", "-f", "-", stdin=large) == "widget.example.com/a configured\n"
    words = ("wd", "widgets.v1.example.com", "widget/a")
    for shown in await asyncio.gather(*(mizzen("get", word) for word in words)):
        assert shown.split()[:6] == ["NAME", "SIZE", "REPLICAS", "AGE", "a", "large"], shown
    assert await mizzen("scale", "widget/a", "--replicas", "3") == "widget.example.com/a scaled\n"
    described = yaml.safe_load((await mizzen("describe", "widget", "a")).partition("Events:")[0])
    assert described["spec"] == {"replicas": 3, "size": "large"}
    assert "nothing is wrong" in await mizzen("why", "wd/a")
    code, _, said = await mizzen.ends("apply", "-f", "-", stdin=yaml.safe_dump(widget("b", size="huge")))
    assert code == 1
    assert 'spec.size: Unsupported value: "huge"' in said
    assert await mizzen("delete", "widget/a") == 'widget.example.com "a" deleted\n'


async def account_token(plane: Plane) -> str:
    """A token of the account `robot`, which may do nothing."""
    async with plane.client() as client:
        await client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name="robot", namespace="default")))
        made = await client.create_token("default", "robot", authentication.TokenRequestSpec())
        return made.status.token


WHO = "system:serviceaccount:default:robot"


async def test_who_one_is(plane: Plane, tmp_path: Path) -> None:
    token = await account_token(plane)
    admin = plane.kubeconfig
    document: dict[str, Any] = yaml.safe_load(admin.read_text())
    (tmp_path / "token").write_text(token)
    told = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    program = tmp_path / "login"
    program.write_text(f"#!/bin/sh\nprintenv KUBERNETES_EXEC_INFO >> {tmp_path}/asked\necho '{json.dumps(told)}'\n")
    program.chmod(0o755)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "provideClusterInfo": True}
    users = {"written": {"token": token}, "file": {"tokenFile": "token"}, "program": {"exec": plugin}}
    document["users"] += [{"name": name, "user": user} for name, user in users.items()]
    document["users"].append({"name": "acting", "user": {**document["users"][0]["user"], "as": WHO}})
    names = [*users, "acting"]
    document["contexts"] += [{"name": name, "context": {"cluster": "test", "user": name}} for name in names]
    everybody = tmp_path / "everybody"
    everybody.write_text(yaml.safe_dump(document))
    mizzen = command(everybody)
    ways = [
        *(("--context", name) for name in names), ("--token", token), ("--as", WHO, "--as-group", "g"),
    ]  # fmt: skip
    # `get` asks over REST, `why` over gRPC.
    asked_both = [mizzen.ends(verb, "pod/p", *way) for way in ways for verb in ("get", "why")]
    for code, _, said in await asyncio.gather(*asked_both):
        assert code == 1, said
        assert f'Forbidden): pods "p" is forbidden: User "{WHO}" cannot get' in said, said
    asked = json.loads((tmp_path / "asked").read_text().splitlines()[0])
    assert asked["spec"]["cluster"]["server"] == f"https://127.0.0.1:{plane.https_port}"
    code, _, said = await mizzen.ends("get", "pods", "--token", "nonsense")
    assert (code, "Unauthorized" in said) == (1, True)
    (tmp_path / "empty").write_text("{}")
    merged = command(admin, KUBECONFIG=f"{tmp_path}/none:{tmp_path}/empty:{everybody}")
    assert "default" in await merged("get", "namespaces")
