"""The rulesets of many services as one, kept up to date piece by piece: a change costs what it changes. Pure.

Chains and sets are their service's alone. An element may be wanted by several, such as a node port that two claim, or
a pod behind two services: the first of them by name has it, and when that one goes the next.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodeagent.network.rules import EMPTY, Ruleset


class Layers:
    """Rulesets by the name of whose they are, and all of them together."""

    def __init__(self) -> None:
        """Nothing is there."""
        self._pieces: dict[str, Ruleset] = {}
        self._chains: dict[str, tuple[str, ...]] = {}
        self._sets: dict[str, str] = {}
        self._elements: dict[tuple[str, str], str] = {}
        self._wanted: dict[tuple[str, str], dict[str, str]] = {}
        """Who wants an element, and with which verdict."""

    @property
    def whole(self) -> Ruleset:
        """All together; it changes with the next exchange."""
        return Ruleset(self._chains, self._sets, self._elements)

    def exchange(self, pieces: Mapping[str, Ruleset]) -> tuple[Ruleset, Ruleset]:
        """Put these in place of what their names had, the empty one for nothing any more.

        Gives back of all that they touch what was there, and what is there now.
        """
        names = sorted(pieces, reverse=True)
        old = {name: self._pieces.get(name, EMPTY) for name in names}
        touched = [*old.values(), *(pieces[name] for name in names)]
        chains = dict.fromkeys(chain for piece in touched for chain in piece.chains)
        sets = dict.fromkeys(one for piece in touched for one in piece.sets)
        elements = dict.fromkeys(key for piece in touched for key in piece.elements)
        before = self._part(chains, sets, elements)
        for name in names:
            self._put(name, old[name], pieces[name])
        for key in elements:
            if wanted := self._wanted.get(key):
                self._elements[key] = wanted[min(wanted)]
            else:
                self._elements.pop(key, None)
        return before, self._part(chains, sets, elements)

    def _put(self, name: str, old: Ruleset, new: Ruleset) -> None:
        for chain in old.chains:
            if chain not in new.chains:
                del self._chains[chain]
        for one in old.sets:
            if one not in new.sets:
                del self._sets[one]
        for key in old.elements:
            wanted = self._wanted[key]
            del wanted[name]
            if not wanted:
                del self._wanted[key]
        self._chains.update(new.chains)
        self._sets.update(new.sets)
        for key, verdict in new.elements.items():
            self._wanted.setdefault(key, {})[name] = verdict
        if new == EMPTY:
            self._pieces.pop(name, None)
        else:
            self._pieces[name] = new

    def _part(
        self, chains: Mapping[str, None], sets: Mapping[str, None], elements: Mapping[tuple[str, str], None]
    ) -> Ruleset:
        return Ruleset(
            {name: self._chains[name] for name in chains if name in self._chains},
            {name: self._sets[name] for name in sets if name in self._sets},
            {key: self._elements[key] for key in elements if key in self._elements},
        )
