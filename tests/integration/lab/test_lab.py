"""The lab's machines do what machines do: they talk, run containers, lose cable and power, fill up, and vanish."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.cgroups import ROOT as CGROUPS
from deploy.images import demo
from deploy.lab import Lab, LabError, Machine
from deploy.lab.state import StateFile
from deploy.shell import sh, wait_for

pytestmark = pytest.mark.lab

BOX = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two near machines and a far one, with disks of their own and the demo image on them."""
    folder = tmp_path_factory.mktemp("lab")
    with Lab(folder).up(nodes=3, far=[3], disk_mb=300) as lab:
        lab.load_image(demo.build(folder))
        yield lab


@pytest.fixture(scope="module")
def web(lab: Lab) -> str:
    """A container on machine 1 that serves a page on the machine's port 80."""
    lab.machine(1).docker("run", "-d", "--name", "web", "-p", "80:8080", "demo:v1")
    return f"http://{lab.machine(1).address}/"


def fetch(url: str) -> str:
    """The page, or an empty text when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return ""


def pings(machine: Machine, address: str) -> bool:
    """Whether one packet comes back."""
    return " 0% packet loss" in machine.run("busybox", "ping", "-c1", "-W1", address, check=False)


def test_every_machine_reaches_every_other(lab: Lab) -> None:
    """Near ones directly, far ones through the router, and the box from all."""
    for machine in lab.machines:
        assert all(pings(machine, other.address) for other in lab.machines), machine.name
        assert pings(machine, lab.outside)
    hops = lab.machine(3).run("busybox", "traceroute", "-n", "-q1", lab.machine(1).address).splitlines()[1:]
    assert len(hops) == 2, hops


def test_machines_are_different_hosts(lab: Lab) -> None:
    """Each has a host name, processes, files, and an Engine identity of its own."""
    first, second = lab.machine(1), lab.machine(2)
    assert [m.run("hostname").strip() for m in (first, second)] == ["node-1", "node-2"]
    assert first.run("cat", "/proc/1/comm").strip() == "tini"
    first.run("touch", "/var/lib/mine", "/etc/mine", "/run/mine")
    for path in ("/var/lib/mine", "/etc/mine", "/run/mine"):
        assert not second.path(path).exists()
        assert not Path(path).exists()
    identities = {m.docker("info", "--format", "{{.ID}}") for m in lab.nodes}
    assert len(identities) == 3
    assert first.run("getent", "hosts", "node-2").split()[0] == second.address


def test_containers_serve_beyond_their_machine(lab: Lab, web: str) -> None:
    """Docker's own port mapping works from the box and from another machine."""
    page = wait_for("the page", lambda: fetch(web), 10)
    assert page.startswith("demo v1 on ")
    assert lab.machine(3).run("busybox", "wget", "-qO-", web) == page


def test_cut_and_heal(lab: Lab, web: str) -> None:
    """Without its cable a machine is gone, but runs on."""
    wait_for("the page", lambda: fetch(web), 10)
    lab.cut(1)
    assert not fetch(web)
    assert "web" in lab.machine(1).docker("ps", "--format", "{{.Names}}")
    lab.heal("node-1")
    assert wait_for("the page", lambda: fetch(web), 10)


def test_freeze_and_thaw(lab: Lab, web: str) -> None:
    """A frozen machine accepts no work, and goes on where it stood."""
    wait_for("the page", lambda: fetch(web), 10)
    before = lab.machine(1).pid("dockerd")
    lab.freeze(1)
    assert not fetch(web)
    lab.thaw(1)
    assert wait_for("the page", lambda: fetch(web), 10)
    assert lab.machine(1).pid("dockerd") == before


def test_full_disk(lab: Lab) -> None:
    """The disk of one machine is full, all others have room."""
    lab.fill(2)
    with pytest.raises(RuntimeError, match="No space left"):
        lab.machine(2).run("dd", "if=/dev/zero", "of=/var/lib/docker/more", "bs=64k", "count=1")
    lab.machine(1).run("dd", "if=/dev/zero", "of=/var/lib/docker/more", "bs=64k", "count=1")
    lab.unfill(2)
    lab.machine(2).run("dd", "if=/dev/zero", "of=/var/lib/docker/more", "bs=64k", "count=1")


