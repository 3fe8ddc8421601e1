"""Field selectors: `status.phase!=Running,spec.nodeName=n1`.

Only the fields in the table below can be asked for. A field that is not set counts as the empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mizzen.api import kinds
from mizzen.api.custom import CustomKind, at
from mizzen.api.kinds import Kind
from mizzen.api.selectors import SelectorError

Getter = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{self.value}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of comparisons; without any it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, obj: Any) -> bool:
        """Whether an object, of a kind that has all the fields, fulfils it."""
        getters = fields_of(kinds.kind_of(obj))
        return all((getters[term.field](obj) == term.value) == term.equal for term in self.terms)

    def exact(self, field: str) -> str | None:
        """The value that the field must have, if the selector says so."""
        return next((term.value for term in self.terms if term.field == field and term.equal), None)

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


@lru_cache(maxsize=1024)
def parse(kind: Kind[Any], text: str) -> FieldSelector:
    """The selector that a text means for a kind. Raises SelectorError, also for a field that cannot be asked for."""
    found = terms(text)
    known = fields_of(kind)
    for term in found:
        if term.field not in known:
            raise SelectorError(_unknown(kind, term.field))
    return FieldSelector(tuple(sorted(found, key=str)))


def terms(text: str) -> tuple[Term, ...]:
    """The comparisons in a text, whatever the kind. Raises SelectorError."""
    return tuple(_term(part, text) for part in _split(text) if part)


@lru_cache(maxsize=1024)
def required(text: str) -> tuple[tuple[str, str], ...]:
    """The fields that must have a value, and the value, whatever the kind; none for a text that is no selector."""
    try:
        return tuple((term.field, term.value) for term in terms(text) if term.equal)
    except SelectorError:
        return ()


@lru_cache(maxsize=256)
def fields_of(kind: Kind[Any]) -> Mapping[str, Getter]:
    """What can be asked of a kind: a reader by the name of the field."""
    common: dict[str, Getter] = {
        "metadata.name": lambda obj: str(obj.metadata.name),
        "metadata.namespace": lambda obj: str(obj.metadata.namespace),
    }
    if isinstance(kind, CustomKind):
        if not kind.namespaced:
            del common["metadata.namespace"]
        return common | {".".join(path): _custom_getter(path) for path in kind.selectable}
    return common | _FIELDS.get(kind, {})


def _custom_getter(path: tuple[str, ...]) -> Getter:
    def read(obj: Any) -> str:
        value = at(obj.content, path)
        if isinstance(value, bool):
            return _truth(value)
        return "" if value is None else str(value)

    return read


def _split(text: str) -> list[str]:
    """The text at its commas, those behind a backslash left alone."""
    parts, start, i = [], 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == ",":
            parts.append(text[start:i])
            start = i + 1
        i += 1
    return [*parts, text[start:]]


def _term(part: str, whole: str) -> Term:
    for i, char in enumerate(part):
        if char == "=":
            if part[i - 1 : i] == "!":
                return Term(part[: i - 1], _unescaped(part[i + 1 :], whole), equal=False)
            return Term(part[:i], _unescaped(part[i + 1 :].removeprefix("="), whole))
    raise SelectorError(f"invalid selector: '{whole}'; can't understand '{part}'")


def _unescaped(value: str, whole: str) -> str:
    """The value without its backslashes, which may stand before `\\`, `,` and `=` only."""
    if "\\" not in value:
        if "=" in value:
            raise SelectorError(f"invalid field selector: unescaped '=' in {value!r} of '{whole}'")
        return value
    out, chars = [], iter(value)
    for char in chars:
        if char == "\\":
            char = next(chars, "")
            if char not in ("\\", ",", "="):
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{char} in '{whole}'")
        out.append(char)
    return "".join(out)


def _unknown(kind: Kind[Any], field: str) -> str:
    if kind in _FIELDS or isinstance(kind, CustomKind):
        return f"field label not supported: {field}"
    known = ", ".join(f'"{name}"' for name in fields_of(kind))
    return f'"{field}" is not a known field selector: only {known}'


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _reference(read: Callable[[Any], Any], prefix: str) -> dict[str, Getter]:
    """The fields of an object reference."""
    attrs = {
        "kind": "kind", "namespace": "namespace", "name": "name", "uid": "uid", "apiVersion": "api_version",
        "resourceVersion": "resource_version", "fieldPath": "field_path",
    }  # fmt: skip

    def getter(attr: str) -> Getter:
        return lambda obj: str(getattr(read(obj), attr))

    return {f"{prefix}.{name}": getter(attr) for name, attr in attrs.items()}


_FIELDS: dict[Kind[Any], dict[str, Getter]] = {
    kinds.POD: {
        "spec.nodeName": lambda pod: str(pod.spec.node_name),
        "spec.restartPolicy": lambda pod: str(pod.spec.restart_policy),
        "spec.schedulerName": lambda pod: str(pod.spec.scheduler_name),
        "spec.serviceAccountName": lambda pod: str(pod.spec.service_account_name),
        "spec.hostNetwork": lambda pod: _truth(pod.spec.host_network),
        "status.phase": lambda pod: str(pod.status.phase),
        "status.podIP": lambda pod: str(pod.status.pod_ip),
        "status.podIPs": lambda pod: ",".join(address.ip for address in pod.status.pod_ips),
        "status.nominatedNodeName": lambda pod: str(pod.status.nominated_node_name),
    },
    kinds.NODE: {"spec.unschedulable": lambda node: _truth(node.spec.unschedulable)},
    kinds.NAMESPACE: {"status.phase": lambda namespace: str(namespace.status.phase)},
    kinds.SECRET: {"type": lambda secret: str(secret.type)},
    kinds.SERVICE: {
        "spec.clusterIP": lambda service: str(service.spec.cluster_ip),
        "spec.type": lambda service: str(service.spec.type),
    },
    kinds.REPLICA_SET: {"status.replicas": lambda replica_set: str(replica_set.status.replicas)},
    kinds.REPLICATION_CONTROLLER: {"status.replicas": lambda controller: str(controller.status.replicas)},
    kinds.JOB: {"status.successful": lambda job: str(job.status.succeeded)},
    kinds.EVENT: {
        **_reference(lambda event: event.involved_object, "involvedObject"),
        "reason": lambda event: str(event.reason),
        "reportingComponent": lambda event: str(event.reporting_component),
        "source": lambda event: str(event.source.component or event.reporting_component),
        "type": lambda event: str(event.type),
    },
    kinds.EVENTS_EVENT: {
        **_reference(lambda event: event.regarding, "regarding"),
        "reason": lambda event: str(event.reason),
        "reportingController": lambda event: str(event.reporting_controller),
        "type": lambda event: str(event.type),
    },
}
