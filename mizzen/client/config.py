"""Where the cluster is and who we are: a kubeconfig, read as kubectl reads it, or what a pod finds around itself.

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
from mizzen.client.credentials import Bearer, CredentialError, Plugin, TokenFile, Written

EXTENSION = "mizzen.dev"
GRPC_PORT = 6440
GRPC_TOKEN_PORT = 6441
"""Where gRPC is when the kubeconfig does not say: for certificates, and for tokens."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its account's token, namespace and authority."""
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_UNKNOWN = {"username": "a password", "auth-provider": "an auth-provider"}
"""Ways to prove who one is that Kubernetes had, and what to call them."""


class ConfigError(ValueError):
    """The kubeconfig can't be used; says which entry, and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster, one user."""

    server: str
    """URL of the REST API."""
    grpc: str
    """`host:port` of the gRPC API for who has a certificate."""
    ca_pem: bytes
    """Empty: the authorities that this machine trusts."""
    certificate_pem: bytes = b""
    key_pem: bytes = b""
    namespace: str = "default"
    grpc_tokens: str = ""
    """`host:port` of the gRPC API for who has a token."""
    bearer: Bearer | None = None
    """Knows the token to show beside, or instead of, a certificate."""
    acting_as: tuple[tuple[str, str], ...] = ()
    """Headers that say whom to act as."""

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC API for this user."""
        return self.grpc if self.certificate_pem or not self.grpc_tokens else self.grpc_tokens

    def shown(self) -> dict[str, str]:
        """What every request says about who makes it, in headers; may block. Raises CredentialError."""
        token = self.bearer.token() if self.bearer is not None else ""
        return {"authorization": f"Bearer {token}"} if token else {}


def default_paths(environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The files in $KUBECONFIG, else `~/.kube/config`."""
    listed = (os.environ if environment is None else environment).get("KUBECONFIG", "")
    return tuple(Path(part) for part in listed.split(os.pathsep) if part) or (Path.home() / ".kube" / "config",)


def load(
    path: Path | None = None,
    context: str = "",
    *,
    environment: Mapping[str, str] | None = None,
    account: Path = ACCOUNT,
) -> ClusterConfig:
    """The configuration of a context (the current one where none is named); in a pod without one, the pod's own.

    Runs the program that says who one is, where there is one. Raises ConfigError.
    """
    around = os.environ if environment is None else environment
    files = (path,) if path else default_paths(around)
    if path is None and around.get(_HOST) and not any(file.exists() for file in files):
        return in_cluster(around, account)
    # Of several files each may be missing, as long as there is one.
    present = [file for file in files if file.exists()] or [files[0]]
    documents = [(file, _read(file)) for file in present]
    chosen = context or next((found for _, one in documents if (found := one.get("current-context"))), "")
    if not chosen:
        raise ConfigError(f"{present[0]}: no current-context; set one with `kubectl config use-context`")
    return _Files(documents).config(str(chosen))


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> ClusterConfig:
    """What a pod finds around itself: the API's address, and its account's token. Raises ConfigError."""
    host, port = environment.get(_HOST, ""), environment.get(_PORT, "443")
    try:
        ca_pem, namespace = (account / "ca.crt").read_bytes(), (account / "namespace").read_text().strip()
        server = Address(host, int(port))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{account}: the pod's service account can't be used: {error}") from error
    return ClusterConfig(
        server=f"https://{server}",
        grpc=str(Address(host, GRPC_PORT)),
        ca_pem=ca_pem,
        namespace=namespace or "default",
        grpc_tokens=str(Address(host, GRPC_TOKEN_PORT)),
        bearer=TokenFile(account / "token"),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name a kubeconfig with --kubeconfig or $KUBECONFIG") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: not a kubeconfig")
    return loaded


class _Files:
    """Kubeconfigs of which the first that has an entry counts."""

    def __init__(self, documents: list[tuple[Path, dict[str, Any]]]) -> None:
        self._documents = documents

    def config(self, context: str) -> ClusterConfig:
        """The configuration of a context. Raises ConfigError."""
        chosen, _ = self._named("contexts", "context", context)
        cluster, file = self._named("clusters", "cluster", chosen.get("cluster", ""))
        user, owner = self._named("users", "user", chosen.get("user", ""))
        server = str(cluster.get("server") or "")
        _host(server, file)
        if cluster.get("insecure-skip-tls-verify"):
            raise ConfigError(f"{file}: insecure-skip-tls-verify is not supported; name the certificate-authority")
        try:
            certificate, key, bearer = _proof(user, owner, cluster)
        except CredentialError as error:
            raise ConfigError(f"{owner}: {error}") from error
        return ClusterConfig(
            server=server.rstrip("/"),
            grpc=_grpc(cluster, server, file, "grpc", GRPC_PORT),
            ca_pem=_bytes(cluster, "certificate-authority", file),
            certificate_pem=certificate,
            key_pem=key,
            namespace=chosen.get("namespace") or "default",
            grpc_tokens=_grpc(cluster, server, file, "grpcTokens", GRPC_TOKEN_PORT),
            bearer=bearer,
            acting_as=_acting_as(user),
        )

    def _named(self, section: str, inner: str, name: str) -> tuple[dict[str, Any], Path]:
        for file, document in self._documents:
            entries = document.get(section)
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(inner), dict):
                    return entry[inner], file
        raise ConfigError(f"{self._documents[0][0]}: no {inner} named {name!r} in {section}")


