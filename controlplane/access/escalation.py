"""Nobody gives what they do not have: writing roles and bindings needs the permissions in them, or leave to give any.

Leave is the verb `escalate` on a role that is written, `bind` on a role that is bound; administrators have both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.access.grants import Binding, rules_of
from controlplane.access.rules import EVERYTHING, Grants, Rules, described, joined, missing, quoted
from controlplane.access.values import MASTERS, UserInfo, Verdict, Wanted
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, Named, NotFound
from mizzen.api.types import rbac_v1 as rbac
from mizzen.engine.view import View

Decide = Callable[[Wanted], Verdict]
Held = Callable[[str], Grants]
"""What the user was given, in a namespace."""


def check(user: UserInfo, old: Any, new: Any, decide: Decide, held: Held, view: View) -> None:
    """Raise Forbidden unless the user may write this role or binding instead of the old one (None: a new one)."""
    if MASTERS in user.groups:
        return
    if isinstance(new, rbac.Role | rbac.ClusterRole):
        _check_role(user, old, new, decide, held)
    elif isinstance(new, rbac.RoleBinding | rbac.ClusterRoleBinding):
        _check_binding(user, old, new, decide, held, view)


Role = rbac.Role | rbac.ClusterRole


def _check_role(user: UserInfo, old: Role | None, new: Role, decide: Decide, held: Held) -> None:
    rules: Rules = new.rules if old is None or old.rules != new.rules else ()
    rule = new.aggregation_rule if isinstance(new, rbac.ClusterRole) else None
    before = old.aggregation_rule if isinstance(old, rbac.ClusterRole) else None
    if rule is not None and rule != before:
        rules = EVERYTHING  # it may gather anything
    kind, name, namespace = kinds.kind_of(new), new.metadata.name, new.metadata.namespace
    if not rules or decide(Wanted("escalate", kind.group, kind.plural, namespace, name)).allowed:
        return
    _confirm(user, rules, held(namespace), kind, name)


def _check_binding(user: UserInfo, old: Binding | None, new: Binding, decide: Decide, held: Held, view: View) -> None:
    if old is not None and (old.subjects, old.role_ref) == (new.subjects, new.role_ref):
        return
    namespace, role = new.metadata.namespace, new.role_ref
    kind = kinds.ROLE if role.kind == "Role" else kinds.CLUSTER_ROLE
    if decide(Wanted("bind", kind.group, kind.plural, namespace, role.name)).allowed:
        return
    rules = rules_of(role, namespace, view)
    if rules is None:
        raise NotFound(kind, role.name)
    _confirm(user, rules, held(namespace), kinds.kind_of(new), new.metadata.name)


def _confirm(user: UserInfo, rules: Rules, held: Grants, kind: Any, name: str) -> None:
    lacking = missing(rules, held.rules)
    if not lacking:
        return
    lines = "\n".join(sorted(described(rule) for rule in lacking))
    why = (
        f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions not currently held:'
    )
    tail = f"; resolution errors: {joined(held.problems)}" if held.problems else ""
    raise Forbidden(Named(kind.group, kind.plural, kind.kind), name, f"{why}\n{lines}{tail}")
