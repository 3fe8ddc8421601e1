"""One machine of the lab: power, cable, disk, and the programs that run on it.

A machine is a set of namespaces (network, mount, pid, host name, IPC, control group) around a PID 1. Its disk, its
network address and the state of its cable outlive a power-off; everything else goes, as on metal.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy import docker_engine
from deploy.cgroups import Cgroup, unified
from deploy.lab.state import LabError, LabState, MachineState, ServiceState
from deploy.lab.switch import Switch
from deploy.processes import Process, child_of, identify, spawn
from deploy.shell import TimedOut, sh, tail, wait_for

INIT = Path(__file__).with_name("init.sh")
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C")
BOOT_S = 60
"""How long PID 1 may take on a box with much else to do; it is a matter of a tenth of a second."""
DOCKERD = "dockerd"
DOCKERD_STARTS = 3
"""dockerd now and then gives up on its own containerd on a busy box; a service manager would start it again."""

FILL_STEPS = (64 * 1024 * 1024, 1024 * 1024, 4096)
"""A file system takes the last bytes only in small pieces."""


class Machine:
    """A handle on one machine of a lab; made by `Lab`, which owns the record that `save` writes."""

    def __init__(self, lab: LabState, state: MachineState, folder: Path, save: Callable[[], None]) -> None:
        self._state = state
        self._switch = Switch(lab)
        self._save = save
        self.folder = folder
        self.name = state.name
        self.address = state.address
        self.netns = lab.netns(state.name)
        self._cgroup = Cgroup(f"mizzen-lab-{lab.id}/{state.name}")

    # Power

    @property
    def running(self) -> bool:
        """Whether the power is on."""
        return self._state.init is not None and self._state.init.alive()

    def boot(self) -> None:
        """Switch the power on and start the machine's services, Docker first; returns when Docker answers."""
        self.switch_on()
        for name in self._state.services:
            self.start(name)
            if name == DOCKERD:
                self.wait_for_docker()

    def switch_on(self) -> None:
        """Start PID 1 alone."""
        if self.running:
            return
        disk = self.folder / "disk"
        disk.mkdir(parents=True, exist_ok=True)
        image = self._disk_image()
        self._cgroup.create()
        self._switch.unplug(self._state)  # what a PID 1 that died by itself left
        self._switch.plug_in(self._state)
        inside, ours = os.pipe()
        try:
            spawn(
                [
                    *self._cgroup.joining(),
                    "nsenter", f"--net=/run/netns/{self.netns}",
                    "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL",
                    "--uts", "--ipc", "--cgroup",
                    "sh", INIT, self.name, disk, self.folder.parent / "hosts", *image,
                ],
                log=self.folder / "init.log",
                third=ours,
            )  # fmt: skip
            os.close(ours)
            ready, _, _ = select.select([inside], [], [], BOOT_S)
            said = os.read(inside, 32) if ready else b""
        finally:
            os.close(inside)
        if not said:
            raise LabError(f"{self.name} did not come up; its log ends with:\n{tail(self.folder / 'init.log')}")
        self._state.init = identify(int(said))
        self._save()
        # Until then PID 1 is the script, which a picture of the machine's processes should not show.
        wait_for(f"{self.name} to have come up", lambda: _is_up(int(said)), BOOT_S)

    def power_off(self) -> None:
        """Pull the plug: every process of the machine is killed at once, nothing is flushed or said good-bye to."""
        self._cgroup.kill()
        self._cgroup.remove()  # the kernel that made them is gone
        if self._state.init is not None:
            self._state.init.send(signal.SIGKILL)
        self._switch.unplug(self._state)
        self._state.init = None
        for service in self._state.services.values():
            service.process = None
        self._save()

    def cut(self) -> None:
        """Pull the network cable at the switch."""
        self._set_cut(True)

    def heal(self) -> None:
        """Plug the network cable in again."""
        self._set_cut(False)

    def freeze(self) -> None:
        """Stop all processes where they stand, containers too, as a hung hypervisor would."""
        self._cgroup.freeze(on=True)

    def thaw(self) -> None:
        """Let frozen processes go on."""
        self._cgroup.freeze(on=False)

    # Disk

    def fill(self, leave_mb: int = 0) -> None:
        """Use up the machine's disk but for `leave_mb`; needs a lab with `disk_mb`, so that only this disk fills."""
        if not self._state.disk_mb:
            raise LabError(f"{self.name} shares the box's disk; make the lab with disk_mb= (--disk-mb) to fill it")
        disk = self.path("/run/disk")
        with (disk / "filler").open("ab") as filler:
            for step in FILL_STEPS:
                while _free_bytes(disk) - step >= leave_mb * 1024 * 1024 and _grow(filler.fileno(), step):
                    pass

    def unfill(self) -> None:
        """Give the disk space back."""
        self.path("/run/disk/filler").unlink(missing_ok=True)

    def path(self, inside: str) -> Path:
        """A path of the running machine as the box reaches it."""
        return Path(f"/proc/{self._init().pid}/root{inside}")

    # Programs

    def run(self, *argv: str | Path, timeout_s: float = 60, check: bool = True, stdin: str | bytes = b"") -> str:
        """Run a program on the machine to its end and return its standard output; raises CommandFailed."""
        return sh(*self.entering(), *argv, timeout_s=timeout_s, check=check, stdin=stdin).stdout

    def popen(self, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start a program that stays, output to `log` (a path of the box); returns it as the box sees it."""
        joining = self._cgroup.joining("init" if unified() else "")
        entry = spawn([*joining, *self.entering(), *argv], log=log, env=env)
        process = child_of(entry)
        if process is None:
            raise LabError(f"{argv[0]} on {self.name} ended at once; its log ends with:\n{tail(log)}")
        return process

    def entering(self) -> tuple[str, ...]:
        """The command prefix that runs what follows on the machine."""
        return ("nsenter", "-t", str(self._init().pid), *NAMESPACES, "--")

    # Services: programs that boot with the machine

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services, in boot order."""
        return tuple(self._state.services)

    def install(self, name: str, argv: Sequence[str | Path]) -> None:
        """Register a service and start it; it starts again at every boot, in the order of installation."""
        self._state.services[name] = ServiceState([str(word) for word in argv])
        self._save()
        self.start(name)

    def remove(self, name: str, grace_s: float = 20) -> None:
        """Stop a service and forget it: it starts no more at the next boot."""
        self.stop(name, grace_s)
        del self._state.services[name]
        self._save()

    def start(self, name: str) -> None:
        """Start a service that is not running; nothing restarts one that ends by itself."""
        service = self._service(name)
        if service.process is None or not service.process.alive():
            if name == DOCKERD:  # a killed Engine leaves its number behind, which may be another process by now
                self.path("/run/docker.pid").unlink(missing_ok=True)
            service.process = self.popen(service.argv, self.log(name))
            self._save()

    def stop(self, name: str, grace_s: float = 20) -> None:
        """Ask a service to end and wait until it has."""
        if (process := self._service(name).process) is not None:
            process.stop(grace_s)

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a service; with SIGKILL it is gone on return."""
        process = self._service(name).process
        if process is None:
            return
        process.send(sig)
        if sig == signal.SIGKILL:
            wait_for(f"{name} on {self.name} to be gone", lambda: not process.alive(), 10)

    def pid(self, name: str) -> int | None:
        """The service's pid as the box sees it, None while it does not run."""
        process = self._service(name).process
        return process.pid if process is not None and process.alive() else None

    def log(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.folder / f"{name}.log"

    # Docker

    @property
    def docker_url(self) -> str:
        """The address of the machine's Docker Engine for clients on the box."""
        return f"unix://{self.path('/run/docker.sock')}"

    def docker(self, *argv: str | Path, timeout_s: float = 60, check: bool = True) -> str:
        """Run the `docker` command against the machine's Engine; returns its standard output."""
        return sh("docker", "-H", self.docker_url, *argv, timeout_s=timeout_s, check=check).stdout

    def load_image(self, archive: Path) -> None:
        """Put an image archive (`docker save` format) on the machine."""
        self.docker("load", "-q", "-i", archive, timeout_s=120)

    def wait_for_docker(self, timeout_s: float = 60) -> None:
        """Return when the Engine answers; starts it anew if it ended on the way up."""
        starts = 1

        def settled() -> bool:
            nonlocal starts
            if self.pid(DOCKERD) is None:
                if starts == DOCKERD_STARTS:
                    return True
                starts += 1
                self.start(DOCKERD)
            return docker_engine.answers(self.path("/run/docker.sock"))

        try:
            wait_for("Docker Engine", settled, timeout_s)
        except TimedOut as error:
            raise LabError(f"Docker on {self.name} does not answer:\n{tail(self.log(DOCKERD))}") from error
        if self.pid(DOCKERD) is None:
            raise LabError(f"Docker on {self.name} ended {starts} times:\n{tail(self.log(DOCKERD))}")

    def _set_cut(self, cut: bool) -> None:
        self._state.cut = cut
        self._save()
        if self.running:
            self._switch.set_link(self._state)

    def _init(self) -> Process:
        if self._state.init is None or not self._state.init.alive():
            raise LabError(f"{self.name} is switched off; `boot` it first")
        return self._state.init

    def _service(self, name: str) -> ServiceState:
        if name not in self._state.services:
            raise LabError(f"{self.name} has no service {name!r}, only {', '.join(self._state.services) or 'none'}")
        return self._state.services[name]

    def _disk_image(self) -> list[Path]:
        """The machine's own file system when it has one; a sparse file, so it costs what is in it."""
        if not self._state.disk_mb:
            return []
        image = self.folder / "disk.img"
        if not image.exists():
            with image.open("wb") as file:
                file.truncate(self._state.disk_mb * 1024 * 1024)
            sh("mkfs.ext4", "-q", "-m", "0", image)
        return [image]


def dockerd_command(flags: Sequence[str]) -> list[str]:
    """Docker Engine as on a fresh host that keeps its containers through a restart of the daemon."""
    return [DOCKERD, "--storage-driver=overlay2", "--live-restore", *flags]


def _free_bytes(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def _grow(file: int, step: int) -> bool:
    """Add room to a file; False when the file system has none left."""
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, step)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False
        raise
    return True


def _is_up(pid: int) -> bool:
    """Whether a machine's PID 1 is tini, with its one child in place."""
    comm = Path(f"/proc/{pid}/comm")
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return comm.read_text() == "tini\n" and [
            Path(f"/proc/{child}/comm").read_text() for child in children.read_text().split()
        ] == ["sleep\n"]
    except FileNotFoundError:
        return False
