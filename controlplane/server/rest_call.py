"""One REST request on objects, read into the API's terms: options from the query, objects from the body.

Why: every handler needs the same few things of a request, and clients are tolerant only of what Kubernetes tolerates.
What it is not: handling, answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import msgspec
from aiohttp import web
from multidict import MultiMapping

from controlplane.admission import Operation, Request
from controlplane.admission.deletion import Deletion
from controlplane.server import negotiate, rest_yaml
from controlplane.server.authn import UserInfo
from controlplane.server.field_managers import NAME_MAX_BYTES, manager_of
from controlplane.server.guards import Guard, signed_by_sender
from controlplane.server.negotiate import PLAIN, Output
from controlplane.server.paths import Place
from controlplane.server.rest_listen import BODY_MAX_BYTES
from controlplane.server.verbs_delete import DeleteOptions
from controlplane.server.verbs_read import ListOptions
from controlplane.server.verbs_watch import TIMEOUT_S, WatchOptions
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import codec, errors
from mizzen.api.codec import FieldValidation
from mizzen.api.custom import CustomKind
from mizzen.api.errors import BadRequest, FieldError, Invalid, Named
from mizzen.api.kinds import Kind
from mizzen.api.managed.values import Json
from mizzen.api.types import meta_v1 as meta
from mizzen.wire import convert

T = TypeVar("T")

_TRUE = ("1", "true", "True", "TRUE", "t", "T")
_FALSE = ("0", "false", "False", "FALSE", "f", "F", "")
_VALIDATIONS = ("Ignore", "Strict", "Warn")
_INCLUDES = ("None", "Metadata", "Object")
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
"""Programs behind which somebody reads."""
_PROPAGATIONS = ("Background", "Foreground", "Orphan")


class Call(msgspec.Struct, frozen=True):
    """A request that may be answered: who asks what of which objects."""

    request: web.Request
    place: Place
    verb: str
    user: UserInfo
    query: MultiMapping[str]
    output: Output = PLAIN
    """The form that the answer is wanted in."""
    guard: Guard | None = None
    """What a write must pass beside the permission to write."""
    warned: list[str] = msgspec.field(default_factory=list)
    """What was found of what was sent, for who is refused."""

    @property
    def kind(self) -> Kind[Any]:
        """The kind in the path."""
        return self.place.kind

    @property
    def include(self) -> str:
        """What a table's rows carry of their objects. Raises BadRequest."""
        wanted = self.query.get("includeObject") or "Metadata"
        if wanted not in _INCLUDES:
            raise BadRequest(f"unrecognized includeObject value: {errors.quoted(wanted)}")
        return wanted

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored. Raises Invalid for a word that is not `All`."""
        return _dry_run(tuple(self.query.getall("dryRun", ())))

    @property
    def write_options(self) -> WriteOptions:
        """How to write."""
        return WriteOptions(
            dry_run=self.dry_run,
            validation=self.validation,
            guard=self.guard,
            sign=partial(signed_by_sender, self.user),
            manager=self._manager(),
            user=self.user,
            verb_options=self._verb_options(),
        )

    @property
    def apply_options(self) -> WriteOptions:
        """How to apply; it must be said who does. Raises Invalid."""
        if not self.query.get("fieldManager"):
            raise _invalid(FieldError.required("fieldManager", "is required for apply patch"), "PatchOptions")
        return replace(self.write_options, force=bool(truth(self.query, "force")))

    @property
    def patch_options(self) -> WriteOptions:
        """How to patch. Raises Invalid."""
        if truth(self.query, "force") is not None:
            raise _invalid(FieldError.forbidden("force", "may not be specified for non-apply patch"), "PatchOptions")
        return self.write_options

    def _verb_options(self) -> Json:
        """The options in the query as an object."""
        given: Json = {"kind": self._options_kind, "apiVersion": "meta.k8s.io/v1"}
        if "dryRun" in self.query:
            given["dryRun"] = list(self.query.getall("dryRun"))
        for name in ("fieldManager", "fieldValidation"):
            if value := self.query.get(name):
                given[name] = value
        if (force := truth(self.query, "force")) is not None:
            given["force"] = force
        return given

    def _manager(self) -> str:
        """Who manages what is written: whom the client names, else the program that it is. Raises Invalid."""
        named = self.query.get("fieldManager", "")
        if not named:
            return manager_of(self.request.headers.get("User-Agent", ""))
        if len(named.encode()) > NAME_MAX_BYTES:
            raise _invalid(FieldError.too_long("fieldManager", NAME_MAX_BYTES), self._options_kind)
        if not named.isprintable():
            why = "should only contain printable characters"
            raise _invalid(FieldError.invalid("fieldManager", named, why), self._options_kind)
        return named

    @property
    def _options_kind(self) -> str:
        return f"{self.verb.capitalize()}Options"

    @property
    def validation(self) -> FieldValidation:
        """What to do about unknown and duplicate fields. Raises Invalid."""
        wanted = self.query.get("fieldValidation") or "Warn"
        if wanted not in _VALIDATIONS:
            raise _invalid(FieldError.unsupported("fieldValidation", wanted, _VALIDATIONS))
        return cast(FieldValidation, wanted)

    @property
    def list_options(self) -> ListOptions:
        """What to list. Raises BadRequest or Invalid."""
        query = self.query
        if "sendInitialEvents" in query:
            raise _invalid(FieldError.forbidden("sendInitialEvents", "it is for watches"), "ListOptions")
        return ListOptions(
            label_selector=query.get("labelSelector", ""),
            field_selector=query.get("fieldSelector", ""),
            limit=number(query, "limit") or 0,
            continue_=query.get("continue", ""),
            resource_version=query.get("resourceVersion", ""),
            resource_version_match=query.get("resourceVersionMatch", ""),
        )

    @property
    def watch_options(self) -> WatchOptions:
        """What to watch; a name in the path is a selector on it. Raises BadRequest."""
        query = self.query
        fields = query.get("fieldSelector", "")
        if self.place.name:
            fields = ",".join(part for part in (f"metadata.name={self.place.name}", fields) if part)
        return WatchOptions(
            label_selector=query.get("labelSelector", ""),
            field_selector=fields,
            resource_version=query.get("resourceVersion", ""),
            resource_version_match=query.get("resourceVersionMatch", ""),
            allow_bookmarks=bool(truth(query, "allowWatchBookmarks")),
            send_initial_events=truth(query, "sendInitialEvents"),
            timeout_s=number(query, "timeoutSeconds") or TIMEOUT_S,
        )

    def sent(self, obj: Any, operation: Operation = Operation.CREATE) -> Request:
        """What admission is asked about an object that is sent to a path below another. Raises Invalid."""
        place = self.place
        return Request(
            operation,
            place.kind,
            place.namespace,
            place.name,
            obj,
            subresource=place.subresource,
            user=self.user,
            dry_run=self.dry_run,
            options={} if operation is Operation.CONNECT else self._verb_options(),
        )

    async def body(self) -> bytes:
        """The body, decompressed. Raises RequestEntityTooLarge, or BadRequest for what cannot be decompressed."""
        try:
            return await self.request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise errors.RequestEntityTooLarge(f"limit is {BODY_MAX_BYTES}") from error
        except web.RequestPayloadError as error:
            raise BadRequest("the body cannot be read as its Content-Encoding says") from error

    async def decoded(self, target: Kind[Any] | type[T]) -> tuple[Any, tuple[str, ...]]:
        """The object in the body, with warnings. Raises BadRequest or UnsupportedMediaType."""
        protobuf = not isinstance(target, CustomKind)
        encoding = negotiate.body_type(self.request.headers.get("Content-Type", ""), protobuf=protobuf)
        body, validation = await self.body(), self.validation
        if encoding == negotiate.PROTOBUF:
            return _from_protobuf(body, target), ()
        if encoding == negotiate.YAML:
            # Beside the event loop, because it is slow.
            obj, warnings = await asyncio.to_thread(_from_yaml, body, target, validation)
        else:
            obj, warnings = codec.decode_json(body, target, validation=validation)
        self.warned.extend(warnings)
        return obj, warnings

    async def configuration(self) -> tuple[Json, tuple[str, ...]]:
        """The configuration in the body of an apply, with warnings. Raises BadRequest."""
        validation = self.validation
        config, repeated = await asyncio.to_thread(rest_yaml.applied, await self.body())
        if repeated and validation == "Strict":
            lines = "\n  ".join(repeated)
            raise BadRequest(f"error strict decoding YAML: yaml: unmarshal errors:\n  {lines}")
        if validation == "Ignore":
            return config, ()
        self.warned.extend(repeated)
        return config, repeated

    async def delete_options(self) -> DeleteOptions:
        """How to delete, by the body or, without one, by the query. Raises BadRequest or Invalid."""
        return self.deletion(await self._given_delete_options())

    def deletion(self, given: meta.DeleteOptions) -> DeleteOptions:
        """How to delete by options that have been read. Raises Invalid."""
        policy = given.propagation_policy or ""
        if given.orphan_dependents is not None:
            if policy:
                why = "orphanDependents and deletionPropagation cannot be both set"
                raise _invalid(FieldError.invalid("propagationPolicy", policy, why), "DeleteOptions")
            policy = "Orphan" if given.orphan_dependents else "Background"
        if policy not in ("", *_PROPAGATIONS):
            raise _invalid(FieldError.unsupported("propagationPolicy", policy, _PROPAGATIONS), "DeleteOptions")
        conditions = given.preconditions or meta.Preconditions()
        return DeleteOptions(
            how=Deletion(given.grace_period_seconds, policy),
            uid=conditions.uid or "",
            resource_version=conditions.resource_version or "",
            dry_run=_dry_run(given.dry_run) or self.dry_run,
            user=self.user,
            verb_options={**codec.to_dict(given), "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"},
        )

    async def _given_delete_options(self) -> meta.DeleteOptions:
        if await self.body():
            decoded: meta.DeleteOptions = (await self.decoded(meta.DeleteOptions))[0]
            return decoded
        return meta.DeleteOptions(
            grace_period_seconds=number(self.query, "gracePeriodSeconds"),
            propagation_policy=self.query.get("propagationPolicy"),
            orphan_dependents=truth(self.query, "orphanDependents"),
        )


def output_of(request: web.Request, place: Place, verb: str, query: MultiMapping[str]) -> Output:
    """The form that an answer is wanted in. Raises NotAcceptable."""
    watching = verb == "watch"
    found = negotiate.output(request.headers.get("Accept", ""), watching=watching, protobuf=place.has_protobuf)
    return found if watching else _pretty(found, request, query)


def error_output(request: web.Request, place: Place | None, query: MultiMapping[str]) -> Output:
    """The form that an error is told in."""
    protobuf = place is None or place.has_protobuf
    return _pretty(negotiate.error_output(request.headers.get("Accept", ""), protobuf=protobuf), request, query)


def _pretty(output: Output, request: web.Request, query: MultiMapping[str]) -> Output:
    """The form with line breaks, where they are asked for or somebody seems to read without a tool."""
    if output.media_type != negotiate.JSON or output.pretty:
        return output
    asked = query.get("pretty")
    by_hand = request.headers.get("User-Agent", "").startswith(_PEOPLE) if asked is None else asked in _TRUE
    return replace(output, pretty=True) if by_hand else output


def number(query: MultiMapping[str], name: str) -> int | None:
    """A whole number from the query; None when it is not there. Raises BadRequest."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise BadRequest(f"{name} must be a whole number, not {errors.quoted(text)}") from error


