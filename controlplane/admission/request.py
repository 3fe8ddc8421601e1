"""The words of admission: what is asked, what is answered, and the ranges that addresses are taken from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from controlplane.access.values import UserInfo
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.managed.entries import Writer


class Operation(Enum):
    """What is done to the object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    """Metadata and spec change; the status stays."""
    UPDATE_STATUS = "UPDATE_STATUS"
    """The status changes; the spec stays."""
    APPROVE = "APPROVE"
    """A request for a certificate is approved or denied; what became of it otherwise stays."""
    FINALIZE = "FINALIZE"
    """Only the finalizers in a namespace's spec change."""
    ADD_EPHEMERAL = "ADD_EPHEMERAL"
    """Only the ephemeral containers of a pod change: some are added."""
    RESIZE = "RESIZE"
    """Only the CPU and memory of a pod's containers change, and what changing them needs."""
    DELETE = "DELETE"
    CONNECT = "CONNECT"
    """Somebody enters a pod: exec, attach, port-forward. Nothing is stored."""


SUBRESOURCES = {
    Operation.UPDATE_STATUS: "status",
    Operation.FINALIZE: "finalize",
    Operation.APPROVE: "approval",
    Operation.ADD_EPHEMERAL: "ephemeralcontainers",
    Operation.RESIZE: "resize",
}
"""What changes of a part of an object go through, below the object's path."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request on one object."""

    operation: Operation
    kind: Kind[Any]
    namespace: str
    """As in the path; empty for cluster-scoped kinds."""
    name: str
    """As in the path; empty for CREATE."""
    object: Any
    """The object as the client sent it; the stored one for DELETE; the options of the subresource for CONNECT."""
    internal: bool = False
    """Asked by one of the control plane's own controllers."""
    taken: frozenset[str] = frozenset()
    """Claims that others hold although the view does not show it yet."""
    writer: Writer | None = None
    """Who is to be known as the one who set what changes; None leaves the managed fields as they are."""
    applied: bool = False
    """The object comes from an apply, with the managed fields that it is to have."""
    served: CustomKind | None = None
    """The version that the request was made in, for kinds that users define."""
    seen_as: Kind[Any] | None = None
    """The kind that the request names, where a kind of the table is seen in a second version or group."""
    subresource: str = ""
    """What the path names below the object, such as `scale`; status and its like are known by the operation."""
    user: UserInfo | None = None
    """Who asks; None for the control plane itself."""
    dry_run: bool = False
    """Nothing will be stored."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the verb as JSON, with `kind` and `apiVersion`."""

    @property
    def named(self) -> Kind[Any]:
        """The kind in the version and group that the request names."""
        return self.seen_as or self.served or self.kind


@dataclass(frozen=True, slots=True)
class Admitted:
    """What is to be stored."""

    object: Any
    warnings: tuple[str, ...] = ()
    """Shown to the client; nothing is wrong in the API's eyes."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What the audit log is told of the request."""
    claims: tuple[str, ...] = ()
    """Claims that the object did not hold before; to be written with it."""
    addresses: tuple[str, ...] = ()
    """Cluster IPs that the service did not have before; their IPAddress objects are to be written with it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where addresses come from, and whether accounts count."""

    service_cidr: str = "10.96.0.0/16"
    """Where cluster IPs are from until a ServiceCIDR is ready."""
    node_port_first: int = 30000
    node_port_last: int = 32767
    external_ips: bool = False
    """Whether services may claim addresses of the outside by themselves."""
    """The last node port, included."""
    service_accounts: bool = False
    """Whether a new pod's service account must exist, and gives the pod its token."""


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """The values without repetitions, in order."""
    return tuple(dict.fromkeys(values))
