"""What goes on in containers: their output, commands in them, connections to their ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from mizzen.client.connection import Connection
from mizzen.client.values import (
    Attachment,
    Command,
    EndOfInput,
    Exit,
    Input,
    Output,
    Resize,
    Stderr,
    Stdin,
    Stdout,
)
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb


class Containers(Connection):
    """The verbs on containers."""

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since_s: int | None = None,
        since_time: str = "",
        limit_bytes: int | None = None,
        timestamps: bool = False,
        stream: str = "",
    ) -> AsyncGenerator[bytes, None]:
        """A container's output, all of it or what is younger than `since_s` seconds or `since_time` (RFC 3339).

        `stream` is `Stdout` or `Stderr` for one of them alone, which can't be had with `tail_lines`.
        """
        request = pb.LogsRequest(
            namespace=namespace,
            pod=pod,
            container=container,
            follow=follow,
            previous=previous,
            tail_lines=tail_lines,
            since_seconds=since_s,
            since_time=since_time,
            limit_bytes=limit_bytes,
            timestamps=timestamps,
            stream=stream,
        )
        async with aclosing(self._stream("Logs", request)) as answers:
            async for answer in answers:
                yield answer.data

    async def exec(
        self, command: Command, incoming: AsyncIterator[Input] | None = None
    ) -> AsyncGenerator[Output, None]:
        """Runs a command in a container; the last output is its `Exit`."""

        async def requests() -> AsyncIterator[pb.ExecRequest]:
            start = pb.ExecStart(
                namespace=command.namespace,
                pod=command.pod,
                container=command.container,
                command=command.command,
                stdin=command.stdin,
                tty=command.tty,
            )
            yield pb.ExecRequest(start=start)
            if incoming is not None:
                async for value in incoming:
                    yield _request(pb.ExecRequest, value)

        async with aclosing(self._stream("Exec", requests())) as answers:
            async for answer in answers:
                yield _output(answer)

    async def attach(
        self, to: Attachment, incoming: AsyncIterator[Input] | None = None
    ) -> AsyncGenerator[Output, None]:
        """The output of a container that runs, while it is given input; the last output is its `Exit`."""

        async def requests() -> AsyncIterator[pb.AttachRequest]:
            start = pb.AttachStart(
                namespace=to.namespace, pod=to.pod, container=to.container, stdin=to.stdin, tty=to.tty
            )
            yield pb.AttachRequest(start=start)
            if incoming is not None:
                async for value in incoming:
                    yield _request(pb.AttachRequest, value)

        async with aclosing(self._stream("Attach", requests())) as answers:
            async for answer in answers:
                yield _output(answer)

    async def port_forward(
        self, namespace: str, pod: str, port: int, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """A connection to a port of a pod: what is sent there, and what comes from there."""

        async def requests() -> AsyncIterator[pb.PortForwardRequest]:
            yield pb.PortForwardRequest(start=pb.PortForwardStart(namespace=namespace, pod=pod, port=port))
            async for data in incoming:
                yield pb.PortForwardRequest(data=data)

        async with aclosing(self._stream("PortForward", requests())) as answers:
            async for answer in answers:
                yield answer.data


def _output(answer: pb.ExecResponse) -> Output:
    match answer.WhichOneof("body"):
        case "stdout":
            return Stdout(answer.stdout)
        case "stderr":
            return Stderr(answer.stderr)
    return Exit(answer.exit_code)


def _request(type_: type[Any], value: Input) -> Any:
    match value:
        case Stdin():
            return type_(stdin=value.data)
        case EndOfInput():
            return type_(stdin_end=True)
        case Resize():
            return type_(resize=pb.TerminalSize(width=value.width, height=value.height))
