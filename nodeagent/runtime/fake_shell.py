"""What programs do inside the in-memory runtime: a handful of commands and the simplest shell, as steps.

Why: the same test, with the same command lines, runs over the twin and over a real engine with busybox. This is not a
shell: no pipes, variables, conditions or loops besides the one below. What it cannot do it refuses loudly.

    sleep N   echo ...   cat [FILE]   touch FILE   rm FILE   test -f FILE   hostname   env   true   false
    sh -c 'a; b >&2; exit N'   trap '...' SIGNAL   while :; do sleep N; done   (at the end: for ever)
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nodeagent.runtime.values import Stream

FOREVER_MS = 10**12


class NotExecutable(Exception):
    """There is no such command; as 127 does for a shell."""


@dataclass(frozen=True, slots=True)
class Say:
    """Write a text."""

    text: str
    stream: Stream = "stdout"


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    ms: int


@dataclass(frozen=True, slots=True)
class Leave:
    """End with this exit code, or without one with that of the last step."""

    code: int | None


@dataclass(frozen=True, slots=True)
class Echo:
    """Repeat the input until it ends."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Write what the process knows: its `hostname` or its `env`."""

    what: str


@dataclass(frozen=True, slots=True)
class OnFile:
    """Do one of `touch`, `rm`, `test`, `cat` with a file; the last two fail when there is none."""

    verb: str
    path: str


@dataclass(frozen=True, slots=True)
class Trap:
    """From now on do this instead of going on when the signal comes."""

    signal: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Leave this exit code behind and go on."""

    code: int


Step = Say | Pause | Leave | Echo | Tell | OnFile | Trap | Result


def compile_command(argv: Sequence[str]) -> tuple[Step, ...]:
    """The steps of a command line. Raises NotExecutable, and ValueError for shell that is beyond this one."""
    name = argv[0].rpartition("/")[2]
    if name == "sh" and len(argv) == 3 and argv[1] == "-c":
        return _script(argv[2])
    if name not in _COMMANDS:
        raise NotExecutable(f'exec: "{argv[0]}": executable file not found in $PATH')
    return _COMMANDS[name](list(argv[1:]))


def _script(text: str) -> tuple[Step, ...]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";>&|")
    lexer.whitespace_split = True
    statements: list[list[str]] = [[]]
    for token in lexer:
        if token == ";":
            statements.append([])
        else:
            statements[-1].append(token)
    steps: list[Step] = []
    for statement in statements:
        steps += _statement(statement)
    return tuple(steps)


def _statement(words: list[str]) -> tuple[Step, ...]:
    if not words or words in (["while", ":"], ["done"]):
        return ()
    if words[0] == "do":  # the body of the endless loop
        return (Pause(FOREVER_MS),)
    stream: Stream = "stdout"
    if words[-2:] == [">&", "2"]:
        words, stream = words[:-2], "stderr"
    if any(word[0] in "><&|" for word in words if word):
        raise ValueError(f"the in-memory shell cannot do: {' '.join(words)}")
    try:
        steps = compile_command(words)
    except NotExecutable:
        return (Say(f"sh: {words[0]}: not found\n", "stderr"), Result(127))
    return tuple(Say(step.text, stream) if isinstance(step, Say) else step for step in steps)


def _trap(words: list[str]) -> tuple[Step, ...]:
    action, signal = words
    return (Trap(signal.removeprefix("SIG"), _script(action)),)


_COMMANDS: dict[str, Callable[[list[str]], tuple[Step, ...]]] = {
    "sleep": lambda words: (Pause(round(float(words[0]) * 1000)), Result(0)),
    "echo": lambda words: (Say(" ".join(words) + "\n"), Result(0)),
    "cat": lambda words: (OnFile("cat", words[0]),) if words else (Echo(), Result(0)),
    "touch": lambda words: (OnFile("touch", words[-1]),),
    "rm": lambda words: (OnFile("rm", words[-1]),),
    "test": lambda words: (OnFile("test", words[-1]),),
    "hostname": lambda _: (Tell("hostname"), Result(0)),
    "env": lambda _: (Tell("env"), Result(0)),
    "true": lambda _: (Result(0),),
    ":": lambda _: (Result(0),),
    "false": lambda _: (Result(1),),
    "exit": lambda words: (Leave(int(words[0]) if words else None),),
    "trap": _trap,
}
