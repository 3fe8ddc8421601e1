"""Keeps the services' table in the kernel equal to the last one given: full load first, then only differences.

A difference is one transaction, so no packet ever meets half a change. If somebody else altered the table, a difference
fails or `verify` notices, and the whole table is loaded again, which is a transaction as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import structlog

from nodeagent.network.conntrack import forget_udp
from nodeagent.network.layers import Layers
from nodeagent.network.nft import Nftables, generation
from nodeagent.network.policy_rules import render_policies
from nodeagent.network.port import NetworkConfig, NetworkError
from nodeagent.network.rules import (
    EMPTY,
    TABLE,
    Ruleset,
    base_script,
    diff,
    remove_script,
    render,
    render_host_ports,
)
from nodeagent.network.services import ServiceTable, gone_udp_backends

_Result = TypeVar("_Result")
_SELF_FILLED_SET = re.compile(r"set stay/.*?\n\t}", re.DOTALL)
_PIECES = re.compile(r"[,\n]\s*")
_log = structlog.get_logger(__name__)


class ServiceProxy:
    """The table `ip mizzen` of one network namespace. Calls are made one after the other by themselves."""

    def __init__(self, config: NetworkConfig, executor: Executor) -> None:
        self._config = config
        self._executor = executor
        self._lock = asyncio.Lock()
        self._nft = Nftables()
        self._table = ServiceTable()
        self._layers = Layers()
        """What is wanted, as rulesets."""
        self._loaded = False
        """The kernel has all of it, unless somebody else has changed that."""
        self._generation = 0
        self._fingerprint: bytes | None = None

    async def prepare(self) -> None:
        """Have a table at all. One that an earlier run left goes on working until the first `sync`."""
        await self._alone(self._prepare)

    async def sync(self, table: ServiceTable) -> None:
        """Make exactly these services work."""
        gone = await self._alone(lambda: self._sync(table))
        await forget_udp(gone)

    async def verify(self) -> bool:
        """Load everything again if the kernel's table is not what was loaded last; True when it had to."""
        return await self._alone(self._verify)

    async def close(self, *, remove: bool) -> None:
        """Stop; the table stays and works unless it is to be removed."""
        await self._alone(lambda: self._close(remove))

    async def _alone(self, work: Callable[[], _Result]) -> _Result:
        async with self._lock:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _prepare(self) -> None:
        try:
            self._nft.run(f"list chain ip {TABLE} dispatch")
        except NetworkError:
            self._nft.run(base_script(self._config))

    def _sync(self, table: ServiceTable) -> tuple[str, ...]:
        before, self._table = self._table, table
        self._load(*self._layers.exchange(self._changed(before, table)))
        return gone_udp_backends(before, table)

    def _changed(self, before: ServiceTable, table: ServiceTable) -> dict[str, Ruleset]:
        """The rulesets of what differs, by whose they are."""
        known = before.services
        new = ((key, rule) for key, rule in table.services.items() if known.get(key) is not rule)
        changed = {key: render(rule, self._config) for key, rule in new}
        changed |= {key: EMPTY for key in known if key not in table.services}
        if before.host_ports != table.host_ports:
            changed[""] = render_host_ports(table.host_ports)
        if before.policies is not table.policies:
            changed["policies"] = render_policies(table.policies)
        return changed

    def _load(self, old: Ruleset, new: Ruleset) -> None:
        if self._loaded:
            script = diff(old, new)
            if not script:
                return
            try:
                self._commit(script)
                return
            except NetworkError as error:
                _log.warning("service_rules_differ", error=str(error))
        self._commit_whole()

    def _commit_whole(self) -> None:
        self._commit(base_script(self._config) + diff(EMPTY, self._layers.whole))

    def _commit(self, script: str) -> None:
        self._loaded, self._fingerprint = False, None
        self._nft.run(script)
        self._loaded = True
        self._generation = generation()

    def _verify(self) -> bool:
        if not self._loaded:
            return False
        now = generation()
        if now == self._generation:
            # Nobody changed anything since our own last change, so what is there now is known to be right.
            if self._fingerprint is None:
                seen = self._current()
                self._fingerprint = seen if generation() == now else None
            return False
        if self._fingerprint is not None and self._current() == self._fingerprint:
            self._generation = now
            return False
        self._commit_whole()
        return True

    def _current(self) -> bytes:
        """A fingerprint of the table, but for what the kernel fills in itself and the order that hashing gives it."""
        try:
            text = self._nft.run(f"list table ip {TABLE}")
        except NetworkError:
            return b""
        pieces = sorted(_PIECES.split(_SELF_FILLED_SET.sub("", text)))
        return hashlib.sha256("\n".join(pieces).encode()).digest()

    def _close(self, remove: bool) -> None:
        if remove:
            self._nft.run(remove_script())
        self._loaded = False
        self._nft.close()
