"""Stories that are told to kubectl: commands as people type them, each with what it must print.

A story is a YAML file: what it is `about`, `files` that lie in its folder, and `steps`. A step has `run` (a line for
the shell), and what comes of it: `out`, `err` (nothing, where they are missing) and `code`. Where kubectl itself has
changed, each of these may be a table from the minor version that first does so to what it says.

Every story has a namespace of its own, which is its context's. In commands and files `$NS` stands for it. What differs
from run to run stands in capitals in what is expected: `NS`, `UID`, `TIME`, `AGE`, `ID` (the random end of a name),
`HASH`, `NODE`, `NODE-IP`, `POD-IP`, `SERVICE-IP`, `PORT` (of a node), `VERSION` (of a resource), `SERVER`, `DIR`,
`FOLDER`, `TRUTH`; columns are as far apart as two blanks, and which kinds nothing acts on yet is told elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T", str, int)

STORIES = Path(__file__).parent / "stories"
STEP_S = 60.0
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
_CHANGING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"X509SHA256=[0-9a-f]{64}", "X509SHA256=SUM"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "TIME"),
    (r"\b192\.0\.2\.[12]\b", "NODE-IP"),
    (r"(?<![\w.=-])(\d+m)?\d+s(?![\w])", "AGE"),
    (rf"-{_RANDOM}{{8,10}}-{_RANDOM}{{5}}\b", "-HASH-ID"),
    (rf"-{_RANDOM}{{8,10}}\b", "-HASH"),
    (rf"-{_RANDOM}{{5}}\b", "-ID"),
    (rf"(pod-template-hash|controller-revision-hash)([=:] ?)\S*?{_RANDOM}{{8,10}}", r"\1\2HASH"),
    (r"\b10\.244(\.\d+){2}\b", "POD-IP"),
    (r"\b10\.96(\.\d+){2}\b", "SERVICE-IP"),
    (r'(resourceVersion"?: )"\d+"', r'\1"VERSION"'),
    (r"(Resource Version: +)\d+", r"\1VERSION"),
    (r"\bn[12]\b", "NODE"),
    (r"(?<=local-volumes: )\S+", "FOLDER"),
    (r"(?<=nfs-client: )(true|false)", "TRUTH"),
    (r"(?<=[: ])3[0-2]\d{3}(?=/)", "PORT"),
    (r"Warning: \S+ is stored, but this server does not act on it\n", ""),
)
_COLUMNS = re.compile(r"(?<=\S) {2,}")
_BEHIND = re.compile(r" +$|(?<=\n)\n+\Z", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command and what it must print."""

    run: str
    out: str | dict[str, str] = ""
    err: str | dict[str, str] = ""
    code: int | dict[str, int] = 0

    def expected(self, minor: int) -> tuple[int, str, str]:
        """What a version must answer."""
        return _of_version(self.code, minor), _of_version(self.out, minor), _of_version(self.err, minor)


@dataclass(frozen=True)
class Story:
    """Commands, one after the other."""

    name: str
    about: str
    files: dict[str, str]
    steps: tuple[Step, ...]


def stories() -> list[Story]:
    """All stories that there are, by name."""
    return [read(file) for file in sorted(STORIES.glob("*.yaml"))]


def read(file: Path) -> Story:
    """One story from its file."""
    said: dict[str, Any] = yaml.safe_load(file.read_text())
    steps = tuple(Step(**step) for step in said["steps"])
    return Story(file.stem, said["about"], said.get("files", {}), steps)


@dataclass(frozen=True)
class Teller:
    """A kubectl of one version, with a folder, a kubeconfig and a namespace of its own for a story."""

    binary: Path
    minor: int
    folder: Path
    kubeconfig: Path
    namespace: str
    server: str

    @classmethod
    def of(cls, story: Story, binary: Path, minor: int, kubeconfig: Path, folder: Path) -> Teller:
        """Lay out what the story needs; kubectl keeps what it discovers in one folder for each version."""
        namespace = f"{story.name}-{minor}"
        own = folder / namespace
        own.mkdir()
        for name, text in story.files.items():
            (own / name).parent.mkdir(exist_ok=True, parents=True)
            (own / name).write_text(text.replace("$NS", namespace))
        config = yaml.safe_load(kubeconfig.read_text())
        config["contexts"][0]["context"]["namespace"] = namespace
        (own / ".kubeconfig").write_text(yaml.safe_dump(config))
        programs = own / ".bin"
        programs.mkdir()
        (programs / "kubectl").symlink_to(binary)
        return cls(binary, minor, own, own / ".kubeconfig", namespace, config["clusters"][0]["cluster"]["server"])

    async def tell(self, line: str) -> tuple[int, str, str]:
        """The exit code and what a command prints, without what changes from run to run."""
        environment = {
            **os.environ,
            "PATH": f"{self.folder / '.bin'}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.folder.parent / f"home-{self.minor}"),
            "NS": self.namespace,
            "GOMAXPROCS": "1",
        }
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line, cwd=self.folder, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(STEP_S):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, self.settled(out.decode()), self.settled(err.decode())

    def settled(self, text: str) -> str:
        """A text in which what differs from run to run is replaced by what it is."""
        text = (
            text.expandtabs()
            .replace(self.namespace, "NS")
            .replace(str(self.folder), "DIR")
            .replace(self.server, "SERVER")
        )
        for pattern, word in _CHANGING:
            text = re.sub(pattern, word, text)
        return _BEHIND.sub("", _COLUMNS.sub("  ", text))


async def tell(story: Story, teller: Teller) -> list[str]:
    """Run a story up to its first surprise, which is given: later steps may depend on it."""
    made = await teller.tell(f"kubectl create namespace {shlex.quote(teller.namespace)}")
    assert made[0] == 0, made
    for number, step in enumerate(story.steps, 1):
        wanted, got = step.expected(teller.minor), await teller.tell(step.run)
        if got != wanted:
            return [f"kubectl 1.{teller.minor}, step {number} of {story.name}: {step.run}", *_differences(wanted, got)]
    return []


def _differences(wanted: tuple[int, str, str], got: tuple[int, str, str]) -> list[str]:
    said = []
    for what, expected, found in zip(("code", "out", "err"), wanted, got, strict=True):
        if expected != found:
            said.append(f"--- {what} expected\n{expected}\n+++ {what} found\n{found}")
    return said


def _of_version(words: T | dict[str, T], minor: int) -> T:
    """What is so since the newest version that is not newer than this one."""
    if not isinstance(words, dict):
        return words
    reached = [said for since, said in words.items() if int(since.partition(".")[2]) <= minor]
    return (reached or list(words.values()))[-1]
