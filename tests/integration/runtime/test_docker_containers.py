"""What a real engine makes of the fields of a container's spec."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.errors import ContainerNotFound, LimitRefused
from nodeagent.runtime.values import Device, Limits, LogOptions, Mount
from tests.conformance.runtime.rig import Rig, closing, read_all, read_until
from tests.fixtures.docker_machine import DockerMachine

pytestmark = pytest.mark.docker

_ROOT = Path(__file__).resolve().parents[3]
_CAP_SYS_RESOURCE = 24
_MEMORY = 16 * 1024 * 1024


async def _says(rig: Rig, script: str, **spec: Any) -> str:
    container_id = await rig.started(script, **spec)
    await rig.exited(container_id)
    return (await rig.output(container_id)).strip()


def _has_right(number: int) -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))
    return bool(mask >> number & 1)


async def test_the_network_is_empty_but_for_loopback(rig: Rig) -> None:
    assert await _says(rig, "ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up") == "lo\nup"


async def test_bounds_change_while_it_runs(rig: Rig) -> None:
    """Up and down, but not below what is in use."""
    before = Limits(cpu_shares=102, cpu_quota_us=20_000, cpu_period_us=100_000, memory_bytes=4 * _MEMORY)
    script = "dd if=/dev/zero of=/dev/shm/much bs=1M count=24 2>/dev/null; echo ready; sleep 100"
    container_id = await rig.started(script, limits=before)
    await rig.says(container_id, "ready")
    larger = Limits(cpu_shares=204, cpu_quota_us=40_000, cpu_period_us=100_000, memory_bytes=6 * _MEMORY)
    await rig.runtime.update_container(container_id, larger)
    assert await _bounds(rig, container_id) == (40_000, 6 * _MEMORY)
    with pytest.raises(LimitRefused, match=r'container "main" memory limit \(16777216\) below current usage \(\d+\)'):
        await rig.runtime.update_container(container_id, replace(larger, memory_bytes=_MEMORY))
    await rig.runtime.exec_sync(container_id, ["rm", "/dev/shm/much"], 10)
    await rig.runtime.update_container(container_id, replace(before, memory_bytes=_MEMORY))
    assert await _bounds(rig, container_id) == (20_000, _MEMORY)
    with pytest.raises(ContainerNotFound):
        await rig.runtime.update_container("0" * 64, before)


async def _bounds(rig: Rig, container_id: str) -> tuple[int, int]:
    """The CPU quota and the bytes of memory, as the container sees them."""
    old = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory/memory.limit_in_bytes"
    new = "cut -d' ' -f1 /sys/fs/cgroup/cpu.max; cat /sys/fs/cgroup/memory.max"
    script = f"if [ -e /sys/fs/cgroup/memory.max ]; then {new}; else {old}; fi"
    found = (await rig.runtime.exec_sync(container_id, ["sh", "-c", script], 10)).output.split()
    return int(found[0]), int(found[1])


async def test_it_sees_the_processes_of_the_container_that_it_looks_into(rig: Rig) -> None:
    target = await rig.started("exec sleep 4321")
    sandbox = await rig.sandbox()
    spec = rig.spec(sandbox, "ps -o args; hostname", name="debugger", pid_of=target)
    container_id = await rig.runtime.create_container(spec)
    await rig.runtime.start_container(container_id)
    await rig.exited(container_id)
    assert "sleep 4321" in await rig.output(container_id)


async def test_a_restarted_container_keeps_the_network(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    namespaces = []
    for attempt in range(2):
        spec = rig.spec(sandbox, "readlink /proc/self/ns/net /proc/self/ns/ipc", attempt=attempt)
        container_id = await rig.runtime.create_container(spec)
        await rig.runtime.start_container(container_id)
        await rig.exited(container_id)
        namespaces.append(await rig.output(container_id))
    assert namespaces[0] == namespaces[1]


async def test_a_shared_process_namespace(rig: Rig) -> None:
    assert (await _says(rig, "cat /proc/1/comm", share_pid=True)) == "pause"


async def test_sysctls_of_the_sandbox(rig: Rig) -> None:
    sandbox = await rig.sandbox(sysctls={"net.ipv4.ip_unprivileged_port_start": "42"})
    container_id = await rig.runtime.create_container(
        rig.spec(sandbox, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
    )
    await rig.runtime.start_container(container_id)
    await rig.exited(container_id)
    assert await rig.output(container_id) == "42\n"


@pytest.mark.parametrize(
    ("spec", "script", "expected"),
    [
        ({"user": "1000:2000", "supplemental_groups": (3000,)}, "id -u; id -g; id -G", "1000\n2000\n2000 3000"),
        ({"user": "web"}, "id -u", "1000"),
        ({"working_dir": "/tmp"}, "pwd", "/tmp"),
        ({"read_only_root": True}, "touch /file 2>/dev/null || echo refused", "refused"),
        ({"cap_drop": ("ALL",)}, "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
        ({"cap_drop": ("ALL",), "cap_add": ("CHOWN",)}, "grep CapEff /proc/self/status", "CapEff:\t0000000000000001"),
        ({"no_new_privileges": True}, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        ({}, "grep 'Seccomp:' /proc/self/status", "Seccomp:\t0"),
        ({"seccomp": "RuntimeDefault"}, "grep 'Seccomp:' /proc/self/status", "Seccomp:\t2"),
        ({"oom_score_adj": 500}, "cat /proc/self/oom_score_adj", "500"),
    ],
)
async def test_fields(rig: Rig, spec: dict[str, Any], script: str, expected: str) -> None:
    assert await _says(rig, script, **spec) == expected


async def test_privileged(rig: Rig) -> None:
    if not _has_right(_CAP_SYS_RESOURCE):
        pytest.skip("this machine lacks CAP_SYS_RESOURCE, so Docker cannot give all rights away")
    assert await _says(rig, "mount -t tmpfs none /tmp && echo mounted", privileged=True) == "mounted"


async def test_devices(rig: Rig) -> None:
    device = Device(host_path="/dev/null", container_path="/dev/nothing", permissions="rw")
    assert await _says(rig, "echo x > /dev/nothing; ls -la /dev/nothing | cut -c1", devices=(device,)) == "c"


async def test_mounts(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("inside\n")
    mounts = (
        Mount(host_path=str(tmp_path), container_path="/rw"),
        Mount(host_path=str(tmp_path / "file"), container_path="/ro", read_only=True),
    )
    script = "cat /ro; echo new > /rw/made; (echo x > /ro) 2>/dev/null || echo refused"
    assert await _says(rig, script, mounts=mounts) == "inside\nrefused"
    assert (tmp_path / "made").read_text() == "new\n"


async def test_a_container_that_takes_too_much_memory(rig: Rig) -> None:
    container_id = await rig.started("tail -c 1000000000 /dev/zero", limits=Limits(memory_bytes=_MEMORY))
    state = await rig.exited(container_id)
    assert (state.oom_killed, state.exit_code) == (True, 137)


async def test_limits_reach_the_kernel(rig: Rig, docker_machine: DockerMachine) -> None:
    limits = Limits(memory_bytes=_MEMORY, cpu_shares=102, cpu_quota_us=50_000, cpu_period_us=100_000)
    container_id = await rig.started("sleep 100", limits=limits, cgroup_parent="/kubepods/burstable")
    groups = Path("/sys/fs/cgroup")
    if (groups / "cgroup.controllers").exists():
        folder = groups / docker_machine.name / "kubepods/burstable" / container_id
        assert (folder / "memory.max").read_text().strip() == str(_MEMORY)
        assert (folder / "cpu.max").read_text().split() == ["50000", "100000"]
        return
    below = Path(docker_machine.name) / "kubepods/burstable" / container_id
    assert (groups / "memory" / below / "memory.limit_in_bytes").read_text().strip() == str(_MEMORY)
    assert (groups / "cpu" / below / "cpu.shares").read_text().strip() == "102"
    assert (groups / "cpu" / below / "cpu.cfs_quota_us").read_text().strip() == "50000"


async def test_logs_are_rotated(rig: Rig) -> None:
    log = LogOptions(max_size_bytes=10_000, max_files=2)
    script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"
    container_id = await rig.started(script, log=log)
    await rig.exited(container_id)
    lines = (await rig.output(container_id)).splitlines()
    assert lines[-1] == "line 1999"
    assert len(lines) < 1000


async def test_a_terminal_is_told_its_size(rig: Rig) -> None:
    container_id = await rig.started("sleep 100")
    script = "while ! stty size | grep 11; do sleep 0.05; done"
    async with closing(await rig.runtime.exec(container_id, ["sh", "-c", script], tty=True)) as session:
        await session.resize(11, 99)
        assert b"11 99\r\n" in await read_until(session, b"\r\n11 99\r\n"[2:])
        await read_all(session)
        assert await session.exit_code() == 0


async def test_a_command_that_takes_too_long_is_killed(
    runtime: DockerRuntime, rig: Rig, docker_machine: DockerMachine
) -> None:
    """The agent shares the engine's process namespace; this test does not, so it asks from inside the machine."""
    container_id = await rig.started("sleep 100")
    program = f"""
import asyncio
from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.docker_engine import DockerSettings
from nodeagent.runtime.errors import Deadline

async def main():
    runtime = DockerRuntime(DockerSettings(socket="/run/docker.sock"))
    try:
        await runtime.exec_sync("{container_id}", ["sleep", "77777"], 0.3)
    except Deadline:
        print("deadline")
    await runtime.close()

asyncio.run(main())
"""
    command = docker_machine.inside("env", f"--chdir={_ROOT}", sys.executable, "-c", program)
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "deadline\n"
    found = await runtime.exec_sync(container_id, ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], 10)
    assert b"77777" not in found.output
