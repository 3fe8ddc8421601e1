"""A lab as a whole: make the machines, find them again from another process, take everything away.

`Lab(folder).up(nodes=3)` is the fixture's way, `python -m deploy.lab` the command's; both leave the same record in
the folder. Nothing of a lab lies outside its folder except what carries its id in the name: network namespaces, one
veth and one route on the box, and a control group.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from deploy.cgroups import Cgroup
from deploy.lab.machine import DOCKERD, Machine, dockerd_command
from deploy.lab.state import LabError, LabState, MachineState, ServiceState, StateFile
from deploy.lab.switch import Switch

SERVER = "server"
TOOLS = ("ip", "nsenter", "unshare", "tini", "dockerd", "docker", "mount", "sysctl")
BOOTS_AT_ONCE = 4


class Lab:
    """The lab kept in `folder`; a context manager that takes the lab down at its end."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self._file = StateFile(self.folder)
        self._state = self._file.load()
        self._machines: dict[str, Machine] = {}
        self._saving = threading.Lock()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def exists(self) -> bool:
        """Whether the folder holds a lab, running or half made."""
        return self._state is not None

    def up(self, nodes: int = 3, far: Iterable[int] = (), disk_mb: int = 0, dockerd: Sequence[str] = ()) -> Lab:
        """Make and boot a control-plane machine and `nodes` machines with Docker.

        Machines whose number is in `far` stand behind a router. `disk_mb` gives each machine a file system of that
        size, so that it can be filled; `dockerd` are extra flags for every Engine.
        """
        require_root_and_tools()
        if self._state is not None:
            raise LabError(f"there is a lab in {self.folder} already; `mizzen lab down` takes it away")
        state = self._state = LabState(id=secrets.token_hex(2), dockerd_flags=list(dockerd))
        self._file.save(state)
        switch = Switch(state)
        switch.choose_block(state)
        for name, number in [(SERVER, 0), *((node_name(i), i) for i in range(1, nodes + 1))]:
            state.machines[name] = _new_machine(state, name, number, far=number in set(far), disk_mb=disk_mb)
        self._file.save(state)
        self._write_hosts(state)
        self._in_parallel(Machine.boot, self.machines)
        return self

    def down(self) -> None:
        """Kill every process of the lab and remove all it made; safe to repeat and after a start that failed."""
        if self._state is None:
            return
        group = Cgroup(f"mizzen-lab-{self._state.id}")
        group.kill()
        Switch(self._state).remove()
        group.remove()
        for name in [*self._state.machines, "images"]:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("hosts", "kubeconfig", "lab.json"):
            (self.folder / name).unlink(missing_ok=True)
        self._state = None
        self._machines.clear()

    def machine(self, which: int | str) -> Machine:
        """Machine number `which` (from 1), or by name (`server`, `node-1`)."""
        name = node_name(which) if isinstance(which, int) else which
        state = self._require()
        if name not in state.machines:
            raise LabError(f"the lab has no machine {name!r}, only {', '.join(state.machines)}")
        if name not in self._machines:
            self._machines[name] = Machine(state, state.machines[name], self.folder / name, self._save)
        return self._machines[name]

    @property
    def server(self) -> Machine:
        """The control plane's machine."""
        return self.machine(SERVER)

    @property
    def nodes(self) -> list[Machine]:
        """The machines that run pods, by number."""
        return [machine for machine in self.machines if machine.name != SERVER]

    @property
    def machines(self) -> list[Machine]:
        """All machines, the control plane's first."""
        return [self.machine(name) for name in self._require().machines]

    @property
    def outside(self) -> str:
        """An address beyond the lab's router that machines and pods can reach: the box itself."""
        return f"{self._require().subnet(2)}.1"

    def cut(self, which: int | str) -> None:
        """Pull the machine's network cable."""
        self.machine(which).cut()

    def heal(self, which: int | str) -> None:
        """Plug the machine's network cable in."""
        self.machine(which).heal()

    def power_off(self, which: int | str) -> None:
        """Pull the machine's plug."""
        self.machine(which).power_off()

    def boot(self, which: int | str) -> None:
        """Switch the machine on; its services start with it."""
        self.machine(which).boot()

    def freeze(self, which: int | str) -> None:
        """Stop all of the machine's processes where they stand."""
        self.machine(which).freeze()

    def thaw(self, which: int | str) -> None:
        """Let the machine's processes go on."""
        self.machine(which).thaw()

    def fill(self, which: int | str, leave_mb: int = 0) -> None:
        """Fill the machine's disk."""
        self.machine(which).fill(leave_mb)

    def unfill(self, which: int | str) -> None:
        """Free the machine's disk."""
        self.machine(which).unfill()

    def load_image(self, archive: Path) -> None:
        """Put an image archive on every machine that runs pods."""
        self._in_parallel(lambda machine: machine.load_image(archive), self.nodes)

    def _require(self) -> LabState:
        if self._state is None:
            raise LabError(f"there is no lab in {self.folder}; `mizzen lab up` makes one")
        return self._state

    def _save(self) -> None:
        with self._saving:  # machines boot in parallel
            self._file.save(self._require())

    def _write_hosts(self, state: LabState) -> None:
        lines = ["127.0.0.1 localhost", *(f"{machine.address} {name}" for name, machine in state.machines.items())]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")

    @staticmethod
    def _in_parallel(action: Callable[[Machine], None], machines: Sequence[Machine]) -> None:
        with ThreadPoolExecutor(BOOTS_AT_ONCE) as pool:
            for done in [pool.submit(action, machine) for machine in machines]:
                done.result()


def node_name(number: int) -> str:
    """The name of machine `number`, which is also its host name."""
    return f"node-{number}"


def require_root_and_tools() -> None:
    """Raise LabError, naming everything that is missing, unless this box can run a lab."""
    if os.geteuid() != 0:
        raise LabError("a lab needs root (namespaces, mounts and Docker Engines); run it with sudo")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}; `make up` and `make test` install what is missing")


def _new_machine(state: LabState, name: str, number: int, far: bool, disk_mb: int) -> MachineState:
    subnet = state.subnet(1 if far else 0)
    services = {} if name == SERVER else {DOCKERD: ServiceState(dockerd_command(state.dockerd_flags))}
    return MachineState(
        name=name,
        address=f"{subnet}.{10 + number}",
        gateway=f"{subnet}.254",
        mac=f"02:4d:5a:{state.id[:2]}:{state.id[2:]}:{number:02x}",
        bridge="br1" if far else "br0",
        disk_mb=disk_mb,
        services=services,
    )
