"""Bearer tokens that a client shows: written down, read from a file, or told by a program (an exec plugin).

A token is asked for anew before every call, and what lies behind it is looked at again only when that can have changed.
Asking may take as long as a program does, so who must not wait asks in a thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mizzen.api import times

FILE_S = 60.0
"""How long what a file said is good, in seconds; those who rotate tokens leave more time than that."""
PROGRAM_S = 60.0
"""How long a program may take that nobody talks to, in seconds."""
_API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_MODES = ("Never", "IfAvailable", "Always")


class CredentialError(ValueError):
    """There is no token to be had; says why and what to do."""


class Bearer(Protocol):
    """Knows a token."""

    def token(self) -> str:
        """The token as it is now; may block. Raises CredentialError."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """A token that stands in the kubeconfig."""

    text: str = field(repr=False)

    def token(self) -> str:
        """The token."""
        return self.text


@dataclass(slots=True)
class TokenFile:
    """A token in a file that others keep up to date."""

    path: Path
    _text: str = field(default="", repr=False)
    _read_at_s: float = 0.0

    def token(self) -> str:
        """What the file says. Raises CredentialError where it never could be read."""
        now_s = time.monotonic()
        if self._text and now_s - self._read_at_s < FILE_S:
            return self._text
        try:
            found = self.path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            if self._text:
                return self._text
            raise CredentialError(f"the token file {self.path} can't be read: {error}") from error
        if not found:
            raise CredentialError(f"the token file {self.path} is empty")
        self._text, self._read_at_s = found, now_s
        return found


class _Told(msgspec.Struct, rename="camel", frozen=True):
    """The status of an ExecCredential."""

    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str = ""


class _ExecCredential(msgspec.Struct, rename="camel", frozen=True):
    api_version: str
    kind: str
    status: _Told | None = None


@dataclass(slots=True)
class Plugin:
    """A program that says who one is, by the protocol of `client.authentication.k8s.io`."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    api_version: str
    mode: str = "IfAvailable"
    """Whether the program may ask its user: `Never`, `IfAvailable` or `Always`."""
    hint: str = ""
    """What to do where the program is missing."""
    cluster: Mapping[str, Any] | None = None
    """What the program is told of the cluster."""
    _told: _Told | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.api_version not in _API_VERSIONS:
            raise CredentialError(f"exec: apiVersion must be one of {', '.join(_API_VERSIONS)}")
        if self.mode not in _MODES:
            raise CredentialError(f"exec: interactiveMode must be one of {', '.join(_MODES)}")
        if not self.command:
            raise CredentialError("exec: command must be set")

    def token(self) -> str:
        """The token that the program told, as long as it is good; empty where it tells a certificate alone."""
        return self._current().token

    def certificate(self) -> tuple[bytes, bytes]:
        """The certificate and key that the program told; empty where it told none."""
        told = self._current()
        return told.client_certificate_data.encode(), told.client_key_data.encode()

    def _current(self) -> _Told:
        told = self._told
        if told is None or (told.expiration_timestamp and times.parse(told.expiration_timestamp) <= time.time() * 1000):
            told = self._told = self._run()
        return told

    def _run(self) -> _Told:
        talks = self.mode != "Never" and sys.stdin.isatty()
        if self.mode == "Always" and not talks:
            raise CredentialError(f"exec: {self.command} needs a terminal, and there is none")
        spec: dict[str, Any] = {"interactive": talks}
        if self.cluster is not None:
            spec["cluster"] = dict(self.cluster)
        asked = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}
        environment = {**os.environ, **self.env, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        try:
            done = subprocess.run(  # the user's own kubeconfig names it
                [self.command, *self.args],
                env=environment,
                stdin=None if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=None if talks else PROGRAM_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise CredentialError(f"exec: {self.command} was not found. {self.hint}".rstrip()) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CredentialError(f"exec: {self.command} can't be run: {error}") from error
        if done.returncode:
            raise CredentialError(f"exec: {self.command} failed with exit code {done.returncode}")
        return self._read(done.stdout)

    def _read(self, output: bytes) -> _Told:
        try:
            found = msgspec.json.decode(output, type=_ExecCredential)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CredentialError(f"exec: {self.command} wrote no ExecCredential: {error}") from error
        if (found.api_version, found.kind) != (self.api_version, "ExecCredential"):
            raise CredentialError(
                f"exec: {self.command} wrote a {found.kind} of {found.api_version}, not an ExecCredential of "
                f"{self.api_version}"
            )
        told = found.status
        if told is None or not (told.token or told.client_certificate_data):
            raise CredentialError(f"exec: {self.command} told neither a token nor a certificate")
        if bool(told.client_certificate_data) is not bool(told.client_key_data):
            raise CredentialError(f"exec: {self.command} must tell a certificate and its key together")
        if told.expiration_timestamp:
            try:
                times.parse(told.expiration_timestamp)
            except ValueError as error:
                raise CredentialError(f"exec: {self.command} told a wrong expirationTimestamp: {error}") from error
        return told
