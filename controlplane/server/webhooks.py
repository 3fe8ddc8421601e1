"""Admission by webhooks: which of the configured ones a request concerns, and what they make of it.

Mutating ones are asked one after the other, in the order of their configurations' names and within, and once more where
a later one changed the object; validating ones all at once.

Vocabulary: a *hook* is one webhook of a configuration; a *round* asks each hook that is concerned once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from controlplane.admission import conditions, matching, reviews
from controlplane.admission.matching import Asked
from controlplane.admission.policy_choice import Seen
from controlplane.admission.request import Request
from controlplane.admission.reviews import Answer, BadAnswer, CallFailed
from controlplane.server.audit import annotate
from controlplane.server.conversions import Conversions
from controlplane.server.representations import shown, storage, stored
from controlplane.server.scale_views import SCALE, scale_of, scaled
from controlplane.server.webhook_calls import WebhookCalls
from controlplane.store.registry import Registry
from mizzen.api import codec, kinds, patch
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.errors import ApiError, Forbidden, InternalError
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as registration
from mizzen.engine.values import Ids

_LOG = structlog.get_logger(__name__)

TIMEOUT_S = 10
"""How long a hook may take that does not say it, in seconds."""
_IGNORE, _IF_NEEDED = "Ignore", "IfNeeded"
_UNHARMFUL = ("None", "NoneOnDryRun")
_KINDS: tuple[Kind[Any], ...] = (kinds.MUTATING_WEBHOOKS, kinds.VALIDATING_WEBHOOKS)

Hook = registration.MutatingWebhook | registration.ValidatingWebhook
Redo = Callable[[Any, Any], Any]
"""What admission makes of an object that was changed, given also what it was before."""


@dataclass(slots=True)
class Concern:
    """One request while hooks are asked about it."""

    request: Request
    about: Asked
    others: tuple[Kind[Any], ...]
    old: Any
    conversions: Conversions
    warnings: list[str] = field(default_factory=list)

    async def seen(self, obj: Any, kind: Kind[Any]) -> Any:
        """A stored object as whoever is asked in `kind` sees it; what is sent below objects is seen as it is."""
        if obj is None:
            return None
        if self.about.subresource == SCALE:
            return scale_of(self.about.kind, obj)
        if self.request.kind is not storage(kind) or _is_sent(self.request, obj):
            return obj
        return shown(kind, await self.conversions.shown(kind, obj))

    async def taken(self, value: dict[str, Any], obj: Any, kind: Kind[Any]) -> Any:
        """The object in JSON that was seen in `kind`, as it is stored."""
        seen = await self.seen(obj, kind)
        made, _ = codec.decode_dict(value, kind if isinstance(seen, Custom) else type(seen), validation="Ignore")
        if self.about.subresource == SCALE:
            return scaled(self.about.kind, obj, made)
        return await self.conversions.to(kind, stored(made), obj.form) if isinstance(obj, Custom) else stored(made)


def _is_sent(request: Request, obj: Any) -> bool:
    """Whether this is not an object of the request's kind, but what was sent to a path below one."""
    return not isinstance(obj, Custom if isinstance(request.kind, CustomKind) else request.kind.type)


