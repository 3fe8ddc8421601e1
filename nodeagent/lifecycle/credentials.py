"""Which credentials a pod has for a registry: out of the Secrets that its `imagePullSecrets` name. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from mizzen.api.types import core_v1 as core
from nodeagent.runtime.values import RegistryAuth

CONFIG_JSON = ".dockerconfigjson"
CONFIG = ".dockercfg"
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


class _Entry(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}


def credentials(registry: str, secrets: Iterable[core.Secret]) -> RegistryAuth | None:
    """The first credentials for a registry (by host); None when there are none. Broken secrets are passed over."""
    for secret in secrets:
        for place, entry in _entries(secret).items():
            if _host(place) == registry or (registry in _HUB and _host(place) in _HUB):
                username, password = _name_and_password(entry)
                return RegistryAuth(
                    username=username, password=password, identity_token=entry.identitytoken, server=place
                )
    return None


def _entries(secret: core.Secret) -> dict[str, _Entry]:
    try:
        if CONFIG_JSON in secret.data:
            return msgspec.json.decode(secret.data[CONFIG_JSON], type=_Config).auths
        if CONFIG in secret.data:
            return msgspec.json.decode(secret.data[CONFIG], type=dict[str, _Entry])
    except msgspec.DecodeError:
        return {}
    return {}


def _name_and_password(entry: _Entry) -> tuple[str, str]:
    if entry.username or not entry.auth:
        return entry.username, entry.password
    try:
        name, _, password = base64.b64decode(entry.auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def _host(place: str) -> str:
    return place.removeprefix("https://").removeprefix("http://").partition("/")[0]
