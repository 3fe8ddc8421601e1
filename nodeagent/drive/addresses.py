"""Which pod has which address: what is attached now, and the choice of the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodeagent.network.ipam import next_address
from nodeagent.network.port import AttachedPod


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pod's place in the network."""

    ip: str
    sandbox_id: str
    """Empty for one that was found when the agent started."""


class Addresses:
    """The addresses of this node's pods."""

    def __init__(self) -> None:
        """Begin with none."""
        self._given: dict[str, str] = {}
        """By uid: chosen, perhaps not attached yet."""
        self._attached: dict[str, Attachment] = {}
        self._last = ""

    def adopt(self, found: Mapping[str, AttachedPod]) -> None:
        """Take over what the kernel has."""
        for uid, pod in found.items():
            self._given[uid] = pod.ip
            self._attached[uid] = Attachment(pod.ip, "")

    def of(self, uid: str) -> str:
        """The address at which a pod can be reached; empty when it is not attached."""
        found = self._attached.get(uid)
        return found.ip if found is not None else ""

    def given(self, uid: str) -> str:
        """The address that a pod has or is about to get; empty when none has been chosen."""
        return self._given.get(uid, "")

    def attachment(self, uid: str) -> Attachment | None:
        """How a pod is attached."""
        return self._attached.get(uid)

    def choose(self, uid: str, pod_cidr: str) -> str:
        """The pod's address, a new one when it has none. Raises AddressesExhausted."""
        if uid not in self._given:
            self._last = next_address(pod_cidr, self._last, set(self._given.values()))
            self._given[uid] = self._last
        return self._given[uid]

    def attached(self, uid: str, ip: str, sandbox_id: str) -> None:
        """The pod is attached with its address."""
        self._given[uid] = ip
        self._attached[uid] = Attachment(ip, sandbox_id)

    def detached(self, uid: str) -> None:
        """The pod is not attached any more; it keeps its address for the next time."""
        self._attached.pop(uid, None)

    def release(self, uid: str) -> None:
        """The pod is gone; its address may be given to another."""
        self._attached.pop(uid, None)
        self._given.pop(uid, None)

    def uids(self) -> list[str]:
        """Every attached pod."""
        return list(self._attached)