def test_docker_dies_alone(lab: Lab, web: str) -> None:
    """With its daemon killed the container goes on, and the next daemon finds it."""
    machine = lab.machine(1)
    machine.kill("dockerd")
    assert machine.pid("dockerd") is None
    machine.start("dockerd")
    machine.wait_for_docker()
    assert machine.docker("exec", "web", "hostname").strip() in wait_for("the page", lambda: fetch(web), 10)


def test_power_cycle(lab: Lab) -> None:
    """Power-off kills everything at once; after boot the disk is as it was and Docker is back."""
    machine = lab.machine(2)
    machine.docker("run", "-d", "--name", "victim", "demo:v1")
    machine.run("nft", "add", "table", "ip", "leftover")
    lab.power_off(2)
    assert not machine.running
    assert not list(CGROUPS.glob(f"*/mizzen-lab-*{machine.netns[2:6]}/{machine.name}"))
    assert not pings(lab.machine(1), machine.address)
    with pytest.raises(LabError, match="switched off"):
        machine.run("true")
    lab.boot(2)
    assert pings(lab.machine(1), machine.address)
    assert machine.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "victim").split() == [
        "exited",
        "255",
    ]
    assert "leftover" not in machine.run("nft", "list", "tables")


def test_power_off_of_a_frozen_machine(lab: Lab) -> None:
    """Frozen processes die too."""
    lab.freeze(3)
    lab.power_off(3)
    lab.boot(3)
    assert pings(lab.machine(3), lab.machine(1).address)


def test_services_start_at_boot(lab: Lab) -> None:
    """What was installed comes back with the machine; what died by itself stays dead until then."""
    machine = lab.server
    machine.install("clock", ["sleep", "infinity"])
    machine.kill("clock")
    assert machine.pid("clock") is None
    machine.power_off()
    machine.boot()
    assert machine.pid("clock") is not None


def test_another_process_takes_it_down_and_nothing_is_left(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    """The command finds the lab by its folder; two labs do not meet; afterwards no trace of the first is on the box."""
    lab, other = new_lab(nodes=1), new_lab(nodes=1)
    assert lab.machine(1).address != other.machine(1).address
    lab.load_image(demo.build(tmp_path))
    lab.machine(1).docker("run", "-d", "demo:v1")
    state = StateFile(lab.folder).load()
    assert state is not None
    assert traces(state.id)

    command = [sys.executable, "-m", "deploy.lab", "--dir", str(lab.folder), "down"]
    subprocess.run(command, cwd=BOX, check=True, timeout=60, capture_output=True)

    wait_for("the kernel to drop the links", lambda: not traces(state.id), 10)
    assert list(lab.folder.iterdir()) == []
    assert pings(other.machine(1), other.server.address)


def test_half_made_lab_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on the way up leaves a record that `down` works from."""

    def fail(machine: Machine) -> None:
        raise LabError("no power today")

    monkeypatch.setattr(Machine, "boot", fail)
    lab = Lab(tmp_path / "lab")
    with pytest.raises(LabError, match="no power"):
        lab.up(nodes=1)
    state = StateFile(lab.folder).load()
    assert state is not None
    assert traces(state.id)
    Lab(tmp_path / "lab").down()
    wait_for("the kernel to drop the links", lambda: not traces(state.id), 10)


def test_mistakes_are_explained(lab: Lab, tmp_path: Path) -> None:
    """The usual ones: wrong machine, no lab, a lab already."""
    with pytest.raises(LabError, match="no machine 'node-9', only server, node-1"):
        lab.machine(9)
    with pytest.raises(LabError, match="lab up"):
        Lab(tmp_path).cut(1)
    with pytest.raises(LabError, match="already"):
        Lab(lab.folder).up(nodes=1)


def traces(lab_id: str) -> list[str]:
    """Everything on the box that carries the lab's id, and every process that runs from its folder."""
    namespaces = sh("ip", "netns", "list").stdout.splitlines()
    links = sh("ip", "-o", "link").stdout.splitlines()
    routes = sh("ip", "route").stdout.splitlines()
    groups = [str(path) for path in CGROUPS.glob(f"*/mizzen-lab-{lab_id}")]
    return [line for line in [*namespaces, *links, *routes, *groups] if lab_id in line]
