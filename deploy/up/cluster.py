"""The steps of `up` and `down`, in order, each with one line on what it found or did. Safe to repeat at any point."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import deploy
from deploy import commands
from deploy.images import demo
from deploy.processes import spawn
from deploy.shell import CommandFailed, sh, tail, wait_for
from deploy.up import engine
from deploy.up.state import Run, UpError, uninterrupted

SERVER, AGENT = "server", "agent"
FOLDER = Path(deploy.__file__).parent
MANIFEST = FOLDER / "manifests" / "demo.yaml"
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
ROLLOUT_TIMEOUT_S = 120
PAGE_TIMEOUT_S = 30

NEXT = """Try next:
  export KUBECONFIG={kubeconfig}
  kubectl get pods -o wide                                # or: mizzen get pods -o wide
  kubectl scale deployment demo --replicas 5
  kubectl set image deployment/demo demo=demo:v2          # a rolling update
  kubectl rollout undo deployment/demo
  kubectl exec -it deployment/demo -- sh
  while sleep 0.5; do busybox wget -qO- http://{address}/; done
Logs: {logs}    Take it all away: make down (or: mizzen down)"""


def up(run: Run, say: Callable[[str], None]) -> None:
    """Start what is not running and show the demo's page; raises UpError and the errors of the steps."""
    if os.geteuid() != 0:
        raise UpError("root is needed: Docker Engine, network rules and containers. Try: sudo make up")
    began = time.monotonic()
    run.state.ip_forward_before = run.state.ip_forward_before or IP_FORWARD.read_text().strip()
    run.save()
    steps = (
        ("packages", _install_packages),
        ("engine", engine.ensure),
        ("image", _load_image),
        ("control plane", _start_server),
        ("node", _start_agent),
        ("storage", _offer_storage),
        ("demo", _deploy_demo),
        ("page", _fetch_page),
    )
    for name, step in steps:
        started = time.monotonic()
        found = step(run)
        say(f"  {name:14} {found}  ({time.monotonic() - started:.1f} s)")
    say(f"\nA cluster of one node runs; that took {time.monotonic() - began:.1f} s.\n")
    say(NEXT.format(kubeconfig=run.kubeconfig, address=_service_ip(run), logs=run.folder / "logs"))


def down(run: Run, say: Callable[[str], None]) -> None:
    """Take away all that `up` started and made; goes on past a step that fails and reports it at the end."""
    if os.geteuid() != 0:
        raise UpError("root is needed to stop what was started as root. Try: sudo make down")
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("agent", lambda: _stop(run, AGENT)),
        ("pods and rules", lambda: _reset_node(run)),
        ("forwarding", lambda: _restore_forwarding(run)),
        ("control plane", lambda: _stop(run, SERVER)),
        ("containers", lambda: engine.remove_containers(run)),
        ("engine", lambda: engine.stop(run)),
        ("files", lambda: _remove_files(run)),
    )
    failures = []
    for name, step in steps:
        try:
            step()
        except (CommandFailed, TimeoutError, OSError) as error:
            failures.append(f"{name}: {error}")
    if failures:
        raise UpError("not everything is gone:\n  " + "\n  ".join(failures) + "\nRun it again when that is mended.")
    run.forget()
    say("nothing of the cluster is left")


def _install_packages(run: Run) -> str:
    done = sh("sh", FOLDER / "packages.sh", "run", timeout_s=900, env={"PYTHON": sys.executable})
    return done.stdout.strip() or "all there"


def _load_image(run: Run) -> str:
    for image in ("v1", "v2"):
        archive = demo.build(run.folder / "images", image)
        engine.docker(run, "load", "-q", "-i", archive)
    return "demo:v1, demo:v2, built here"


def _start_server(run: Run) -> str:
    address = _own_address()
    known = run.alive(SERVER)
    if not known:
        _spawn(run, SERVER, commands.server_command(run.data(SERVER), address))
    kubeconfig = _written_by_server(run, commands.KUBECONFIG_FILE)
    run.kubeconfig.touch(mode=0o600)
    run.kubeconfig.write_bytes(kubeconfig)
    return f"https://{address}:{commands.API_PORT}{', running already' if known else ''}"


def _start_agent(run: Run) -> str:
    known = run.alive(AGENT)
    if not known:
        token = _written_by_server(run, commands.TOKEN_FILE).decode().strip()
        docker = run.state.docker_socket
        _spawn(run, AGENT, commands.agent_command(run.data(AGENT), _own_address(), token, docker))
    try:
        commands.wait_for_nodes(run.kubeconfig, 1, lambda: run.alive(AGENT))
    except (TimeoutError, commands.DaemonFailed) as error:
        raise UpError(f"the node is not Ready; {run.log(AGENT)} ends with:\n{tail(run.log(AGENT))}") from error
    return f"{socket.gethostname()} is Ready{', running already' if known else ''}"


def _offer_storage(run: Run) -> str:
    commands.offer_storage(run.kubeconfig)
    return "StorageClass local is the default: volumes are folders of the node"


def _deploy_demo(run: Run) -> str:
    commands.kube(run.kubeconfig, "apply", "-f", MANIFEST)
    wait = ("rollout", "status", "deployment/demo", "--timeout", f"{ROLLOUT_TIMEOUT_S}s")
    try:
        commands.kube(run.kubeconfig, *wait, timeout_s=ROLLOUT_TIMEOUT_S + 10)
    except CommandFailed as error:
        pods = commands.kube(run.kubeconfig, "get", "pods", "-o", "wide")
        raise UpError(f"the demo's pods do not run: {error}\n{pods}") from error
    ready = commands.get(run.kubeconfig, "deployment", "demo")["status"]["readyReplicas"]
    return f"Deployment demo: {ready} pods run; Service demo: {_service_ip(run)}"


def _fetch_page(run: Run) -> str:
    url = f"http://{_service_ip(run)}/"

    def fetch() -> str:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return str(answer.read().decode().strip())
        except (OSError, urllib.error.URLError):
            return ""

    return f"{url} answers {wait_for(f'a page at {url}', fetch, PAGE_TIMEOUT_S)!r}"


def _service_ip(run: Run) -> str:
    return str(commands.get(run.kubeconfig, "service", "demo")["spec"]["clusterIP"])


def _spawn(run: Run, name: str, command: list[str]) -> None:
    with uninterrupted():
        run.state.processes[name] = spawn(command, run.log(name))
        run.save()


def _written_by_server(run: Run, name: str) -> bytes:
    return commands.wait_until_written(lambda: run.data(SERVER) / name, lambda: run.alive(SERVER), run.log(SERVER))


def _stop(run: Run, name: str) -> None:
    if (process := run.state.processes.get(name)) is not None:
        process.stop(grace_s=20)


def _reset_node(run: Run) -> None:
    """The agent knows what it made on this machine; it removes that without the control plane's help."""
    if run.data(AGENT).exists():
        sh(*commands.reset_command(run.data(AGENT), run.state.docker_socket), timeout_s=120)


def _restore_forwarding(run: Run) -> None:
    if run.state.ip_forward_before:
        IP_FORWARD.write_text(run.state.ip_forward_before)


def _remove_files(run: Run) -> None:
    for name in (SERVER, AGENT, "images", "logs"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
    run.kubeconfig.unlink(missing_ok=True)


def _own_address() -> str:
    """The address other machines would reach this one at; loopback where there is no network at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only makes the kernel choose a source address
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
