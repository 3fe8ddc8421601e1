"""Every namespace has a service account named `default`, which pods use that name no other."""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

NAME = "default"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One namespace: make its account, unless it is there or the namespace is on its way out."""
    namespace = view.get(kinds.NAMESPACE, "", key.name)
    if namespace is None or namespace.metadata.deletion_timestamp or namespace.status.phase == "Terminating":
        return Decision()
    if view.get(kinds.SERVICE_ACCOUNT, key.name, NAME) is not None:
        return Decision()
    return Decision((Create(core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name=NAME, namespace=key.name))),))


def _namespace_of(account: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.NAMESPACE.resource, "", account.metadata.namespace)] if account.metadata.name == NAME else []


CONTROLLER = Controller(
    name="serviceaccount",
    kind=kinds.NAMESPACE,
    reconcile=reconcile,
    watches=((kinds.SERVICE_ACCOUNT, _namespace_of),),
)
