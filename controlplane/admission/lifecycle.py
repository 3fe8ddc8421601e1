"""Objects live in namespaces that exist: nothing new in one that is missing or on its way out."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission.request import Operation, Request
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, NotFound
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.view import View

_IMMORTAL = ("default", "kube-system", "kube-public")


def check_create(request: Request, view: View, name: str) -> None:
    """Raise NotFound without the namespace, Forbidden while it is being deleted."""
    if not request.kind.namespaced:
        return
    namespace = view.get(kinds.NAMESPACE, "", request.namespace)
    if namespace is None:
        raise NotFound(kinds.NAMESPACE, request.namespace)
    _check_stays(request, namespace, name)


def check_below(request: Request, view: View) -> None:
    """Raise Forbidden for what is sent to a path below an object, such as an eviction, while its namespace goes."""
    namespace = view.get(kinds.NAMESPACE, "", request.namespace) if request.kind.namespaced else None
    if request.operation is Operation.CREATE and namespace is not None:
        _check_stays(request, namespace, request.name)


def _check_stays(request: Request, namespace: Any, name: str) -> None:
    if namespace.metadata.deletion_timestamp or namespace.status.phase == "Terminating":
        raise _terminating(request, name)


def check_delete(request: Request) -> None:
    """Raise Forbidden for the namespaces that the cluster itself lives in."""
    if request.kind is kinds.NAMESPACE and request.name in _IMMORTAL:
        raise Forbidden(request.kind, request.name, "this namespace may not be deleted")


def _terminating(request: Request, name: str) -> Forbidden:
    namespace = request.namespace
    error = Forbidden(
        request.kind, name, f"unable to create new content in namespace {namespace} because it is being terminated"
    )
    cause = meta.StatusCause(
        reason="NamespaceTerminating",
        message=f"namespace {namespace} is being terminated",
        field="metadata.namespace",
    )
    assert error.details is not None
    error.details = replace(error.details, causes=(cause,))
    return error
