"""Secrets that ask for a lasting token of a service account are given one; they end with the account.

A Secret of the type `kubernetes.io/service-account-token` names its account in an annotation. Its token is for programs
outside the cluster that can't ask for short ones, and is good until the Secret or the account is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Issue
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_FILES = ("ca.crt", "namespace", "token")


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One secret: fill it, or delete it when its account is gone or another."""
    secret = view.get(kinds.SECRET, key.namespace, key.name)
    if secret is None or secret.type != TYPE or secret.metadata.deletion_timestamp:
        return Decision()
    given = secret.metadata.annotations
    account = view.get(kinds.SERVICE_ACCOUNT, key.namespace, given.get(NAME, ""))
    if account is None or given.get(UID, account.metadata.uid) != account.metadata.uid:
        return Decision((Delete(key, secret.metadata.uid, secret.metadata.resource_version),))
    if UID in given and all(secret.data.get(name) for name in _FILES):
        return Decision()
    return Decision((Issue(secret),))


def _secrets_of(account: Object, view: View) -> Iterable[Key]:
    namespace = account.metadata.namespace
    return [
        Key(kinds.SECRET.resource, namespace, secret.metadata.name)
        for secret in view.list(kinds.SECRET, namespace)
        if _names(secret, account.metadata.name)
    ]


def _names(secret: core_v1.Secret, account: str) -> bool:
    return secret.type == TYPE and secret.metadata.annotations.get(NAME) == account


CONTROLLER = Controller(
    name="serviceaccount-tokens",
    kind=kinds.SECRET,
    reconcile=reconcile,
    watches=((kinds.SERVICE_ACCOUNT, _secrets_of),),
)
