"""Logs, exec, attach and port-forward: which container is meant, and who carries the bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aiohttp import web
from msgspec.structs import replace
from multidict import MultiMapping

from controlplane.admission import Operation
from controlplane.server import rest_spdy, rest_websocket
from controlplane.server.containers import container_for_log, container_to_enter
from controlplane.server.rest_call import Call, number, truth
from controlplane.server.rest_log import serve_log
from controlplane.server.rest_objects import Handler
from controlplane.server.streams import ALL, STREAMS, Session, Streams
from controlplane.server.verbs import Verbs
from mizzen.api import times
from mizzen.api.errors import BadRequest, FieldError, Invalid, Named
from mizzen.api.types import core_v1 as core

_LOG_OPTIONS = Named("", "podlogoptions", "PodLogOptions")
PORTS_MAX = 16
"""Most ports of one port-forward."""


class StreamHandlers:
    """Handlers by subresource."""

    def __init__(self, verbs: Verbs, streams: Streams) -> None:
        """Find pods through `verbs` and reach their nodes through `streams`."""
        self._verbs = verbs
        self._streams = streams
        self._table: dict[str, Handler] = {
            "log": self._log,
            "exec": self._exec,
            "attach": self._attach,
            "portforward": self._port_forward,
        }

    def find(self, subresource: str) -> Handler | None:
        """The handler of a subresource, if it is one of these."""
        return self._table.get(subresource)

    async def _log(self, call: Call) -> web.StreamResponse:
        options = log_options(call.query)
        pod = await self._pod(call)
        container = container_for_log(pod, options.container, previous=options.previous)
        if not pod.spec.node_name:
            return web.Response(headers={"Content-Type": "text/plain"})
        session = await self._streams.open_log(pod, _with_container(options, container))
        return await serve_log(call.request, session)

    async def _exec(self, call: Call) -> web.StreamResponse:
        query = call.query
        command = tuple(query.getall("command", ()))
        if not command:
            raise BadRequest("you must specify at least one command for the container")
        ends = _ends(query)
        given = core.PodExecOptions(
            container=query.get("container", ""), command=command,
            stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr, tty=ends.tty,
        )  # fmt: skip

        await self._verbs.admission.consult(call.sent(given, Operation.CONNECT))

        async def open_(pod: core.Pod, container: str) -> Any:
            return await self._streams.open_exec(pod, _with_container(given, container))

        return await self._command(call, given.container, open_, ends)

    async def _attach(self, call: Call) -> web.StreamResponse:
        ends = _ends(call.query)
        given = core.PodAttachOptions(
            container=call.query.get("container", ""),
            stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr, tty=ends.tty,
        )  # fmt: skip

        await self._verbs.admission.consult(call.sent(given, Operation.CONNECT))

        async def open_(pod: core.Pod, container: str) -> Any:
            return await self._streams.open_attach(pod, _with_container(given, container))

        return await self._command(call, given.container, open_, ends)

    async def _command(
        self, call: Call, container: str, open_: Callable[[core.Pod, str], Any], ends: _Ends
    ) -> web.StreamResponse:
        pod = await self._pod(call)
        name = container_to_enter(pod, container)
        if rest_spdy.asks_for_spdy(call.request):
            return await rest_spdy.serve_command(call.request, lambda: open_(pod, name), ends.types())
        return await rest_websocket.serve_command(call.request, lambda: open_(pod, name))

    async def _port_forward(self, call: Call) -> web.StreamResponse:
        pod = await self._pod(call)
        container_to_enter(pod, pod.spec.containers[0].name)
        await self._verbs.admission.consult(call.sent(core.PodPortForwardOptions(), Operation.CONNECT))

        async def open_(port: int) -> Session:
            return await self._streams.open_port(pod, core.PodPortForwardOptions(ports=(port,)))

        if rest_spdy.asks_for_spdy(call.request) or rest_spdy.asks_for_tunnel(call.request):
            return await rest_spdy.serve_ports(call.request, open_)
        return await rest_websocket.serve_ports(call.request, _ports(call.query), open_)

    async def _pod(self, call: Call) -> core.Pod:
        pod: core.Pod = (await self._verbs.reads.get(call.kind, call.place.namespace, call.place.name)).object()
        return pod


def _with_container(options: Any, container: str) -> Any:
    return replace(options, container=container)


class _Ends(NamedTuple):
    """Which ends of a command the client wants."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    def types(self) -> frozenset[str]:
        """The types of the streams that go with them; a terminal has one for its size."""
        wanted = self._asdict() | {"resize": self.tty}
        return frozenset(name for name, is_wanted in wanted.items() if is_wanted and name != "tty")


def _ends(query: MultiMapping[str]) -> _Ends:
    """Which ends the client wants. Raises BadRequest when it wants none."""
    ends = _Ends(*(bool(truth(query, name)) for name in _Ends._fields))
    if not (ends.stdin or ends.stdout or ends.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    if ends.tty and ends.stderr:
        raise BadRequest("tty and stderr cannot both be true")
    return ends


def log_options(query: MultiMapping[str]) -> core.PodLogOptions:
    """How a log is wanted. Raises BadRequest or Invalid."""
    stream = query.get("stream", ALL)
    options = core.PodLogOptions(
        container=query.get("container", ""),
        follow=bool(truth(query, "follow")),
        previous=bool(truth(query, "previous")),
        timestamps=bool(truth(query, "timestamps")),
        since_seconds=number(query, "sinceSeconds"),
        since_time=_time(query),
        tail_lines=number(query, "tailLines"),
        limit_bytes=number(query, "limitBytes"),
        stream=stream,
    )
    wrong = [
        FieldError.invalid(
            field, value, f"must be greater than {least - 1}" if least else "must be greater than or equal to 0"
        )
        for field, value, least in (
            ("tailLines", options.tail_lines, 0),
            ("limitBytes", options.limit_bytes, 1),
            ("sinceSeconds", options.since_seconds, 1),
        )
        if value is not None and value < least
    ]
    if options.since_seconds is not None and options.since_time is not None:
        wrong.append(FieldError.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if stream not in STREAMS:
        wrong.append(FieldError.unsupported("stream", stream, STREAMS))
    if stream != ALL and options.tail_lines is not None:
        wrong.append(FieldError.forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"))
    if wrong:
        raise Invalid(_LOG_OPTIONS, "", wrong)
    return options


def _time(query: MultiMapping[str]) -> str | None:
    text = query.get("sinceTime")
    if not text:
        return None
    try:
        times.parse(text)
    except times.TimeError as error:
        raise BadRequest(f"sinceTime: {error}") from error
    return text


def _ports(query: MultiMapping[str]) -> list[int]:
    """The ports to forward. Raises BadRequest."""
    try:
        ports = [int(port) for text in query.getall("ports", ()) for port in text.split(",")]
    except ValueError as error:
        raise BadRequest(f"ports must be numbers with commas between them: {error}") from error
    if not 0 < len(ports) <= PORTS_MAX or not all(0 < port < 65536 for port in ports):
        raise BadRequest(f"query parameter `ports` must name 1 to {PORTS_MAX} ports between 1 and 65535")
    return ports