def _proof(user: dict[str, Any], file: Path, cluster: dict[str, Any]) -> tuple[bytes, bytes, Bearer | None]:
    """A certificate, its key, and who knows a token, as far as there are any. Raises ConfigError, CredentialError."""
    certificate, key = _bytes(user, "client-certificate", file), _bytes(user, "client-key", file)
    if bool(certificate) is not bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise ConfigError(f"{file}: {missing} or {missing}-data is needed; a certificate and its key go together")
    bearer: Bearer | None = None
    if user.get("tokenFile"):
        bearer = TokenFile(file.parent / str(user["tokenFile"]))
    elif user.get("token"):
        bearer = Written(str(user["token"]))
    elif isinstance(user.get("exec"), dict):
        bearer = plugin = _plugin(user["exec"], file, cluster)
        told, its_key = plugin.certificate()
        certificate, key = (told, its_key) if told else (certificate, key)
    if not certificate and bearer is None:
        other = next((words for name, words in _UNKNOWN.items() if user.get(name)), "")
        known = "a client certificate, a token, a tokenFile or an exec plugin"
        raise ConfigError(f"{file}: the user needs {known}" + (f"; {other} is not supported" if other else ""))
    return certificate, key, bearer


def _plugin(given: dict[str, Any], file: Path, cluster: dict[str, Any]) -> Plugin:
    command = str(given.get("command") or "")
    if "/" in command and not command.startswith("/"):
        command = str(file.parent / command)
    told = None
    if given.get("provideClusterInfo"):
        told = {"server": str(cluster.get("server") or "")}
        authority = _bytes(cluster, "certificate-authority", file)
        if authority:
            told["certificate-authority-data"] = base64.b64encode(authority).decode()
    return Plugin(
        command=command,
        args=tuple(map(str, given.get("args") or ())),
        env={str(one["name"]): str(one["value"]) for one in given.get("env") or ()},
        api_version=str(given.get("apiVersion") or ""),
        mode=str(given.get("interactiveMode") or "IfAvailable"),
        hint=str(given.get("installHint") or ""),
        cluster=told,
    )


def _acting_as(user: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    headers = [("impersonate-user", str(user["as"]))] if user.get("as") else []
    headers += [("impersonate-group", str(group)) for group in user.get("as-groups") or ()]
    headers += [("impersonate-uid", str(user["as-uid"]))] if user.get("as-uid") else []
    for name, values in (user.get("as-user-extra") or {}).items():
        headers += [(f"impersonate-extra-{name}".lower(), str(value)) for value in values]
    return tuple(headers)


def _grpc(cluster: dict[str, Any], server: str, file: Path, key: str, port: int) -> str:
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == EXTENSION:
            try:
                given = extension["extension"]
                if key in given:
                    return str(address(str(given[key]), port))
            except (KeyError, TypeError, ValueError) as error:
                why = f"the extension {EXTENSION} must be like {{{key}: host:{port}}}: {error}"
                raise ConfigError(f"{file}: {why}") from error
    return str(Address(_host(server, file), port))


def _host(server: str, file: Path) -> str:
    try:
        parts = urlsplit(server)
    except ValueError as error:
        raise ConfigError(f"{file}: the server {server!r} is no URL: {error}") from error
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigError(f"{file}: the server must be like https://host:6443, not {server!r}")
    return parts.hostname


def _bytes(entry: dict[str, Any], key: str, file: Path) -> bytes:
    """A PEM text that stands in the kubeconfig, or in a file that it names relative to itself; empty for none."""
    inline, named = entry.get(f"{key}-data"), entry.get(key)
    if not inline and not named:
        return b""
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

    addresses = {"grpc": config.grpc, "grpcTokens": config.grpc_tokens}
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
                    "extensions": [{"name": EXTENSION, "extension": addresses}],
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
