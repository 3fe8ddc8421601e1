"""Docker Engine for the node: the one that runs here already, else the service manager's, else one of our own.

Our own is kept apart from the machine: its data lies under `.run`, and it makes no bridge and no packet rules, because
the node agent connects pods itself. One that was there before is used as it is and never stopped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deploy import docker_engine
from deploy.cgroups import Cgroup
from deploy.commands import DOCKER_SOCKET
from deploy.processes import spawn
from deploy.shell import TimedOut, sh, tail, wait_for
from deploy.up.state import Run, UpError, uninterrupted

NAME = "dockerd"
SYSTEM_SOCKET = Path(DOCKER_SOCKET)
FIXED_PLACES = ("/etc/docker/key.json", "/run/docker", "/run/containerd")
"""Where Docker leaves things whatever its data folder is; those that it made for us are removed with it."""
START_TIMEOUT_S = 60
OUR_LABEL = "mizzen.dev/type"
"""On every container that the node agent makes."""


def ensure(run: Run) -> str:
    """See to it that an Engine answers; returns in a few words which one it is. Raises UpError."""
    present = run.state.docker_socket
    if present and docker_engine.answers(Path(present)):
        return f"{version(run)}, running already"
    if docker_engine.answers(found := _configured_socket()):
        run.state.docker_socket = str(found)
        run.save()
        return f"{version(run)}, this machine's own"
    if Path("/run/systemd/system").is_dir():
        return _start_unit(run)
    return _start_our_own(run)


def version(run: Run) -> str:
    """The Engine's version in words."""
    seen = docker(run, "version", "--format", "{{.Server.Version}}").strip()
    return f"Docker Engine {seen}"


def docker(run: Run, *argv: str | Path, check: bool = True) -> str:
    """Run the `docker` command against the cluster's Engine; returns what it prints."""
    return sh("docker", "-H", f"unix://{run.state.docker_socket}", *argv, timeout_s=120, check=check).stdout


def remove_containers(run: Run) -> None:
    """Remove what is left of our containers; the Engine's other containers are not touched."""
    if run.state.docker_socket and docker_engine.answers(Path(run.state.docker_socket)):
        if left := docker(run, "ps", "-aq", "--no-trunc", "--filter", f"label={OUR_LABEL}").split():
            docker(run, "rm", "-f", *left)
        docker(run, "image", "rm", "demo:v1", "demo:v2", check=False)


def stop(run: Run) -> None:
    """Stop the Engine if it was started by us, with its mounts, control groups and data."""
    if run.state.docker_unit_started:
        sh("systemctl", "stop", "docker.service", "docker.socket", check=False)
    if (process := run.state.processes.get(NAME)) is not None:
        process.stop(grace_s=30)
    if run.data("docker").exists():
        group = Cgroup(_group_name(run))
        group.kill()
        group.remove()
        places = [run.data("docker"), run.sockets, *map(Path, run.state.made_by_engine)]
        _unmount_below(*places)
        for place in places:
            place.unlink(missing_ok=True) if place.is_file() else shutil.rmtree(place, ignore_errors=True)


def _configured_socket() -> Path:
    configured = os.environ.get("DOCKER_HOST", "")
    return Path(configured.removeprefix("unix://")) if configured.startswith("unix://") else SYSTEM_SOCKET


def _start_unit(run: Run) -> str:
    run.state.docker_socket, run.state.docker_unit_started = str(SYSTEM_SOCKET), True
    run.save()
    sh("systemctl", "start", "docker.service", timeout_s=START_TIMEOUT_S)
    _wait(run, Path("journalctl -u docker"))
    return f"{version(run)}, started with systemctl"


def _start_our_own(run: Run) -> str:
    data = run.data("docker")
    data.mkdir(parents=True, exist_ok=True)
    run.sockets.mkdir(exist_ok=True)
    config = data / "daemon.json"  # of its own, so that /etc/docker/daemon.json has no say
    config.write_text("{}")
    run.state.docker_socket = str(run.sockets / "docker.sock")
    group = Cgroup(f"{_group_name(run)}/engine")
    group.create()
    command = [
        *group.joining(),
        NAME,
        f"--config-file={config}",
        f"--data-root={data / 'data'}",
        f"--exec-root={run.sockets / 'exec'}",
        f"--pidfile={run.sockets / 'docker.pid'}",
        f"--host=unix://{run.state.docker_socket}",
        f"--cgroup-parent=/{_group_name(run)}",
        "--storage-driver=overlay2",
        "--bridge=none",
        "--iptables=false",
        "--ip-forward=false",
    ]
    absent = [place for place in FIXED_PLACES if not Path(place).exists()]
    run.state.made_by_engine = sorted({*run.state.made_by_engine, *absent})
    with uninterrupted():
        run.state.processes[NAME] = spawn(command, run.log(NAME))
        run.save()
    _wait(run, run.log(NAME))
    return f"{version(run)}, started for this cluster"


def _wait(run: Run, log: Path) -> None:
    def settled() -> bool:
        ended = NAME in run.state.processes and not run.alive(NAME)
        return ended or docker_engine.answers(Path(run.state.docker_socket))

    try:
        wait_for("Docker Engine", settled, START_TIMEOUT_S)
    except TimedOut as error:
        raise UpError(f"Docker Engine does not answer; {log} ends with:\n{tail(log)}") from error
    if not docker_engine.answers(Path(run.state.docker_socket)):
        raise UpError(f"Docker Engine ended; {log} ends with:\n{tail(log)}")


def _group_name(run: Run) -> str:
    """The control group of the Engine (in `engine`) and of its containers, so that a killed Engine's rest is found."""
    return run.sockets.name


def _unmount_below(*folders: Path) -> None:
    """What a killed Engine left mounted, innermost first."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(places):
        if any(Path(place).is_relative_to(folder) for folder in folders):
            sh("umount", "-l", place)
