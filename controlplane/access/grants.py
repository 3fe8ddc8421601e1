"""From the cluster's bindings and roles to what one user was given.

Bindings are found by index, so what a look costs depends on the user's own bindings alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.access.rules import Grants, Rules
from controlplane.access.values import UserInfo, Wanted
from mizzen.api import field_selectors, kinds
from mizzen.api.types import rbac_v1 as rbac
from mizzen.engine import indexes
from mizzen.engine.view import View

_SELECTIVE = ("list", "watch", "deletecollection")

Binding = rbac.RoleBinding | rbac.ClusterRoleBinding


def grants_of(user: UserInfo, namespace: str, view: View) -> Grants:
    """What a user was given cluster-wide and, unless it is empty, in a namespace."""
    given: list[tuple[str, Rules]] = []
    problems: list[str] = []
    for binding, subject in _bindings(user, namespace, view):
        rules = rules_of(binding.role_ref, namespace, view)
        if rules is None:
            problems.append(f'{binding.role_ref.kind.lower()}.{kinds.ROLE.group} "{binding.role_ref.name}" not found')
        else:
            given.append((_words(binding, subject), rules))
    return Grants(given, tuple(dict.fromkeys(problems)))


def rules_of(role: rbac.RoleRef, namespace: str, view: View) -> Rules | None:
    """The rules of a role as seen from a namespace; None where there is no such role."""
    if role.kind == "Role":
        own = view.get(kinds.ROLE, namespace, role.name)
        return None if own is None else own.rules
    found = view.get(kinds.CLUSTER_ROLE, "", role.name)
    return None if found is None else found.rules


def wants(
    verb: str, group: str, resource: str, namespace: str = "", name: str = "", field_selector: str = ""
) -> Wanted:
    """What somebody wants of objects; a namespace itself counts as lying in itself, so that its owners can see it."""
    if name and not group and resource.partition("/")[0] == kinds.NAMESPACE.plural:
        namespace = name
    fields = field_selectors.required(field_selector) if verb in _SELECTIVE else ()
    return Wanted(verb, group, resource, namespace, name, fields=fields)


def _bindings(user: UserInfo, namespace: str, view: View) -> Iterator[tuple[Binding, str]]:
    values = [(indexes.user_subject(user.name), _user_words(user.name))]
    values += [(indexes.group_subject(group), f'Group "{group}"') for group in user.groups]
    seen: dict[tuple[str, str], None] = {}
    for value, words in values:
        for binding in _of_subject(value, namespace, view):
            place = (binding.metadata.namespace, binding.metadata.name)
            if place not in seen:
                seen[place] = None
                yield binding, words


def _of_subject(value: str, namespace: str, view: View) -> Iterator[Binding]:
    yield from view.select(indexes.CLUSTER_ROLE_BINDINGS_BY_SUBJECT, value)
    if namespace:
        yield from view.select(indexes.ROLE_BINDINGS_BY_SUBJECT, indexes.namespaced(namespace, value))


def _user_words(name: str) -> str:
    parts = name.split(":")
    if name.startswith("system:serviceaccount:") and len(parts) == 4:
        return f'ServiceAccount "{parts[3]}/{parts[2]}"'
    return f'User "{name}"'


def _words(binding: Binding, subject: str) -> str:
    metadata, role = binding.metadata, binding.role_ref
    name = f"{metadata.name}/{metadata.namespace}" if metadata.namespace else metadata.name
    return f'{binding.kind} "{name}" of {role.kind} "{role.name}" to {subject}'
