"""A socket to the kernel's netlink, in this network namespace or another one, and the framing of its messages.

It is small on purpose instead of a library: attaching a pod is on the path of every pod start, and packing the few
messages it needs costs a tenth of building them generically; entering a namespace by a thread costs microseconds where
a helper process costs milliseconds; and nothing is loaded for the hundreds of messages that are never sent.

All calls block for the time the kernel needs (deleting a veth waits for an RCU grace period), so they are made from a
worker thread. What the messages mean is in `rtnl`.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from nodeagent.network.port import NetworkError

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x100, 0x200, 0x400, 0x300

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_ACK_TLVS, _NLM_F_CAPPED = 0x200, 0x100
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_CLONE_NEWNET = 0x40000000
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
_TIMEOUT_S = 10.0
_RECEIVE_BYTES = 1 << 16
_BATCH = 64
_DUMP_TRIES = 5


class Refused(NetworkError):
    """The kernel refused one message; `errno` says why."""

    def __init__(self, what: str, number: int, detail: str) -> None:
        super().__init__(f"cannot {what}: {os.strerror(number)}{f' ({detail})' if detail else ''}")
        self.errno = number


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel."""

    what: str
    """Its meaning in words, for errors: `add the route 10.0.0.0/8`."""
    kind: int
    flags: int
    body: bytes
    tolerated: tuple[int, ...] = ()
    """Error numbers that mean the wish is fulfilled already."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One message from the kernel."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def text_attribute(kind: int, value: str) -> bytes:
    """An attribute that holds a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def int_attribute(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in the machine's order."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in a body, by kind."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


class Netlink:
    """One open socket; a context manager, not shared between threads."""

    def __init__(self, netns: int | None = None, protocol: int = socket.NETLINK_ROUTE) -> None:
        """Open the socket here, or in the namespace of this open file descriptor."""
        self._socket = _socket_here(protocol) if netns is None else _socket_in(netns, protocol)
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def do(self, *requests: Request) -> None:
        """Have all of them done, in order; the first one refused is raised after the others were tried."""
        refused: list[Refused] = []
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            first = self._send(batch, NLM_F_REQUEST | NLM_F_ACK)
            answers = self._acknowledged(first, len(batch))
            refused += (answer for answer in map(_refusal, batch, answers) if answer is not None)
        if refused:
            raise refused[0]

    def get(self, request: Request) -> Reply:
        """The one message that answers."""
        first = self._send((request,), NLM_F_REQUEST)
        for sequence, reply in self._received():
            if sequence != first:
                continue
            refusal = _refusal(request, reply) if reply.kind == _NLMSG_ERROR else None
            if refusal is not None:
                raise refusal
            return reply
        raise NetworkError(f"cannot {request.what}: the kernel did not answer")

    def dump(self, request: Request) -> list[Reply]:
        """All messages that answer; asked again when the kernel's tables changed meanwhile."""
        for _ in range(_DUMP_TRIES):
            first = self._send((request,), NLM_F_REQUEST | NLM_F_DUMP)
            replies, torn = self._dumped(request, first)
            if not torn:
                return replies
        raise NetworkError(f"cannot {request.what}: the kernel's tables change faster than they can be read")

    def _dumped(self, request: Request, first: int) -> tuple[list[Reply], bool]:
        replies: list[Reply] = []
        torn = False
        for sequence, reply in self._received():
            if sequence != first:
                continue
            torn = torn or bool(reply.flags & NLM_F_DUMP_INTR)
            if reply.kind == _NLMSG_DONE:
                break
            refusal = _refusal(request, reply) if reply.kind == _NLMSG_ERROR else None
            if refusal is not None:
                raise refusal
            replies.append(reply)
        return replies, torn

    def _send(self, requests: Sequence[Request], flags: int) -> int:
        first = self._sequence + 1
        packed = bytearray()
        for request in requests:
            self._sequence += 1
            length = _HEADER.size + len(request.body)
            packed += _HEADER.pack(length, request.kind, request.flags | flags, self._sequence, 0)
            packed += request.body + b"\0" * (-length % 4)
        try:
            self._socket.send(packed)
        except OSError as error:
            raise NetworkError(f"cannot {requests[0].what}: {error.strerror}") from error
        return first

    def _acknowledged(self, first: int, count: int) -> list[Reply]:
        answers: dict[int, Reply] = {}
        for sequence, reply in self._received():
            if reply.kind == _NLMSG_ERROR and first <= sequence < first + count:
                answers[sequence] = reply
                if len(answers) == count:
                    break
        return [answers[first + number] for number in range(count)]

    def _received(self) -> Iterator[tuple[int, Reply]]:
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError as error:
                raise NetworkError(f"the kernel's netlink does not answer: {error}") from error
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                yield sequence, Reply(kind, flags, data[offset + _HEADER.size : offset + length])
                offset += length + 3 & ~3


def _refusal(request: Request, answer: Reply) -> Refused | None:
    number = -struct.unpack_from("=i", answer.body)[0]
    if number == 0 or number in request.tolerated:
        return None
    detail = b""
    if answer.flags & _NLM_F_ACK_TLVS and answer.flags & _NLM_F_CAPPED:
        detail = attributes(answer.body[4 + _HEADER.size :]).get(_NLMSGERR_ATTR_MSG, b"")
    return Refused(request.what, number, detail.rstrip(b"\0").decode(errors="replace"))


def _socket_here(protocol: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
    return opened


def _socket_in(netns: int, protocol: int) -> socket.socket:
    """Open a socket in another namespace: it stays there. The thread that went along ends, so none is left behind."""
    results: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).setns(netns, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            results.append(_socket_here(protocol))
        except OSError as error:
            results.append(error)

    visitor = threading.Thread(target=enter, name="netns-visit")
    visitor.start()
    visitor.join()
    opened = results[0]
    if isinstance(opened, socket.socket):
        return opened
    raise NetworkError(f"cannot enter a pod's network namespace; the agent must run as root: {opened}") from opened
