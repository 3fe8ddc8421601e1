"""What a pod may be told about itself: its own fields and its containers' resources, as text. Pure.

Used for environment variables (`env`) and for files (`nodeagent.volumes.plan`). Also the values that both are made
from: everything outside the pod that it may refer to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mizzen.api import quantity
from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.storage import Storage

_SUBSCRIPTED = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


class ConfigError(Exception):
    """The pod refers to something that is not there, or asks for what there is not; the text is for its status."""

    reason = "CreateContainerConfigError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything outside the pod that its environment and files may be made from."""

    config_maps: Mapping[str, core.ConfigMap] = field(default_factory=dict)
    """Those of the pod's namespace, by name."""
    secrets: Mapping[str, core.Secret] = field(default_factory=dict)
    """Those of the pod's namespace, by name."""
    services: tuple[core.Service, ...] = ()
    """Those of the pod's namespace, and `kubernetes` of `default`."""
    pod_ips: tuple[str, ...] = ()
    """The pod's addresses; empty until it has a network."""
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """What the node has for pods: stands in for a limit that a container does not set."""

    claims: Mapping[str, core.PersistentVolume] = field(default_factory=dict)
    """The volumes of the claims that have one, by the name of the claim."""
    files: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """Files in the pod's volumes that variables are read from, by volume and path; None for one that is not there."""
    tokens: Mapping[TokenWish, str] = field(default_factory=dict)
    """Tokens of the pod's service account; an empty one could not be had."""
    storage: Storage = field(default_factory=Storage)
    """What concerns storage drivers."""

    def config_map(self, name: str, *, optional: bool) -> core.ConfigMap | None:
        """The config map; None when it is optional and not there. Raises ConfigError."""
        found = self.config_maps.get(name)
        if found is None and not optional:
            raise ConfigError(f'configmap "{name}" not found')
        return found

    def secret(self, name: str, *, optional: bool) -> core.Secret | None:
        """The secret; None when it is optional and not there. Raises ConfigError."""
        found = self.secrets.get(name)
        if found is None and not optional:
            raise ConfigError(f'secret "{name}" not found')
        return found


def field_text(pod: core.Pod, path: str, sources: Sources) -> str:
    """The value of a `fieldRef`. Raises ConfigError for a path that cannot be told."""
    reader = _FIELDS.get(path)
    if reader is not None:
        return reader(pod, sources)
    match = _SUBSCRIPTED.fullmatch(path)
    if match is None:
        raise ConfigError(f"field label not supported: {path}")
    found = pod.metadata.labels if match[1] == "labels" else pod.metadata.annotations
    return found.get(match[2], "")


def resource_text(pod: core.Pod, container_name: str, ref: core.ResourceFieldSelector, sources: Sources) -> str:
    """The value of a `resourceFieldRef`, in units of its divisor, rounded up. Raises ConfigError.

    The reference's own container name comes before the given one.
    """
    name = ref.container_name or container_name
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    container = next((c for c in containers if c.name == name), None)
    if container is None:
        raise ConfigError(f"container {name} not found")
    kind, _, resource = ref.resource.partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise ConfigError(f"unsupported container resource : {ref.resource}")
    wanted = container.resources.limits if kind == "limits" else container.resources.requests
    amount = wanted.get(resource, "0")
    if kind == "limits" and not quantity.parse(amount).nano:
        amount = sources.allocatable.get(resource, "0")
    divisor = quantity.parse(ref.divisor or "1").nano or quantity.parse("1").nano
    return str(-(-quantity.parse(amount).nano // divisor))


def quoted_map(entries: Mapping[str, str]) -> str:
    """Labels or annotations as the lines of a file, sorted, values quoted as Go does."""
    return "\n".join(f"{key}={_quoted(entries[key])}" for key in sorted(entries))


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_FIELDS: dict[str, Callable[[core.Pod, Sources], str]] = {
    "metadata.name": lambda pod, _: pod.metadata.name,
    "metadata.namespace": lambda pod, _: pod.metadata.namespace,
    "metadata.uid": lambda pod, _: pod.metadata.uid,
    "metadata.labels": lambda pod, _: quoted_map(pod.metadata.labels),
    "metadata.annotations": lambda pod, _: quoted_map(pod.metadata.annotations),
    "spec.nodeName": lambda pod, _: pod.spec.node_name,
    "spec.serviceAccountName": lambda pod, _: pod.spec.service_account_name,
    "status.hostIP": lambda _, sources: sources.host_ips[0] if sources.host_ips else "",
    "status.hostIPs": lambda _, sources: ",".join(sources.host_ips),
    "status.podIP": lambda _, sources: sources.pod_ips[0] if sources.pod_ips else "",
    "status.podIPs": lambda _, sources: ",".join(sources.pod_ips),
}
