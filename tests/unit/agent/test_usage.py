"""What is used, out of the kernel's files of both versions, and told once there are two looks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nodeagent.drive import cgroups
from nodeagent.drive.cgroups import Cgroups, Counted, Unreadable
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.observe import Watcher
from nodeagent.drive.usage import Looked, Meter, Used, measured
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.runtime.values import ContainerState, PodRef, Status
from tests.unit.agent.world import LoopClock

ID = "0123abcd"
WEB = PodRef(uid="u1", namespace="shop", name="web")
STAT = "cpu  100 20 30 4000 500 6 7 8 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
MEMINFO = "MemTotal:  1000 kB\nMemFree:  300 kB\nInactive:  250 kB\nInactive(file):  200 kB\n"


def write(path: Path, text: str) -> None:
    """A file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine's files."""
    write(tmp_path / "proc/stat", STAT)
    write(tmp_path / "proc/meminfo", MEMINFO)
    return tmp_path


def files(machine: Path) -> Cgroups:
    """What reads them."""
    return Cgroups(machine / "cgroup", machine / "proc")


def test_version_1(machine: Path) -> None:
    write(machine / "proc/7/cgroup", f"9:name=systemd:/x\n4:memory:/docker/{ID}/inner\n2:cpuacct:/docker/{ID}\n0::/\n")
    write(machine / f"cgroup/cpuacct/docker/{ID}/cpuacct.usage", "123456789\n")
    write(machine / f"cgroup/memory/docker/{ID}/memory.usage_in_bytes", "5000\n")
    write(machine / f"cgroup/memory/docker/{ID}/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n")
    assert files(machine).container(ID, 7) == Counted(123456789, 3000, 5000, f"/docker/{ID}")


def test_version_2(machine: Path) -> None:
    group = f"system.slice/docker-{ID}.scope"
    write(machine / "proc/7/cgroup", f"0::/{group}/init\n")
    write(machine / f"cgroup/{group}/cpu.stat", "usage_usec 1500\nuser_usec 1000\n")
    write(machine / f"cgroup/{group}/memory.current", "4096\n")
    write(machine / f"cgroup/{group}/memory.stat", "anon 1\ninactive_file 8192\n")
    assert files(machine).container(ID, 7) == Counted(1_500_000, 0, 4096, f"/{group}")


@pytest.mark.parametrize(
    ("listed", "group"),
    [
        (f"7:pids:/docker/{ID}\n0::/\n", f"pids/docker/{ID}"),
        (f"0::/system.slice/docker-{ID}.scope/init\n", f"system.slice/docker-{ID}.scope"),
    ],
)
def test_processes(machine: Path, listed: str, group: str) -> None:
    write(machine / "proc/7/cgroup", listed)
    with pytest.raises(Unreadable):
        files(machine).processes(ID, 7)
    write(machine / f"cgroup/{group}/pids.current", "42\n")
    assert files(machine).processes(ID, 7) == 42


def test_what_is_gone_or_odd_is_unreadable(machine: Path) -> None:
    with pytest.raises(Unreadable):
        files(machine).container(ID, 7)
    write(machine / "proc/8/cgroup", "3:pids:/x\n")
    with pytest.raises(Unreadable, match="no group of version 2"):
        files(machine).container(ID, 8)
    write(machine / "proc/9/cgroup", "0::/x\n")
    write(machine / "cgroup/x/memory.stat", "anon 1\n")
    write(machine / "cgroup/x/cpu.stat", "user_usec 1\n")
    with pytest.raises(Unreadable, match="no usage_usec"):
        files(machine).container(ID, 9)


def test_the_machine(machine: Path) -> None:
    assert cgroups.machine_time(STAT, 100) == (100 + 20 + 30 + 6 + 7 + 8) * 10_000_000
    found = files(machine).machine()
    assert (found.memory_bytes, found.usage_bytes, found.group) == (500 * 1024, 700 * 1024, "/")


def state(name: str, number: int = 1) -> ContainerState:
    """A running container of the pod."""
    return ContainerState(id=f"{name}-{number}", pod=WEB, name=name, attempt=0, status=Status.RUNNING, pid=number)


def test_means_of_a_window() -> None:
    before = Looked(1000, Counted(0, 0, 0), {"a-1": Counted(1_000_000_000, 10, 10), "gone": Counted(1, 1, 1)})
    after = Looked(11_000, Counted(5_000_000_000, 70, 70), {"a-1": Counted(3_500_000_000, 20, 20)})
    found = measured(before, after, [state("a")])
    assert found.window_ms == 10_000
    assert found.node == Used(500_000_000, 70)
    assert found.pods == {WEB: {"a": Used(250_000_000, 20)}}


def test_a_pod_is_told_of_when_all_its_containers_are_known() -> None:
    before = Looked(0, Counted(0, 0, 0), {"a-1": Counted(0, 10, 10)})
    after = Looked(1000, Counted(0, 0, 0), {"a-1": Counted(0, 20, 20), "b-1": Counted(0, 5, 5)})
    assert measured(before, after, [state("a"), state("b")]).pods == {}


@pytest.mark.asyncio
async def test_a_measurement_is_told_once_to_each(machine: Path) -> None:
    clock = LoopClock()
    meter = Meter(Watcher(FakeRuntime(clock), clock, Metrics("n1"), 10), clock, files(machine))
    waiting = asyncio.create_task(meter.after(None))
    await meter.measure()
    assert not waiting.done()
    await meter.measure()
    first = await waiting
    assert await meter.after(None) is first
    again = asyncio.create_task(meter.after(first))
    await meter.measure()
    assert await again is not first