class Webhooks:
    """Asks the configured hooks; one per process."""

    def __init__(self, registry: Registry, calls: WebhookCalls, conversions: Conversions, ids: Ids) -> None:
        """Read configurations from `registry`."""
        self._registry = registry
        self._calls = calls
        self._conversions = conversions
        self._ids = ids
        self._state: tuple[int, ...] = ()
        self._hooks: dict[Kind[Any], tuple[Hook, ...]] = {}

    @property
    def configured(self) -> bool:
        """Whether there are any."""
        return bool(self._configured())

    def concerning(self, request: Request, old: Any) -> Concern | None:
        """What hooks will be asked about; None where the rules of none fit."""
        hooks = self._configured()
        if not hooks or matching.is_exempt(request.kind):
            return None
        about = matching.asked(request)
        others = matching.equivalents(about.kind, self._registry.catalog)
        for of_kind in hooks.values():
            for hook in of_kind:
                if matching.chosen(hook.rules, hook.match_policy, about, others) is not None:
                    return Concern(request, about, others, old, self._conversions)
        return None

    def _configured(self) -> Mapping[Kind[Any], tuple[Hook, ...]]:
        cache = self._registry.cache
        state = tuple([cache.changes(kind) for kind in _KINDS])
        if state != self._state:
            view = self._registry.view
            self._hooks = {
                kind: hooks
                for kind in _KINDS
                if (hooks := tuple(
                    hook for one in sorted(view.list(kind), key=lambda one: one.metadata.name) for hook in one.webhooks
                ))
            }  # fmt: skip
            self._state = state
        return self._hooks

    async def mutate(self, concern: Concern, obj: Any, redo: Redo) -> Any:
        """The object that the mutating hooks make of `obj`, which is None for a deletion. Raises ApiError."""
        hooks = self._configured().get(kinds.MUTATING_WEBHOOKS, ())
        again: set[int] = set()
        asked: set[int] = set()
        for place, hook in enumerate(hooks):
            kind = await self._chosen(concern, hook, obj)
            if kind is None:
                continue
            after = await self._mutated(concern, hook, obj, kind, redo)
            if after is not obj:
                again |= asked
                obj = after
            if isinstance(hook, registration.MutatingWebhook) and hook.reinvocation_policy == _IF_NEEDED:
                asked.add(place)
        for place in sorted(again):
            kind = await self._chosen(concern, hooks[place], obj)
            if kind is not None:
                obj = await self._mutated(concern, hooks[place], obj, kind, redo)
        return obj

    async def _mutated(self, concern: Concern, hook: Hook, obj: Any, kind: Kind[Any], redo: Redo) -> Any:
        """The object that a hook which is concerned makes of it; the same one where it changes nothing."""
        answer = await self._ask(concern, hook, obj, kind, mutating=True)
        if answer is None or not answer.patch:
            return obj
        if obj is None:
            raise reviews.no_object(hook.name)
        before = codec.to_dict(await concern.seen(obj, kind))
        try:
            value = patch.apply_json_patch(before, list(answer.patch))
            changed = await concern.taken(value, obj, kind)
        except ApiError as error:
            raise InternalError(error.message) from error
        return redo(changed, obj) if value != before else obj

    async def validate(self, concern: Concern, obj: Any) -> None:
        """Ask the validating hooks about the object as it will be; raise the first refusal."""

        async def one(hook: Hook) -> None:
            kind = await self._chosen(concern, hook, obj)
            if kind is not None:
                await self._ask(concern, hook, obj, kind, mutating=False)

        hooks = self._configured().get(kinds.VALIDATING_WEBHOOKS, ())
        for failure in await asyncio.gather(*(one(hook) for hook in hooks), return_exceptions=True):
            if failure is not None:
                raise failure

    async def _chosen(self, concern: Concern, hook: Hook, obj: Any) -> Kind[Any] | None:
        """The kind in which a hook is asked; None where the request does not concern it. Raises ApiError."""
        about, request = concern.about, concern.request
        kind = matching.chosen(hook.rules, hook.match_policy, about, concern.others)
        if kind is None:
            return None
        seen, before = await concern.seen(obj, kind), await concern.seen(concern.old, kind)
        if not matching.of_object(hook.object_selector, seen, before):
            return None
        if not matching.in_namespace(hook.namespace_selector, request, about, self._registry.view):
            return None
        return kind if self._hold(concern, hook, seen, before, kind) else None

    def _hold(self, concern: Concern, hook: Hook, seen: Any, before: Any, kind: Kind[Any]) -> bool:
        if not hook.match_conditions:
            return True
        one = Seen(concern.request, seen, before, self._registry.view)
        try:
            return conditions.of_webhook(hook.match_conditions, one, kind)
        except conditions.NoValue as error:
            if hook.failure_policy == _IGNORE:
                return False
            raise Forbidden(concern.request.kind, concern.about.name, str(error)) from error

    async def _ask(self, concern: Concern, hook: Hook, obj: Any, kind: Kind[Any], *, mutating: bool) -> Answer | None:
        """What a hook says, which is not no; None where it may be left out. Raises ApiError."""
        if concern.request.dry_run and hook.side_effects not in _UNHARMFUL:
            raise reviews.no_dry_run(hook.name)
        uid = self._ids.uid("review")
        told = reviews.facts(concern.request, concern.about, kind)
        told["object"] = reviews.plain(await concern.seen(obj, kind))
        told["oldObject"] = reviews.plain(await concern.seen(concern.old, kind))
        told["options"] = reviews.options_of(concern.request, concern.about)
        try:
            version = reviews.version_for(hook.admission_review_versions)
            body = await self._called(hook, reviews.encoded(uid, version, told))
            answer = reviews.read(body, uid, version, mutating=mutating)
        except (CallFailed, BadAnswer) as error:
            what = "failed to call webhook" if isinstance(error, CallFailed) else "received invalid webhook response"
            if hook.failure_policy == _IGNORE:
                _LOG.warning("webhook_ignored", webhook=hook.name, error=str(error))
                return None
            raise reviews.failed(hook.name, f"{what}: {error}") from error
        concern.warnings += answer.warnings
        for key, value in answer.annotations.items():
            annotate(f"{hook.name}/{key}", value)
        if not answer.allowed:
            raise reviews.denied(hook.name, answer.status)
        return answer

    async def _called(self, hook: Hook, body: bytes) -> bytes:
        return await self._calls.call(hook.client_config, body, hook.timeout_seconds or TIMEOUT_S)
