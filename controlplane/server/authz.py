"""Who may do what: roles and bindings out of the cache, and what a node may as a node. What nothing allows is refused.

The decisions are pure (`controlplane.access`); here they meet the cache, and what was found for a user is kept for as
long as no role and no binding changes.
"""

from __future__ import annotations

from typing import Any

from controlplane.access import escalation, nodes
from controlplane.access.grants import grants_of, wants
from controlplane.access.rules import Grants
from controlplane.access.values import MASTERS, UserInfo, Verdict, Wanted
from controlplane.server.paths import Place
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, Named
from mizzen.api.kinds import Kind
from mizzen.engine.cache import Cache

_SOURCES: tuple[Kind[Any], ...] = (
    kinds.ROLE, kinds.ROLE_BINDING, kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING,
)  # fmt: skip
_USERS_MAX = 4096
"""Users in namespaces whose grants are kept."""


class Authorizer:
    """Decides about every request."""

    def __init__(self, cache: Cache) -> None:
        """By the roles and bindings in `cache`, own writes included."""
        self._cache = cache
        self._state: tuple[int, ...] = ()
        self._grants: dict[tuple[str, tuple[str, ...], str], Grants] = {}

    def grants(self, user: UserInfo, namespace: str) -> Grants:
        """All that a user was given cluster-wide and in a namespace (empty: in none)."""
        state = tuple([self._cache.changes(kind) for kind in _SOURCES])
        if state != self._state or len(self._grants) >= _USERS_MAX:
            self._grants.clear()
            self._state = state
        key = (user.name, user.groups, namespace)
        found = self._grants.get(key)
        if found is None:
            found = self._grants[key] = grants_of(user, namespace, self._cache)
        return found

    def decide(self, user: UserInfo, wanted: Wanted) -> Verdict:
        """Whether a user may do it."""
        if MASTERS in user.groups:
            return Verdict(True)
        given = self.grants(user, wanted.namespace).decide(wanted)
        node = nodes.node_of(user)
        if not node or given.allowed:
            return given
        own = nodes.decide(node, wanted, self._cache)
        return own if own.allowed else Verdict(False, "\n".join(why for why in (own.reason, given.reason) if why))

    def check(self, user: UserInfo, wanted: Wanted) -> None:
        """Raise Forbidden unless a user may do it."""
        verdict = self.decide(user, wanted)
        if verdict.allowed:
            return
        why = f'User "{user.name}" cannot {wanted.refusal}' + (f": {verdict.reason}" if verdict.reason else "")
        resource = Named(wanted.group, wanted.resource.partition("/")[0])
        raise Forbidden(None if wanted.path else resource, wanted.name, why)

    def check_path(self, user: UserInfo, method: str, path: str) -> None:
        """Raise Forbidden unless the user may use a path that names no object."""
        self.check(user, Wanted(method.lower(), path=path))

    def check_place(self, user: UserInfo, verb: str, place: Place, field_selector: str = "") -> None:
        """Raise Forbidden unless the user may do this to these objects."""
        self.check(user, wants(verb, place.kind.group, place.resource, place.namespace, place.name, field_selector))

    def check_grant(self, user: UserInfo, old: Any, new: Any) -> None:
        """Raise Forbidden where a role or binding that is about to be written gives what the user does not have."""
        escalation.check(
            user, old, new, lambda wanted: self.decide(user, wanted), lambda where: self.grants(user, where),
            self._cache,
        )  # fmt: skip
