"""The words in which the default roles are written: how a rule is put down, and what many of them have in common."""

from __future__ import annotations

from collections.abc import Sequence

from mizzen.api.types import rbac_v1 as rbac

READ = ("get", "list", "watch")
FOLLOW = ("list", "watch")
CHANGE = ("patch", "update")


def on(
    verbs: Sequence[str], groups: str | Sequence[str], *resources: str, names: Sequence[str] = ()
) -> rbac.PolicyRule:
    """The rule that allows verbs on resources of one group or of several; with `names`, on these objects alone."""
    listed = (groups,) if isinstance(groups, str) else tuple(groups)
    return rbac.PolicyRule(verbs=tuple(verbs), api_groups=listed, resources=resources, resource_names=tuple(names))


EVENTS = on(("create", *CHANGE), ("", "events.k8s.io"), "events")
"""To tell what one does."""
