"""Creating and changing objects: admit, then store, and again where somebody else was faster.

Why: a change is decided on the state that the cache shows and stored only if that is still the state. What it is not:
decoding, permissions, HTTP.

Vocabulary
- *decide*: a pure function from the stored object to what shall be stored; run again on every attempt.
- *claim*: a name of which there is one in the cluster; written beside the object (see `controlplane.admission`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.access.values import UserInfo
from controlplane.admission import Admitted, Operation, Request, deletion
from controlplane.admission.accounts import NoAccount
from controlplane.admission.request import SUBRESOURCES
from controlplane.server.admit import Admission
from controlplane.server.claiming import Claiming
from controlplane.server.conversions import Conversions
from controlplane.server.representations import shown, storage, stored
from controlplane.server.turns import Turns
from controlplane.store.registry import Bounced, Registry
from mizzen.api import codec, errors, kinds, patch, schema, times
from mizzen.api.codec import FieldValidation
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.errors import FieldError
from mizzen.api.kinds import Kind
from mizzen.api.managed import applying, objects
from mizzen.api.managed.applying import Configuration
from mizzen.api.managed.entries import UNKNOWN, Writer
from mizzen.api.managed.values import Json
from mizzen.engine.entry import Entry
from mizzen.engine.values import Clock
from mizzen.engine.writes import creation, removal, replacement

TRIES = 8
"""Attempts before a writer that is always too late gives up."""
ACCOUNT_TRIES, ACCOUNT_PAUSE_S = 10, 0.1
"""How often, and after which pause in seconds, a new pod's missing service account is looked for again."""

_NEVER_BLINDLY = (kinds.LEASE,)
"""Kinds that exist to be fought over: who changes one must say which version they have seen."""

_MADE_BY_UPDATES = (
    kinds.LEASE, kinds.EVENT, kinds.ENDPOINTS, kinds.SERVICE, kinds.LIMIT_RANGE, kinds.ROLE, kinds.ROLE_BINDING,
    kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING,
)  # fmt: skip
"""Kinds whose objects are made by an update where there are none, as in Kubernetes."""
_COMES_AND_GOES = "it is created and deleted again all the time"

Decide = Callable[[Any], Awaitable[Admitted]]
Guard = Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write."""

    dry_run: bool = False
    """Decide and answer, but store nothing."""
    validation: FieldValidation = "Ignore"
    """What to do about unknown fields in a patch's outcome."""
    internal: bool = False
    """Asked by one of the control plane's own controllers."""
    guard: Guard | None = None
    """Called with the stored object (None: none) and what shall replace it; raises where the sender may not do that."""
    sign: Callable[[Any], Any] | None = None
    """Adds to a new object what only the server may say about its sender."""
    manager: str = UNKNOWN
    """Who is recorded as the one who set the fields."""
    force: bool = False
    """An apply may take fields from other managers."""
    subresource: str = ""
    """What an update of the object goes through, such as `scale`; status and finalizers speak for themselves."""
    user: UserInfo | None = None
    """Who asks; None for the control plane itself."""
    verb_options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the verb as JSON, for those who have a say in what is admitted."""

    def writer(self, kind: Kind[Any], operation: Operation) -> Writer:
        """Who writes an object of this kind."""
        subresource = self.subresource or SUBRESOURCES.get(operation, "")
        return Writer(self.manager, kind.api_version, subresource=subresource)

    def request(self, operation: Operation, kind: Kind[Any], namespace: str, name: str, obj: Any) -> Request:
        """What admission is asked; `kind` is the one that the request names."""
        return Request(
            operation,
            storage(kind),
            namespace,
            name,
            obj,
            self.internal,
            writer=self.writer(_accounted(kind), operation),
            served=_version(kind),
            seen_as=None if kind.stored or _version(kind) else kind,
            subresource=self.subresource,
            user=self.user,
            dry_run=self.dry_run,
            options=self.verb_options,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write."""

    object: Any
    warnings: tuple[str, ...] = ()
    removed: bool = False
    """The write took the last reason away for which the object was still there."""
    created: bool = False
    """There was no such object before."""


