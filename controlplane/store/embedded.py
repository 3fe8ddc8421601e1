"""An etcd of our own: Debian's `etcd` as a supervised child, for a control plane on one machine.

It listens on sockets inside its data folder, which only its owner may enter, and on no port: nobody else on the machine
can read Secrets from it or write to it. It dies with its parent, is started again with growing pauses when it ends by
itself, and its output goes to a file beside the data. What it is not: a cluster. Several control planes share an etcd
cluster that is run on its own.

An operator looks into it with ``etcdctl --endpoints unix://<folder>/client:1 get --prefix /mizzen/``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import structlog
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.etcd_client import EtcdClient
from controlplane.store.keys import TICK
from controlplane.store.values import Refused, Unavailable

START_S = 30.0
"""How long etcd may take until it answers, in seconds."""

_STOP_S = 10.0
_PAUSE_S = 0.2
_PAUSE_MAX_S = 10.0
_STEADY_S = 30.0  # who ran that long is started again without a pause
_QUOTA_BYTES = 4 << 30
_LOG_BYTES = 10 << 20
_SOCKET_PATH_MAX = 107
_CLIENT = "client:1"  # etcd demands the form host:port and makes a socket of that name
_PEER = "peer:1"

_log = structlog.get_logger(__name__)


class EmbeddedEtcd:
    """A supervised etcd over a data folder; an async context that holds it running.

    Raises `Refused` with what to do when the binary is missing, the folder is in use or etcd refuses to start, and
    `Unavailable` when it does not answer in time.
    """

    def __init__(self, folder: Path, *, binary: str = "etcd") -> None:
        """Keep everything under `folder`, which is made if need be; find `binary` on the path."""
        self._folder = folder.absolute()
        self._binary = binary
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """What to give to `EtcdStore.open`."""
        return (f"unix:{self._folder / _CLIENT}",)

    @property
    def pid(self) -> int:
        """The process that runs now, 0 while there is none."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    async def __aenter__(self) -> EmbeddedEtcd:
        """Start etcd and wait until it answers."""
        if shutil.which(self._binary) is None:
            raise Refused(
                f"no {self._binary!r} on this machine: apt-get install etcd-server, or name a cluster (--etcd)"
            )
        try:
            self._prepare()
            await self._answering(self._spawn())
        except BaseException:
            await self._stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded etcd")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop etcd."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        await self._stop()

    def _prepare(self) -> None:
        if len(str(self._folder / _CLIENT)) > _SOCKET_PATH_MAX:
            raise Refused(f"the path {self._folder} is too long for a socket in it; choose a shorter data folder")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._lock = (self._folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"another server uses the data folder {self._folder}; stop it or choose another one"
            ) from error
        except OSError as error:
            raise Refused(f"cannot use the data folder {self._folder}: {error}") from error

    def _spawn(self) -> subprocess.Popen[bytes]:
        log = self._folder / "etcd.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.rename(log.with_suffix(".log.1"))
        for name in (_CLIENT, _PEER):  # a killed etcd leaves them, and the next one would not replace them
            (self._folder / name).unlink(missing_ok=True)
        with log.open("ab") as output:
            # Not asyncio's way of starting processes: uvloop forks, which gRPC's threads do not like.
            self._process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", "--", self._binary, *_arguments()),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: value for name, value in os.environ.items() if not name.startswith("ETCD_")},
                start_new_session=True,
            )
        _log.info("etcd.started", pid=self._process.pid, folder=str(self._folder))
        return self._process

    async def _answering(self, process: subprocess.Popen[bytes]) -> None:
        """Return when etcd answers; raise when it ends before or takes too long."""
        client = EtcdClient(self.endpoints)
        ended = asyncio.ensure_future(_end_of(process))
        answer = asyncio.ensure_future(client.range(pb.RangeRequest(key=TICK.encode()), START_S))
        try:
            await asyncio.wait({ended, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Refused(f"etcd ended with code {ended.result()} while starting; {self._last_words()}")
            answer.result()
        except Unavailable as error:
            raise Unavailable(f"etcd did not answer within {START_S} s; {self._last_words()}") from error
        finally:
            for future in (ended, answer):
                future.cancel()
            await asyncio.gather(ended, answer, return_exceptions=True)
            await client.close()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _PAUSE_S
        process = self._process
        while True:
            begun = loop.time()
            if process is not None:
                code = await _end_of(process)
                _log.error("etcd.ended", code=code, last_words=self._last_words())
            pause_s = _PAUSE_S if loop.time() - begun > _STEADY_S else min(2 * pause_s, _PAUSE_MAX_S)
            await asyncio.sleep(pause_s)
            try:
                process = self._spawn()
            except OSError as error:
                process = None
                _log.error("etcd.cannot_start", reason=str(error))

    async def _stop(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await _end_of(process)
            except TimeoutError:
                process.kill()
                await _end_of(process)
        if self._lock is not None:
            self._lock.close()

    def _last_words(self) -> str:
        log = self._folder / "etcd.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return f"its log {log} ends: {lines[-1] if lines else '(empty)'}"


def _arguments() -> tuple[str, ...]:
    return (
        *("--name", "mizzen", "--data-dir", "data"),
        *("--listen-client-urls", f"unix://{_CLIENT}", "--advertise-client-urls", f"unix://{_CLIENT}"),
        *("--listen-peer-urls", f"unix://{_PEER}", "--initial-advertise-peer-urls", f"unix://{_PEER}"),
        *("--initial-cluster", f"mizzen=unix://{_PEER}"),
        *("--quota-backend-bytes", str(_QUOTA_BYTES)),
        # An entry holds a whole group of commits; etcd keeps this many and 5,000 more in memory.
        *("--snapshot-count", "2000"),
        *("--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"),
    )


async def _end_of(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process has ended and return its exit code."""
    if process.poll() is None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    return process.wait()
