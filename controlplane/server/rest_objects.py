"""The verbs on objects over HTTP: read the call, do the verb, write the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from controlplane.server import negotiate, rest_forms
from controlplane.server.kept_lists import KeptLists
from controlplane.server.paths import Place
from controlplane.server.representations import shown_raw
from controlplane.server.rest_answers import answer, compressed, list_answer, status_success
from controlplane.server.rest_call import Call
from controlplane.server.subresources import OPERATIONS
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_delete import Deleted
from controlplane.server.verbs_write import Written
from mizzen.api import codec, errors, kinds
from mizzen.api.managed import applying
from mizzen.api.types import autoscaling_v1 as autoscaling
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import policy_v1 as policy

_CREATED = 201
_ACCEPTED = 202

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class ObjectHandlers:
    """Handlers by verb and subresource."""

    def __init__(self, verbs: Verbs) -> None:
        """Answer from `verbs`."""
        self._verbs = verbs
        self._kept = KeptLists()
        self._table: dict[tuple[str, str], Handler] = {
            ("list", ""): self._list,
            ("create", ""): self._create,
            ("delete", ""): self._delete,
            ("deletecollection", ""): self._delete_collection,
            ("get", "scale"): self._get_scale,
            ("update", "scale"): self._update_scale,
            ("patch", "scale"): self._patch_scale,
            ("create", "binding"): self._bind,
            ("create", "eviction"): self._evict,
        }
        for subresource in OPERATIONS:
            self._table["get", subresource] = self._get
            self._table["update", subresource] = self._update
            self._table["patch", subresource] = self._patch

    def find(self, verb: str, place: Place) -> Handler | None:
        """The handler of a verb on what a path names, if it is one of these."""
        return self._bind if place.kind is kinds.BINDING else self._table.get((verb, place.subresource))

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _get(self, call: Call) -> web.StreamResponse:
        place = call.place
        version = call.query.get("resourceVersion", "")
        entry = await self._verbs.reads.get(call.kind, place.namespace, place.name, version)
        output = call.output
        if output.form == "object":
            return answer(output, rest_forms.entry_body(call.kind, output, entry))
        return self._answer(call, entry.object(), shown_raw(call.kind, entry))

    async def _list(self, call: Call) -> web.StreamResponse:
        output = call.output
        listing = await self._verbs.reads.list(call.kind, call.place.namespace, call.list_options)
        now, include = self._verbs.clock.now(), call.include
        body = await rest_forms.list_body(call.kind, listing, output, now, include, self._kept)
        return await list_answer(call.request, output, body)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _create(self, call: Call) -> web.StreamResponse:
        obj, warnings = await call.decoded(call.kind)
        written = await self._verbs.writes.create(call.kind, call.place.namespace, obj, call.write_options)
        return self._written(call, written, warnings, _CREATED)

    async def _update(self, call: Call) -> web.StreamResponse:
        place = call.place
        obj, warnings = await call.decoded(call.kind)
        written = await self._verbs.writes.update(
            call.kind, place.namespace, place.name, obj, call.write_options, OPERATIONS[place.subresource]
        )
        return self._written(call, written, warnings, _CREATED if written.created else 200)

    async def _patch(self, call: Call) -> web.StreamResponse:
        place = call.place
        media_type = negotiate.patch_type(call.request.headers.get("Content-Type", ""))
        if media_type == negotiate.APPLY_PATCH:
            return await self._apply(call)
        written = await self._verbs.writes.patch(
            call.kind, place.namespace, place.name, media_type, await call.body(), call.patch_options,
            OPERATIONS[place.subresource],
        )  # fmt: skip
        return self._written(call, written)

    async def _apply(self, call: Call) -> web.StreamResponse:
        place = call.place
        options = call.apply_options
        config, warnings = await call.configuration()
        config = applying.checked(config, call.kind, place.namespace)
        written = await self._verbs.writes.apply(
            call.kind, place.namespace, place.name, config, options, OPERATIONS[place.subresource]
        )
        return self._written(call, written, warnings, _CREATED if written.created else 200)

    def _written(
        self, call: Call, written: Written, warnings: tuple[str, ...] = (), code: int = 200
    ) -> web.StreamResponse:
        raw = rest_forms.raw_of(self._verbs.registry, call.kind, written.object)
        return self._answer(call, written.object, raw, code, (*warnings, *written.warnings))

    # -- deleting --------------------------------------------------------------------------------------------------

    async def _delete(self, call: Call) -> web.StreamResponse:
        place = call.place
        options = await call.delete_options()
        deleted = await self._verbs.deletes.delete(call.kind, place.namespace, place.name, options)
        code = _ACCEPTED if not deleted.gone and options.how.propagation == "Foreground" else 200
        return self._deleted(call, deleted, code)

    def _deleted(self, call: Call, deleted: Deleted, code: int) -> web.StreamResponse:
        if deleted.gone and call.kind not in kinds.RETURNED_WHEN_DELETED:
            success = status_success(call.kind, deleted.object.metadata)
            return self._answer(call, success, codec.encode_json(success), code, deleted.warnings)
        raw = rest_forms.raw_of(self._verbs.registry, call.kind, deleted.object)
        return self._answer(call, deleted.object, raw, code, deleted.warnings)

    async def _delete_collection(self, call: Call) -> web.StreamResponse:
        options = await call.delete_options()
        place = call.place
        deleted = await self._verbs.deletes.delete_collection(call.kind, place.namespace, call.list_options, options)
        output, metadata = call.output, meta.ListMeta(resource_version=str(self._verbs.registry.revision))
        objects = [one.object for one in deleted]
        body = rest_forms.objects_body(self._verbs.registry, call.kind, output, metadata, objects)
        return await compressed(call.request, answer(output, body))

    # -- subresources ----------------------------------------------------------------------------------------------

    async def _get_scale(self, call: Call) -> web.StreamResponse:
        scale = await self._verbs.scales.get(call.kind, call.place.namespace, call.place.name)
        return self._answer(call, scale, codec.encode_json(scale))

    async def _update_scale(self, call: Call) -> web.StreamResponse:
        place = call.place
        scale, warnings = await call.decoded(autoscaling.Scale)
        made, written = await self._verbs.scales.update(
            call.kind, place.namespace, place.name, scale, call.write_options
        )
        return self._answer(call, made, codec.encode_json(made), 200, (*warnings, *written.warnings))

    async def _patch_scale(self, call: Call) -> web.StreamResponse:
        place = call.place
        media_type = negotiate.patch_type(call.request.headers.get("Content-Type", ""))
        warnings: tuple[str, ...] = ()
        if media_type == negotiate.APPLY_PATCH:
            options = call.apply_options
            config, warnings = await call.configuration()
            made, written = await self._verbs.scales.apply(call.kind, place.namespace, place.name, config, options)
        else:
            made, written = await self._verbs.scales.patch(
                call.kind, place.namespace, place.name, media_type, await call.body(), call.patch_options
            )
        return self._answer(call, made, codec.encode_json(made), 200, (*warnings, *written.warnings))

    async def _bind(self, call: Call) -> web.StreamResponse:
        binding, _ = await call.decoded(core.Binding)
        binding, warnings = await self._verbs.admission.consult(call.sent(binding))
        await self._verbs.bind(call.place.namespace, call.place.name, binding, dry_run=call.dry_run)
        return self._success(call, warnings)

    async def _evict(self, call: Call) -> web.StreamResponse:
        place = call.place
        eviction, _ = await call.decoded(policy.Eviction)
        if eviction.metadata.name not in ("", place.name):
            raise errors.BadRequest("name in URL does not match name in Eviction object")
        eviction, warnings = await self._verbs.admission.consult(call.sent(eviction))
        options = call.deletion(eviction.delete_options or meta.DeleteOptions())
        await self._verbs.evictions.evict(place.namespace, place.name, options)
        return self._success(call, warnings)

    def _success(self, call: Call, warnings: tuple[str, ...]) -> web.StreamResponse:
        success = meta.Status(status="Success", code=_CREATED)
        return self._answer(call, success, codec.encode_json(success), _CREATED, warnings)

    def _answer(
        self, call: Call, obj: Any, raw: bytes, code: int = 200, warnings: tuple[str, ...] = ()
    ) -> web.Response:
        output, now, include = call.output, self._verbs.clock.now(), call.include
        return answer(output, rest_forms.object_body(call.kind, output, obj, raw, now, include), code, warnings)
