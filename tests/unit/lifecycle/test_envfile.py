"""Variables out of files in volumes."""

from __future__ import annotations

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.lifecycle.env import environment, files_of
from nodeagent.lifecycle.envfile import EnvFileError, value_in
from tests.unit.lifecycle.model import container, pod


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A='1'", "1"),
        ("# first\n\n  A='1'\nB='2'\n", "1"),
        ("A='1'\r\nB='2'\r\n", "1"),
        ("A='x # y = \"z\" $B \\n'  # said", 'x # y = "z" $B \\n'),
        ("A='one\ntwo'\nB='2'", "one\ntwo"),
        ("A=''", ""),
        ("A='1'\nA='2'", "2"),
        ("AB='1'", None),
        ("", None),
    ],
)
def test_a_variable_out_of_a_file(text: str, value: str | None) -> None:
    assert value_in(text, "A") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A=1", "line 1: write NAME='value'"),
        ("B='x'\n\nA = '1'", "line 3: write NAME='value'"),
        ("A= '1'", "line 1: write NAME='value'"),
        ("='1'", "line 1: write NAME='value'"),
        ("B='1\n2'\nA='1", "line 3: the value's closing quote is missing"),
        ("A='1' x", "line 1: after the value's closing quote only a comment may follow"),
    ],
)
def test_a_file_that_is_none(text: str, why: str) -> None:
    with pytest.raises(EnvFileError, match=why):
        value_in(text, "A")


def reading(*, optional: bool | None = None) -> core.Container:
    """A container with a variable out of a file."""
    ref = core.FileKeySelector(volume_name="v", path="config.env", key="A", optional=optional)
    return container(env=(core.EnvVar(name="MINE", value_from=core.EnvVarSource(file_key_ref=ref)),))


@pytest.mark.parametrize(
    ("text", "optional", "found"),
    [
        ("A='1'", None, {"MINE": "1"}),
        ("A=''", None, {"MINE": ""}),
        ("B='1'", True, {}),
        (None, True, {}),
    ],
)
def test_it_becomes_a_variable(text: str | None, optional: bool | None, found: dict[str, str]) -> None:
    app = reading(optional=optional)
    assert files_of(app) == (("v", "config.env"),)
    assert environment(pod(app), app, Sources(files={("v", "config.env"): text})) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, 'environment variable file "config.env" not found in volume "v"'),
        ("B='1'", 'environment variable key "A" not found in file "config.env"'),
        ("A=1", 'couldn\'t parse environment variable file "config.env": line 1'),
    ],
)
def test_without_it_the_container_waits(text: str | None, why: str) -> None:
    app = reading()
    with pytest.raises(ConfigError, match=why):
        environment(pod(app), app, Sources(files={("v", "config.env"): text}))
