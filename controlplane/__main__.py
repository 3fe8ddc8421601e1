"""`mizzen server`: runs a control plane in the foreground until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import structlog
import uvloop

from controlplane.app import serve
from controlplane.settings import ServerSettings, parse
from controlplane.store.values import StoreError
from mizzen.api.errors import ApiError
from mizzen.base.settings import SettingsError
from mizzen.base.telemetry import set_up_logs, set_up_metrics

_GARBAGE_FROM = 10_000
"""New objects after which Python looks for cycles among them. Requests leave hardly any, and at 700, Python's own
number, looking for them takes a tenth of the time of a short request."""
_MENDABLE = (StoreError, OSError, ApiError)
"""What an operator can do something about; everything else is a defect and shows where it happened."""
_LOG = structlog.get_logger(__name__)


async def _run(settings: ServerSettings) -> None:
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, main.cancel)
    try:
        await serve(settings, partial(_tell, settings))
    except asyncio.CancelledError:
        _LOG.info("stopped")


def _tell(settings: ServerSettings) -> None:
    """What an operator needs now; not the token itself, because this ends up in logs."""
    address = f"{settings.advertise_address}:{settings.https_port}"
    sys.stdout.write(
        f"""
The control plane serves the Kubernetes API at https://{address}
and gRPC at {settings.advertise_address}:{settings.grpc_port}.

Use it:      export KUBECONFIG={settings.kubeconfig}
             kubectl get nodes
Add a node:  mizzen agent --server {address} --token TOKEN     (the token is in {settings.token_file})

"""
    )
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_up_logs(settings.log_level, "json" if settings.log_format == "json" else "text")
    set_up_metrics()
    gc.set_threshold(_GARBAGE_FROM)
    try:
        uvloop.run(_run(settings))
    except _MENDABLE as error:
        sys.stderr.write(f"mizzen server: {error}\n")
        return 1
    except BaseExceptionGroup as group:
        mendable, rest = group.split(_MENDABLE)
        if rest is not None or mendable is None:
            raise
        for cause in _leaves(mendable):
            sys.stderr.write(f"mizzen server: {cause}\n")
        return 1
    return 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
