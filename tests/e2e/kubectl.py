"""Stock kubectl as the tests use it: a program, a kubeconfig and a namespace."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.shell import sh

OLDEST = 29
TIMEOUT_S = 60


@dataclass(frozen=True)
class Kubectl:
    """One kubectl, for one namespace of one cluster."""

    program: Path
    kubeconfig: Path
    namespace: str

    def __call__(self, *argv: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """What a command prints; raises CommandFailed with what it complained of."""
        return sh(*self.words(argv), stdin=stdin, timeout_s=timeout_s).stdout

    def fails(self, *argv: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """What a command that has to fail complains of."""
        done = self.tries(*argv, stdin=stdin, timeout_s=timeout_s)
        assert done.returncode != 0, f"{argv} did not fail: {done.stdout}"
        return done.stderr

    def tries(self, *argv: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """A command that may end as it likes."""
        return sh(*self.words(argv), stdin=stdin, timeout_s=timeout_s, check=False)

    def get(self, *argv: str) -> Any:
        """An object or a list of objects."""
        return json.loads(self("get", *argv, "-o", "json"))

    def items(self, *argv: str) -> list[Any]:
        """The objects of a kind."""
        found = self.get(*argv)["items"]
        assert isinstance(found, list)
        return found

    def apply(self, *objects: dict[str, Any]) -> str:
        """Applies objects."""
        return self("apply", "-f", "-", stdin=document(objects))

    def words(self, argv: Sequence[str]) -> list[str]:
        """The whole command line."""
        options = ["--kubeconfig", str(self.kubeconfig), "--cache-dir", f"{self.kubeconfig}.cache"]
        return [str(self.program), *options, "-n", self.namespace, *argv]

    def within(self, namespace: str) -> Kubectl:
        """The same for another namespace."""
        return replace(self, namespace=namespace)


def document(objects: Sequence[dict[str, Any]]) -> str:
    """Objects as kubectl reads them from a file."""
    return "\n---\n".join(json.dumps(obj) for obj in objects)


def programs() -> list[Path]:
    """Every kubectl on this machine that is new enough, oldest first; at least the one on the path, if any."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    folder = Path(found).resolve().parent
    versions = {int(path.name.rpartition(".")[2]): path for path in folder.glob("kubectl.1.*")}
    return [versions[minor] for minor in sorted(versions) if minor >= OLDEST] or [Path(found)]
