"""Where the cluster is and who we are: a kubeconfig, read as kubectl reads it.

A cluster that serves gRPC beside REST says where in its kubeconfig, in the extension `mizzen.dev` of the cluster entry.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mizzen.base.settings import Address, address

EXTENSION = "mizzen.dev"
GRPC_PORT = 6440
"""Where gRPC is when the kubeconfig does not say."""


class ConfigError(ValueError):
    """The kubeconfig can't be used; says which entry, and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster, one user."""

    server: str
    """URL of the REST API."""
    grpc: str
    """`host:port` of the gRPC API."""
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes
    namespace: str = "default"


def default_path(environment: Mapping[str, str] | None = None) -> Path:
    """The first file in $KUBECONFIG, else `~/.kube/config`."""
    listed = (os.environ if environment is None else environment).get("KUBECONFIG", "")
    first = next((part for part in listed.split(os.pathsep) if part), "")
    return Path(first) if first else Path.home() / ".kube" / "config"


def load(path: Path | None = None, context: str = "") -> ClusterConfig:
    """The configuration of a context (the current one where none is named). Raises ConfigError."""
    file = path or default_path()
    try:
        loaded = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name a kubeconfig with --kubeconfig or $KUBECONFIG") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: not a kubeconfig")
    chosen = context or loaded.get("current-context")
    if not chosen:
        raise ConfigError(f"{file}: no current-context; set one with `kubectl config use-context`")
    return _from_document(loaded, str(chosen), file)


def _from_document(document: dict[str, Any], context: str, file: Path) -> ClusterConfig:
    chosen = _named(document, "contexts", "context", context, file)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster", ""), file)
    user = _named(document, "users", "user", chosen.get("user", ""), file)
    server = str(cluster.get("server") or "")
    _host(server, file)
    return ClusterConfig(
        server=server.rstrip("/"),
        grpc=_grpc(cluster, server, file),
        ca_pem=_bytes(cluster, "certificate-authority", file),
        certificate_pem=_bytes(user, "client-certificate", file),
        key_pem=_bytes(user, "client-key", file),
        namespace=chosen.get("namespace") or "default",
    )


def _named(document: dict[str, Any], section: str, inner: str, name: str, file: Path) -> dict[str, Any]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(inner), dict):
            found: dict[str, Any] = entry[inner]
            return found
    raise ConfigError(f"{file}: no {inner} named {name!r} in {section}")


def _grpc(cluster: dict[str, Any], server: str, file: Path) -> str:
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == EXTENSION:
            try:
                return str(address(str(extension["extension"]["grpc"]), GRPC_PORT))
            except (KeyError, TypeError, ValueError) as error:
                why = f"the extension {EXTENSION} must be like {{grpc: host:{GRPC_PORT}}}: {error}"
                raise ConfigError(f"{file}: {why}") from error
    return str(Address(_host(server, file), GRPC_PORT))


def _host(server: str, file: Path) -> str:
    try:
        parts = urlsplit(server)
    except ValueError as error:
        raise ConfigError(f"{file}: the server {server!r} is no URL: {error}") from error
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigError(f"{file}: the server must be like https://host:6443, not {server!r}")
    return parts.hostname


def _bytes(entry: dict[str, Any], key: str, file: Path) -> bytes:
    """A PEM text that stands in the kubeconfig, or in a file that it names relative to itself."""
    inline, named = entry.get(f"{key}-data"), entry.get(key)
    if not inline and not named:
        raise ConfigError(f"{file}: {key} or {key}-data is needed; this client knows nothing but certificates")
    try:
        data = base64.b64decode(inline) if inline else (file.parent / str(named)).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {key}: {named}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{file}: {key}-data is not base64: {error}") from error
    if b"-----BEGIN" not in data:
        raise ConfigError(f"{file}: {key} is not PEM")
    return data


def render(name: str, config: ClusterConfig, user: str) -> str:
    """A kubeconfig with one cluster and one user."""

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": user, "namespace": config.namespace}}],
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": config.server,
                    "certificate-authority-data": encoded(config.ca_pem),
                    "extensions": [{"name": EXTENSION, "extension": {"grpc": config.grpc}}],
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(config.certificate_pem),
                    "client-key-data": encoded(config.key_pem),
                },
            }
        ],
    }
    return str(yaml.safe_dump(document, sort_keys=False))
