"""Audit events: what is known of a request is gathered on its trail, and written when a stage of it is over.

A *trail* is there for requests alone of which a policy writes anything; the task that serves the request finds it in a
context variable. Without a policy there is none, and nothing looks for one but what answers for long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

from controlplane.access.audit_policy import (
    COMPLETE,
    METADATA,
    NONE,
    RECEIVED,
    REQUEST,
    REQUEST_RESPONSE,
    STARTED,
    Attributes,
    AuditPolicy,
    Decision,
)  # fmt: skip
from controlplane.access.values import UserInfo
from controlplane.server.audit_log import AuditLog

OBJECT_MAX_BYTES = 1024 * 1024
"""Larger objects are left out of an event, which then says that it is not whole."""
_TRUNCATED = "audit.k8s.io/truncated"
_DECISION, _REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"
_ID = re.compile(r"[\x21-\x7e]{1,64}")
_HEAD: dict[str, Any] = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}


@dataclass(frozen=True, slots=True)
class Came:
    """What a request says of itself."""

    uri: str
    sources: Sequence[str]
    agent: str
    verb: str
    version: str = ""
    """Of the API that the objects are seen in."""
    audit_id: str = ""
    """How the client calls the request, if it does."""


class TooLarge(ValueError):
    """There is more of an object than is written."""


class Body:
    """Something that may be written as an object. It is looked at by the thread that writes."""

    def value(self) -> Any:
        """The object as JSON; None where there is none. Raises TooLarge, or ValueError for what can't be read."""
        raise NotImplementedError


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Named(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


@dataclass(slots=True)
class Trail:
    """One request, as far as it has come."""

    log: AuditLog
    decision: Decision
    came: Came
    about: Attributes
    since: datetime
    audit_id: str
    impersonated: UserInfo | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    sent: Body | None = None
    _started: bool = False

    def annotate(self, key: str, value: str) -> None:
        """Note something; what was noted under a key stays."""
        self.annotations.setdefault(key, value)

    def decided(self, allowed: bool, reason: str) -> None:
        """Note whether the request may be made; the first word counts."""
        if _DECISION not in self.annotations:
            self.annotations |= {_DECISION: "allow" if allowed else "forbid", _REASON: reason}

    def received(self) -> None:
        """The request is known, and nothing was done yet."""
        self._tell(RECEIVED, None, None)

    def started(self) -> None:
        """The answer, which lasts, has begun."""
        if not self._started:
            self._started = True
            self._tell(STARTED, {"metadata": {}, "code": 200}, None)

    def complete(self, status: Mapping[str, Any], answer: Body | None = None) -> None:
        """The request is over."""
        self._tell(COMPLETE, status, answer)

    def refused(self, status: Mapping[str, Any]) -> None:
        """Nobody is known who asks."""
        self._tell(STARTED, status, None)

    def _tell(self, stage: str, status: Mapping[str, Any] | None, answer: Body | None) -> None:
        if stage in self.decision.omit_stages:
            return
        now = datetime.now(UTC)
        told = replace(self, annotations=dict(self.annotations))
        self.log.write(lambda: msgspec.json.encode(told._event(stage, now, status, answer)))

    def _event(
        self, stage: str, now: datetime, status: Mapping[str, Any] | None, answer: Body | None
    ) -> dict[str, Any]:
        """The event, as Kubernetes lays it out."""
        came = self.came
        event = _HEAD | {"level": self.decision.level, "auditID": self.audit_id, "stage": stage, "requestURI": came.uri}
        event |= {"verb": came.verb, "user": _user(self.about.user)}
        if self.impersonated is not None:
            event["impersonatedUser"] = _user(self.impersonated)
        event["sourceIPs"] = list(came.sources)
        if came.agent:
            event["userAgent"] = came.agent
        sent = self._object(REQUEST, self.sent, event) if stage == COMPLETE else None
        if self.about.resource:
            event["objectRef"] = self._reference(stage)
        if status is not None:
            event["responseStatus"] = status
        if sent is not None:
            event["requestObject"] = sent
        if (given := self._object(REQUEST_RESPONSE, answer, event)) is not None:
            event["responseObject"] = given
        event |= {"requestReceivedTimestamp": _time(self.since), "stageTimestamp": _time(now)}
        if self.annotations:
            event["annotations"] = self.annotations
        return event

    def _object(self, level: str, body: Body | None, event: dict[str, Any]) -> Any:
        if body is None or not self.decision.covers(level):
            return None
        try:
            value = body.value()
        except TooLarge:
            self.annotations[_TRUNCATED] = "true"
            return None
        except ValueError:
            return None
        return without_managers(value) if self.decision.omit_managed_fields else value

    def _reference(self, stage: str) -> dict[str, str]:
        """What the request is about; a new object is named by what was sent."""
        about = self.about
        named = _Metadata(about.name, about.namespace)
        if stage == COMPLETE and self.sent is not None and about.verb in ("create", "update") and not about.subresource:
            try:
                found = msgspec.convert(self.sent.value(), _Named).metadata
            except (ValueError, msgspec.ValidationError):
                found = _Metadata()
            named = _Metadata(
                named.name or found.name, named.namespace or found.namespace, found.uid, found.resource_version
            )
        reference = {
            "resource": about.resource, "namespace": named.namespace, "name": named.name, "uid": named.uid,
            "apiGroup": about.group, "apiVersion": self.came.version, "resourceVersion": named.resource_version,
            "subresource": about.subresource,
        }  # fmt: skip
        return {key: value for key, value in reference.items() if value}


TRAIL: ContextVar[Trail | None] = ContextVar("audit_trail", default=None)
"""The trail of the request that this task serves."""


class Auditor:
    """Begins trails by a policy."""

    def __init__(self, policy: AuditPolicy, log: AuditLog) -> None:
        """Write to `log`."""
        self._policy = policy
        self._log = log

    def begin(self, came: Came, about: Attributes, since: datetime) -> Trail | None:
        """The trail of a request; None where nothing is to be written of it."""
        decision = self._policy.decide(about)
        if decision.level == NONE:
            return None
        assert decision.covers(METADATA)
        audit_id = came.audit_id if _ID.fullmatch(came.audit_id) else str(uuid4())
        return Trail(self._log, decision, came, about, since, audit_id)


def response_started() -> None:
    """Say that an answer which lasts has begun."""
    if (trail := TRAIL.get()) is not None:
        trail.started()


def annotate(key: str, value: str) -> None:
    """Note something about the request that this task serves, if anything is written of it."""
    if (trail := TRAIL.get()) is not None:
        trail.annotate(key, value)


def without_managers(value: Any) -> Any:
    """An object, or a list of some, without `metadata.managedFields`."""
    if not isinstance(value, dict):
        return value
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        value = value | {"metadata": {key: one for key, one in metadata.items() if key != "managedFields"}}
    if isinstance(value.get("items"), list):
        value = value | {"items": [without_managers(one) for one in value["items"]]}
    return value


def _user(user: UserInfo | None) -> dict[str, Any]:
    if user is None:
        return {}
    told: dict[str, Any] = {"username": user.name}
    if user.uid:
        told["uid"] = user.uid
    if user.groups:
        told["groups"] = list(user.groups)
    if user.extra:
        told["extra"] = {key: list(values) for key, values in user.extra.items()}
    return told


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
