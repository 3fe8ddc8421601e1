"""How far the nodes' rules have followed the history, and who waits for all of them to have reached a version.

A node that ends a pod asks for the version in which the pod stands behind no service any more: once all rules show it,
nobody sends the pod new connections. Waited for are the nodes that are ready when it is asked; those that come later
begin with newer rules, and the asker itself gives up after a while. Agents tell every control plane how far they are,
so each can answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

ASKED_MAX = 256
"""Versions that one node may ask for at a time; those beyond are not answered."""


class Answer(NamedTuple):
    """A node is to be told that all have reached a version."""

    node: str
    version: int


class Reaching:
    """All nodes, by name."""

    def __init__(self, ready: Callable[[], Iterable[str]]) -> None:
        """`ready` gives the nodes that are ready now."""
        self._ready = ready
        self._versions: dict[str, int] = {}
        self._asked: dict[str, dict[int, set[str]]] = {}
        """By who asks and for what: the nodes that are not there yet."""

    def told(self, node: str, version: int, asked: Sequence[int]) -> list[Answer]:
        """A node says where it is and what it asks for; gives back who is to be told what."""
        self._versions[node] = version
        before = self._asked.pop(node, {})
        wanted = sorted(set(asked))[:ASKED_MAX]
        if wanted:
            missing = [version for version in wanted if version not in before]
            ready = list(self._ready()) if missing else []
            self._asked[node] = {
                version: before[version] if version in before else self._behind(ready, version) for version in wanted
            }
        return self._answers(node, version)

    def left(self, node: str) -> None:
        """A node's agent is not connected any more: it asks for nothing, and where it is will be told again."""
        self._versions.pop(node, None)
        self._asked.pop(node, None)

    def _behind(self, ready: Iterable[str], version: int) -> set[str]:
        return {node for node in ready if self._versions.get(node, 0) < version}

    def _answers(self, node: str, version: int) -> list[Answer]:
        found: list[Answer] = []
        for asker, asked in list(self._asked.items()):
            for wanted, behind in list(asked.items()):
                if wanted <= version:
                    behind.discard(node)
                if not behind:
                    found.append(Answer(asker, wanted))
                    del asked[wanted]
            if not asked:
                del self._asked[asker]
        return found
