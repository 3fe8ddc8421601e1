"""Short ways to write pods in tests of environments and volumes."""

from __future__ import annotations

from typing import Any

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta

UID = "4b1d1f6e-0000-4000-8000-000000000001"


def pod(*volumes: core.Volume, containers: tuple[core.Container, ...] = (), **spec: Any) -> core.Pod:
    """A pod `web` in `shop` with these volumes."""
    return core.Pod(
        metadata=meta.ObjectMeta(
            name="web",
            namespace="shop",
            uid=UID,
            labels={"app": "web", "a.b/c": 'x"y'},
            annotations={"note": "two\nlines"},
        ),
        spec=core.PodSpec(volumes=volumes, containers=containers or (core.Container(name="main"),), **spec),
    )


def config_map(name: str, data: dict[str, str] | None = None, binary: dict[str, bytes] | None = None) -> core.ConfigMap:
    """A config map in `shop`."""
    return core.ConfigMap(
        metadata=meta.ObjectMeta(name=name, namespace="shop"), data=data or {}, binary_data=binary or {}
    )


def secret(name: str, **data: bytes) -> core.Secret:
    """A secret in `shop`."""
    return core.Secret(metadata=meta.ObjectMeta(name=name, namespace="shop"), data=data)


def service(name: str, ip: str, *ports: core.ServicePort, namespace: str = "shop") -> core.Service:
    """A service with an address."""
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace=namespace), spec=core.ServiceSpec(cluster_ip=ip, ports=ports)
    )
