"""nftables through its own library, loaded at run time: one transaction costs a fraction of starting the `nft` tool.

A script given to `run` is applied whole or not at all. `generation` tells cheaply whether anybody, ourselves or
another program, has changed any ruleset of this network namespace since it was last asked. Both block; call them from
a worker thread, one at a time.
"""

from __future__ import annotations

import ctypes
import struct

from nodeagent.network.netlink import Netlink, Request, attributes
from nodeagent.network.port import NetworkError, NetworkUnsupported

_LIBRARY = "libnftables.so.1"
_NETLINK_NETFILTER = 12
_NFNL_SUBSYS_NFTABLES, _NFT_MSG_GETGEN, _NFTA_GEN_ID = 10, 16, 1


class Nftables:
    """A context of the library, bound to the network namespace it was made in."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise NetworkUnsupported(f"{_LIBRARY} cannot be loaded; install the package nftables ({error})") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for function in ("nft_ctx_buffer_error", "nft_ctx_buffer_output", "nft_ctx_free"):
            getattr(library, function).argtypes = [ctypes.c_void_p]
        for function in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
            getattr(library, function).argtypes = [ctypes.c_void_p]
            getattr(library, function).restype = ctypes.c_char_p
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        context: int | None = library.nft_ctx_new(0)
        if context is None or library.nft_ctx_buffer_error(context):
            raise NetworkError("nftables cannot be opened; the agent must run as root")
        self._context = context
        library.nft_ctx_buffer_output(self._context)

    def run(self, script: str) -> str:
        """Apply a script in one transaction and return what it printed; NetworkError says which line failed."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
        printed: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        if failed:
            error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
            raise NetworkError(f"nftables refused the rules: {error.decode(errors='replace').strip()}")
        return printed.decode(errors="replace")

    def close(self) -> None:
        """Give the context back; the object is of no use afterwards."""
        self._library.nft_ctx_free(self._context)


def generation() -> int:
    """The number of the namespace's rulesets, which every committed transaction raises."""
    with Netlink(protocol=_NETLINK_NETFILTER) as netlink:
        kind = _NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_GETGEN
        reply = netlink.get(Request("ask for the ruleset's generation", kind, 0, bytes(4)))
    return int(struct.unpack("!I", attributes(reply.body[4:])[_NFTA_GEN_ID])[0])
