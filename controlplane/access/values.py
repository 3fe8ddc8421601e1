"""The words of access: who asks, what they want, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"
MASTERS = "system:masters"
ACCOUNTS = "system:serviceaccounts"
ACCOUNT_PREFIX = "system:serviceaccount:"
NODE_PREFIX = "system:node:"
NODES = "system:nodes"


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Somebody who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    """Tells apart those who have the name one after another; empty where nobody says."""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What else the one who vouches for them says, such as the pod that a token was made for."""


class Wanted(msgspec.Struct, frozen=True):
    """What somebody wants to do: something to objects, or, with a path, to what is no object."""

    verb: str
    group: str = ""
    resource: str = ""
    """`pods`, or with what is below it: `pods/log`."""
    namespace: str = ""
    """Empty for all namespaces, and for objects that are in none."""
    name: str = ""
    """Empty for all objects."""
    path: str = ""
    """A path that is no object; then the verb is a method in small letters, and nothing else is set."""
    fields: tuple[tuple[str, str], ...] = ()
    """Of a selective list, watch or deletion: the fields that must have a value, and the value."""

    @property
    def refusal(self) -> str:
        """What follows after `User "x" cannot ` in the answer to who may not."""
        if self.path:
            return f'{self.verb} path "{self.path}"'
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return f'{self.verb} resource "{self.resource}" in API group "{self.group}" {where}'


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is allowed, and by what."""

    allowed: bool
    reason: str = ""
    """Names the binding that allows it; for a refusal, what was wrong with bindings that might have."""


def account_user(namespace: str, name: str) -> str:
    """The user that a service account is."""
    return f"{ACCOUNT_PREFIX}{namespace}:{name}"