def _version(kind: Kind[Any]) -> CustomKind | None:
    """The version of a user's kind that a request is made in."""
    return kind if isinstance(kind, CustomKind) else None


def _accounted(kind: Kind[Any]) -> Kind[Any]:
    """The kind in whose fields account is kept: a user's in the version of the request, others as they are stored."""
    return _version(kind) or storage(kind)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What was decided on one state of an object."""

    kind: Kind[Any]
    """In which it was decided."""
    entry: Entry
    old: Any
    """The object in the form of the kind."""
    admitted: Admitted
    final: Any
    """What is to be stored."""

    @property
    def changes_nothing(self) -> bool:
        """Whether the very object is stored already, also in the form in which it is to be stored."""
        return self.admitted.object == self.old and _form(self.final) == _form(self.entry.object())


def _form(obj: Any) -> str:
    return obj.form if isinstance(obj, Custom) else ""


class Writes:
    """The verbs that store objects."""

    def __init__(self, registry: Registry, clock: Clock, admission: Admission, conversions: Conversions) -> None:
        """Write to `registry` what `admission` admits, in the form that `conversions` gives it."""
        self._registry = registry
        self._conversions = conversions
        self._clock = clock
        self._admission = admission
        self._claiming = Claiming(registry, clock, admission)
        self._turns = Turns()

    async def create(self, kind: Kind[Any], namespace: str, obj: Any, options: WriteOptions) -> Written:
        """Store a new object. Raises AlreadyExists, and whatever admission says."""
        return await self._create(options.request(Operation.CREATE, kind, namespace, "", stored(obj)), options)

    async def _create(self, request: Request, options: WriteOptions) -> Written:
        expects: dict[str, int] = {}
        name = ""
        if options.sign is not None:
            request = replace(request, object=options.sign(request.object))
        for _ in range(TRIES):
            admitted = await self._admit_new(request)
            if options.guard is not None:
                options.guard(None, admitted.object)
            try:
                if options.dry_run:
                    await self._claiming.charging.check(request, admitted.object, None)
                    return await self._dry_creation(request, admitted)
                final = await self._conversions.stored(request.named, admitted.object)
                created = await self._claiming.commit(creation(final), admitted, expects, request, None)
            except Bounced as bounced:
                request = await self._claiming.resolve(request, bounced, expects)
            except errors.AlreadyExists as error:
                if request.object.metadata.name:
                    raise self._in_the_way(request, error) from None
                name = admitted.object.metadata.name
            else:
                seen = await self._conversions.shown(request.named, created)
                return Written(seen, admitted.warnings, created=True)
        if name:
            raise errors.NameNotGenerated(request.kind, name)
        raise errors.ServerTimeout(request.kind, "create")

    async def _dry_creation(self, request: Request, admitted: Admitted) -> Written:
        """What would be stored. Raises AlreadyExists where the name is taken."""
        name = admitted.object.metadata.name
        await self._registry.fresh()
        if self._registry.cache.entry(request.kind, request.namespace, name) is not None:
            raise errors.AlreadyExists(request.kind, name)
        return Written(admitted.object, admitted.warnings, created=True)

    def _in_the_way(self, request: Request, error: errors.AlreadyExists) -> errors.ApiError:
        """The error for a name that is taken; it says so when that is about to end."""
        other = self._registry.cache.entry(request.kind, request.namespace, request.object.metadata.name)
        if other is None or not other.object().metadata.deletion_timestamp:
            return error
        message = f"object is being deleted: {error.message}"
        return errors.ApiError(message, error.details, code=error.code, reason=error.reason)

    async def update(
        self,
        kind: Kind[Any],
        namespace: str,
        name: str,
        obj: Any,
        options: WriteOptions,
        operation: Operation = Operation.UPDATE,
    ) -> Written:
        """Replace an object, its status or its finalizers. With a resource version it must be at that version.

        An object of some kinds is made where there is none.
        """
        changed = stored(obj)
        for _ in range(TRIES):
            try:
                return await self.change(kind, namespace, name, lambda old: changed, options, operation)
            except errors.NotFound:
                if operation is not Operation.UPDATE or storage(kind) not in _MADE_BY_UPDATES:
                    raise
            with suppress(errors.AlreadyExists):
                return await self._create_missing(kind, namespace, name, changed, options, applied=False)
        raise errors.Conflict(storage(kind), name, _COMES_AND_GOES)

    async def patch(
        self,
        kind: Kind[Any],
        namespace: str,
        name: str,
        media_type: str,
        body: bytes,
        options: WriteOptions,
        operation: Operation = Operation.UPDATE,
    ) -> Written:
        """Change parts of an object.

        Raises BadRequest or UnsupportedMediaType for what is no patch, and Invalid for one that leaves no object.
        """
        message = None if isinstance(kind, CustomKind) else schema.message(codec.message_name(kind.type))
        warnings: tuple[str, ...] = ()

        def patched(old: Any) -> Any:
            nonlocal warnings
            # Managers of fields are much text and hardly ever patched.
            known = old if b"managedFields" in body else objects.with_entries(old, ())
            value = patch.apply(media_type, body, codec.to_dict(shown(kind, known)), message)
            try:
                obj, warnings = codec.decode_dict(value, kind, validation=options.validation)
            except codec.Undecodable as error:
                raise patch.no_object(media_type, body, value, error.why) from error
            return stored(obj)

        try:
            written = await self.change(kind, namespace, name, patched, options, operation)
        except errors.ApiError as error:
            error.warnings = (*warnings, *error.warnings)
            raise
        return replace(written, warnings=(*warnings, *written.warnings))

    async def apply(
        self,
        kind: Kind[Any],
        namespace: str,
        name: str,
        value: Json,
        options: WriteOptions,
        operation: Operation = Operation.UPDATE,
    ) -> Written:
        """Make an object what a configuration says, and make it if it is not there; a part of it must be there.

        Raises BadRequest for what can't be applied, and an ApiError with code 409 for what others own.
        """
        own = _accounted(kind)
        subresource = options.writer(own, operation).subresource
        if own is not kind:
            value = objects.configuration_of(stored(codec.from_dict(value, kind.type)))
        config = Configuration(value, options.manager, options.force, subresource)

        def make(old: Any) -> Any:
            return applying.apply(old, own, config, times.render(self._clock.now()))

        for _ in range(TRIES):
            try:
                return await self.change(own, namespace, name, make, options, operation, applied=True)
            except errors.NotFound:
                if subresource:
                    raise
            with suppress(errors.AlreadyExists):
                return await self._create_missing(own, namespace, name, make(None), options, applied=True)
        raise errors.Conflict(own, name, _COMES_AND_GOES)

    async def _create_missing(
        self, kind: Kind[Any], namespace: str, name: str, obj: Any, options: WriteOptions, *, applied: bool
    ) -> Written:
        """Make what was to be changed. Raises Conflict where the sender has seen it before."""
        given = obj.metadata
        if given.uid:
            why = f"uid mismatch: the provided object specified uid {given.uid}, and no existing object was found"
            raise errors.Conflict(kind, name, why)
        if given.resource_version:
            raise errors.Conflict(kind, name)
        if given.name != name:
            raise errors.BadRequest(
                f"the name of the object ({given.name}) does not match the name on the URL ({name})"
            )
        request = options.request(Operation.CREATE, kind, namespace, "", obj)
        return await self._create(replace(request, applied=applied), options)

    async def change(
        self,
        kind: Kind[Any],
        namespace: str,
        name: str,
        make: Callable[[Any], Any],
        options: WriteOptions,
        operation: Operation = Operation.UPDATE,
        *,
        applied: bool = False,
    ) -> Written:
        """Replace an object by what `make` makes of it; what it returns goes through admission.

        With `applied` it comes with the managed fields that it is to have.
        """
        own = storage(kind)
        taken: frozenset[str] = frozenset()
        expects: dict[str, int] = {}
        for _ in range(TRIES):
            request = replace(options.request(operation, kind, namespace, name, None), taken=taken, applied=applied)

            if fresh := self._admission.concerns_others(request):
                await self._registry.fresh()

            async def decide(old: Any, request: Request = request) -> Admitted:
                obj = make(old)
                version = obj.metadata.resource_version
                if not version and own in _NEVER_BLINDLY:
                    wrong = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
                    raise errors.Invalid(errors.Named(own.group, own.plural, own.plural), name, [wrong])
                if version and version != old.metadata.resource_version:
                    raise errors.Conflict(own, name)
                request = replace(request, object=obj)
                admitted = await self._admission.admit(request, old)
                if options.guard is not None:
                    options.guard(old, admitted.object)
                return admitted

            try:
                return await self.decided(
                    kind,
                    namespace,
                    name,
                    decide,
                    dry_run=options.dry_run,
                    expects=expects,
                    request=request,
                    fresh=fresh,
                )
            except Bounced as bounced:
                taken = (await self._claiming.resolve(request, bounced, expects)).taken
        raise errors.ServerTimeout(kind, "update")

    async def decided(
        self,
        kind: Kind[Any],
        namespace: str,
        name: str,
        decide: Decide,
        *,
        dry_run: bool = False,
        expects: Mapping[str, int] | None = None,
        request: Request | None = None,
        fresh: bool = False,
    ) -> Written:
        """Store what is decided on an object's newest state; nothing is written where that is what there is.

        What it uses more than before is charged to the namespace's quotas where the request is known. With `fresh` the
        cache shows the newest state, or one that is good enough to be refused on.
        Raises NotFound, Conflict after too many attempts, Bounced for a claim, and what `decide` raises.
        """

        async def attempted(*, fresh: bool) -> Written | None:
            """What became of one attempt; None where it has to be made again."""
            attempt = await self._decide(kind, namespace, name, decide, final=fresh)
            if attempt is None:
                return None
            if not attempt.changes_nothing:
                with suppress(errors.Conflict, errors.NotFound):
                    return await self._store(attempt, dry_run, expects or {}, request)
            elif fresh or dry_run:
                return Written(attempt.admitted.object, attempt.admitted.warnings)
            return None

        if (written := await attempted(fresh=fresh)) is not None:
            return written
        async with self._turns.of((storage(kind), namespace, name)):
            for _ in range(TRIES - 1):
                await self._registry.fresh()
                if (written := await attempted(fresh=True)) is not None:
                    return written
        raise errors.Conflict(kind, name)

    async def _decide(
        self, kind: Kind[Any], namespace: str, name: str, decide: Decide, *, final: bool
    ) -> _Attempt | None:
        """What is decided on the state that the cache shows; a refusal counts only when that is the newest one."""
        try:
            entry = self._registry.cache.entry(storage(kind), namespace, name)
            if entry is None:
                raise errors.NotFound(kind, name)
            old = await self._conversions.object(kind, entry)
            admitted = await decide(old)
            return _Attempt(kind, entry, old, admitted, await self._conversions.stored(kind, admitted.object))
        except errors.ApiError:
            if final:
                raise
            return None

    async def _store(
        self, attempt: _Attempt, dry_run: bool, expects: Mapping[str, int], request: Request | None
    ) -> Written:
        entry, admitted = attempt.entry, attempt.admitted
        obj = admitted.object
        removed = deletion.is_done(obj)
        if dry_run:
            if request is not None:
                await self._claiming.charging.check(request, obj, attempt.old)
            return Written(obj, admitted.warnings, removed)
        if removed:
            write = removal(entry.kind, entry.namespace, entry.name, entry.version)
            return Written(await self._claiming.commit(write, Admitted(obj), {}), admitted.warnings, removed=True)
        write = replacement(attempt.final, entry.version)
        stored = await self._claiming.commit(write, admitted, expects, request, attempt.old)
        return Written(await self._conversions.shown(attempt.kind, stored), admitted.warnings)

    async def _admit_new(self, request: Request) -> Admitted:
        if not self._admission.concerns_others(request):
            with suppress(errors.ApiError):
                return await self._admission.admit(request, None)
        # A moment ago another server may have made the namespace, or given up the address.
        await self._registry.fresh()
        for _ in range(ACCOUNT_TRIES):
            try:
                return await self._admission.admit(request, None)
            except NoAccount:
                # The namespace may be so new that its controller has not come to it yet.
                await asyncio.sleep(ACCOUNT_PAUSE_S)
        return await self._admission.admit(request, None)
