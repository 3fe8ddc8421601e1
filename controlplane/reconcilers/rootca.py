"""Every namespace has a config map with the cluster's authority, by which its pods know the API server."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from msgspec.structs import replace

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

NAME = "kube-root-ca.crt"
FILE = "ca.crt"
_ABOUT = {"kubernetes.io/description": "The authority of the API server's certificate, for clients in the cluster."}


def reconcile(ca_pem: str, key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One namespace: make the config map, or put right what it says."""
    namespace = view.get(kinds.NAMESPACE, "", key.name)
    if namespace is None or namespace.metadata.deletion_timestamp or namespace.status.phase == "Terminating":
        return Decision()
    found = view.get(kinds.CONFIG_MAP, key.name, NAME)
    data = {FILE: ca_pem}
    if found is None:
        metadata = meta_v1.ObjectMeta(name=NAME, namespace=key.name, annotations=_ABOUT)
        return Decision((Create(core_v1.ConfigMap(metadata=metadata, data=data)),))
    return Decision() if found.data == data else Decision((Update(replace(found, data=data)),))


def _namespace_of(config: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.NAMESPACE.resource, "", config.metadata.namespace)] if config.metadata.name == NAME else []


def controller(ca_pem: str) -> Controller:
    """The controller that publishes this authority, a certificate in PEM."""
    return Controller(
        name="root-ca-cert-publisher",
        kind=kinds.NAMESPACE,
        reconcile=partial(reconcile, ca_pem),
        watches=((kinds.CONFIG_MAP, _namespace_of),),
    )