def truth(query: MultiMapping[str], name: str) -> bool | None:
    """A truth value from the query; None when it is not there. Raises BadRequest."""
    text = query.get(name)
    if text is None:
        return None
    if text not in _TRUE and text not in _FALSE:
        raise BadRequest(f"{name} must be true or false, not {errors.quoted(text)}")
    return text in _TRUE


def _dry_run(words: tuple[str, ...]) -> bool:
    for word in words:
        if word != "All":
            raise _invalid(FieldError.unsupported("dryRun", word, ["All"]))
    return bool(words)


def _invalid(error: FieldError, kind: str = "Options") -> Invalid:
    return Invalid(Named("meta.k8s.io", kind.lower(), kind), "", [error])


def _from_protobuf(body: bytes, target: Kind[Any] | type[Any]) -> Any:
    """The object in a protobuf body, in the canonical form that JSON bodies get when they are decoded."""
    type_ = target.type if isinstance(target, Kind) else target
    try:
        return codec.normalised(convert.decode_envelope(body, type_))
    except (convert.BadMessage, msgspec.ValidationError) as error:
        raise BadRequest(f"the protobuf body cannot be read as {type_.__name__}: {error}") from error


def _from_yaml(body: bytes, target: Kind[Any] | type[Any], validation: FieldValidation) -> tuple[Any, tuple[str, ...]]:
    value, twice = rest_yaml.read(body)
    if twice and validation == "Strict":
        raise BadRequest(f"strict decoding error: {', '.join(twice)}")
    obj, warnings = codec.decode_dict(value, target, validation=validation)
    return obj, (*twice, *warnings) if validation == "Warn" else warnings
