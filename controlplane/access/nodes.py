"""What a node may do with its certificate beside its session: look at itself and at its own pods.

A node's agent asks nothing of the API: its session brings what it needs and takes what it reports. What is here is for
people on the node and for tools that expect a node to see itself; whatever else Kubernetes lets a node do, it lets it
do for an agent that has no session.
"""

from __future__ import annotations

from controlplane.access.values import NODE_PREFIX, NODES, UserInfo, Verdict, Wanted
from mizzen.api import kinds
from mizzen.engine.view import View

_NO = Verdict(False)


def node_of(user: UserInfo) -> str:
    """The node that a user is; empty for everybody else."""
    return user.name.removeprefix(NODE_PREFIX) if NODES in user.groups and user.name.startswith(NODE_PREFIX) else ""


def decide(node: str, wanted: Wanted, view: View) -> Verdict:
    """Whether a node may do it because it is a node."""
    if wanted.verb != "get" or wanted.group or wanted.path:
        return _NO
    if wanted.resource == kinds.NODE.plural:
        return Verdict(True, "a node may see itself") if wanted.name == node else _NO
    if wanted.resource == kinds.POD.plural and wanted.name:
        pod = view.get(kinds.POD, wanted.namespace, wanted.name)
        if pod is not None and pod.spec.node_name == node:
            return Verdict(True, "a node may see its own pods")
    return _NO
