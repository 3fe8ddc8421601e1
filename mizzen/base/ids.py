"""Sources of names that must not repeat, behind the engine's `Ids` protocol."""

from __future__ import annotations

import random
import secrets
import uuid

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' safe alphabet: no vowels, so no words, and no look-alikes."""


class RandomIds:
    """Names from the operating system's random source; streams make no difference."""

    def uid(self, stream: str) -> str:
        """A random UUID."""
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))

    def suffix(self, stream: str, length: int = 5) -> str:
        """A random name ending."""
        return "".join([ALPHABET[byte % len(ALPHABET)] for byte in secrets.token_bytes(length)])


class SeededIds:
    """The same seed gives the same names; each stream is drawn from on its own, so one use never renumbers another."""

    def __init__(self, seed: int) -> None:
        """Begin all streams anew for a seed."""
        self._seed = seed
        self._streams: dict[str, random.Random] = {}

    def uid(self, stream: str) -> str:
        """The stream's next UUID."""
        return str(uuid.UUID(int=self._random(f"uid/{stream}").getrandbits(128), version=4))

    def suffix(self, stream: str, length: int = 5) -> str:
        """The stream's next name ending."""
        return "".join(self._random(f"suffix/{stream}").choices(ALPHABET, k=length))

    def _random(self, stream: str) -> random.Random:
        found = self._streams.get(stream)
        if found is None:
            # Seeding with text hashes it with SHA-512, so it does not depend on the process.
            found = self._streams[stream] = random.Random(f"{self._seed}/{stream}")
        return found
