"""A connection to a port inside a pod, also to one that only listens on the pod's own loopback.

A socket belongs for ever to the network namespace that its thread was in when it was made; so a thread of its own
goes there for that one moment, and nothing else of this process ever leaves.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


async def open_in_pod(pid: int, port: int) -> socket.socket:
    """A socket connected to `localhost:port` in the network of a process; pid 0 is this one's own. Raises OSError."""
    sock = socket.socket() if pid == 0 else await asyncio.to_thread(_socket_of, pid)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _socket_of(pid: int) -> socket.socket:
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def go() -> None:
        try:
            made.append(_make_there(pid))
        except OSError as error:
            failed.append(error)

    # The thread ends in the other namespace, which hurts nobody: it is never used again.
    thread = threading.Thread(target=go, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _make_there(pid: int) -> socket.socket:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(namespace, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"/proc/{pid}/ns/net")
        return socket.socket()
    finally:
        os.close(namespace)
