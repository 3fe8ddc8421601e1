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
        text = file.read_text()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name a kubeconfig with --kubeconfig or $KUBECONFIG") from error
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: not a kubeconfig")
    return _from_document(loaded, context or loaded.get("current-context", ""), file)


def _from_document(document: dict[str, Any], context: str, file: Path) -> ClusterConfig:
    chosen = _named(document, "contexts", "context", context, file)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster", ""), file)
    user = _named(document, "users", "user", chosen.get("user", ""), file)
    server = cluster.get("server", "")
    if not server:
        raise ConfigError(f"{file}: cluster {chosen.get('cluster')!r} has no server")
    return ClusterConfig(
        server=server.rstrip("/"),
        grpc=_grpc(cluster, server),
        ca_pem=_bytes(cluster, "certificate-authority", file),
        certificate_pem=_bytes(user, "client-certificate", file),
        key_pem=_bytes(user, "client-key", file),
        namespace=chosen.get("namespace") or "default",
    )


def _named(document: dict[str, Any], section: str, inner: str, name: str, file: Path) -> dict[str, Any]:
    for entry in document.get(section) or []:
        if entry.get("name") == name and isinstance(entry.get(inner), dict):
            found: dict[str, Any] = entry[inner]
            return found
    raise ConfigError(f"{file}: no {inner} named {name!r} in {section}")


def _grpc(cluster: dict[str, Any], server: str) -> str:
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == EXTENSION:
            return str(extension["extension"]["grpc"])
    return f"{urlsplit(server).hostname}:{GRPC_PORT}"


def _bytes(entry: dict[str, Any], key: str, file: Path) -> bytes:
    inline = entry.get(f"{key}-data")
    if inline:
        return base64.b64decode(inline)
    named = entry.get(key)
    if not named:
        raise ConfigError(f"{file}: {key} or {key}-data is needed; this client identifies itself by certificate")
    return (file.parent / str(named)).read_bytes()


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
