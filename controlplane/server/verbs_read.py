"""Getting, listing and watching objects, in bytes: one implementation for REST and gRPC.

What it is not: it knows no HTTP, no tables, no user; who may ask has been decided.

Vocabulary
- *fresh*: after everything that was acknowledged before the request. A request without a resource version is fresh.
- *confirmed*: as the log tells it, which is what lists and watches show; see `mizzen.engine.replica`.
- *continue token*: where the next page of a list begins and at which version it is taken.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane.server.components import Components
from controlplane.server.conversions import Conversions
from controlplane.server.representations import shown, storage
from controlplane.server.usage import Usages
from controlplane.store.registry import Registry
from mizzen.api import errors, field_selectors, kinds, selectors
from mizzen.api.custom import CustomKind
from mizzen.api.errors import BadRequest, FieldError
from mizzen.api.kinds import Kind
from mizzen.engine.entry import Entry

PAGE = 500
"""Entries that are looked through at once for a selective list with a limit."""

_DIGITS_MAX = 20
_VERSION_MAX = (1 << 64) - 1
_INCONSISTENT = -1
_TOKEN_VERSION = "meta.k8s.io/v1"

EXACT = "Exact"
NOT_OLDER = "NotOlderThan"


@dataclass(frozen=True, slots=True)
class ListOptions:
    """How to list or watch; the fields mean what they mean in Kubernetes."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_: str = ""
    resource_version: str = ""
    resource_version_match: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list or one page of it."""

    entries: Sequence[Entry]
    version: int
    continue_: str = ""
    remaining: int | None = None
    """How many follow; None where that is not known."""


class _Token(msgspec.Struct):
    """What a continue token says."""

    rv: int
    """The version of the list; `_INCONSISTENT` for whatever is there now."""
    start: str
    v: str = _TOKEN_VERSION


_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. List again without it, or go on "
    "with the token in this answer: what follows is then as it is now, and may not fit what came before."
)

Matches = Callable[[Entry], bool]


def matcher(kind: Kind[Any], label_selector: str, field_selector: str) -> Matches | None:
    """What tells whether an entry is meant; None when all are. Raises BadRequest for what cannot be understood."""
    try:
        labels = selectors.parse(label_selector)
        fields = field_selectors.parse(kind, field_selector)
    except selectors.SelectorError as error:
        raise BadRequest(str(error)) from error
    if labels.everything and not fields.terms:
        return None
    if not fields.terms:
        fits = labels.matcher
        return lambda entry: fits((entry.decoded or entry.object()).metadata.labels)
    name = fields.exact("metadata.name")

    def matches(entry: Entry) -> bool:
        if name is not None and entry.name != name:
            return False
        obj = shown(kind, entry.object())
        return labels.matches(obj.metadata.labels) and fields.matches(obj)

    return matches


def only_name(field_selector: str) -> str:
    """The name that a selective list or watch is limited to; empty where there is not exactly one."""
    found = [
        part.removeprefix("metadata.name=")
        for part in field_selector.split(",")
        if part.startswith("metadata.name=") and not part.startswith("metadata.name==")
    ]
    return found[0] if len(found) == 1 else ""


def version_of(text: str) -> int:
    """The number in a resource version; 0 for an empty one. Raises BadRequest."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS_MAX or int(text) > _VERSION_MAX:
        raise BadRequest(f"invalid resource version: {not_a_version(text)}")
    return int(text)


def not_a_version(text: str) -> FieldError:
    """What is wrong with a text that is no resource version."""
    why = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    return FieldError.invalid("resourceVersion", text, f"strconv.ParseUint: parsing {errors.quoted(text)}: {why}")


def _invalid_options(error: FieldError) -> errors.Invalid:
    return errors.Invalid(errors.Named("meta.k8s.io", "listoptions", "ListOptions"), "", [error])


def check_match(options: ListOptions) -> None:
    """Raise Invalid for a combination of version and match that has no meaning."""
    match = options.resource_version_match
    if not match:
        return
    field = "resourceVersionMatch"
    if match not in (EXACT, NOT_OLDER):
        raise _invalid_options(FieldError.unsupported(field, match, (EXACT, NOT_OLDER)))
    if options.continue_:
        raise _invalid_options(FieldError.forbidden(field, "resourceVersionMatch is forbidden with continue"))
    if not options.resource_version:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise _invalid_options(FieldError.forbidden(field, why))
    if match == EXACT and options.resource_version == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise _invalid_options(FieldError.forbidden(field, why))


class Reads:
    """The verbs that change nothing."""

    def __init__(self, registry: Registry, conversions: Conversions, usages: Usages, components: Components) -> None:
        """Read from `registry`; what is asked for in another form goes through `conversions`.

        What is not stored but measured comes from `usages`, and what is looked at when it is asked for from
        `components`.
        """
        self._registry = registry
        self._conversions = conversions
        self._usages = usages
        self._components = components

    async def get(self, kind: Kind[Any], namespace: str, name: str, resource_version: str = "") -> Entry:
        """One object. Raises NotFound; Timeout when the version asked for does not come."""
        if kind is kinds.COMPONENT_STATUS:
            # Also while the store does not answer: that is what is asked for.
            return await self._components.get(name)
        if resource_version:
            await self.at_least(resource_version)
        else:
            await self._registry.fresh()
        if kind in kinds.MEASURED:
            return self._usages.get(kind, namespace, name)
        entry = self._registry.cache.entry(storage(kind), namespace, name)
        if entry is None:
            raise errors.NotFound(kind, name)
        return (await self._conversions.entries(kind, (entry,)))[0] if isinstance(kind, CustomKind) else entry

    async def at_least(self, resource_version: str) -> None:
        """Wait until what is read is new enough: fresh for an empty version, anything for `0`."""
        if not resource_version:
            await self._registry.fresh()
        elif (version := version_of(resource_version)) > self._registry.revision:
            await self._registry.reach(version)

    async def list(self, kind: Kind[Any], namespace: str, options: ListOptions) -> Listing:
        """A list, or one page of it. Raises BadRequest, Invalid, Expired (list again from the start) or Timeout."""
        check_match(options)
        matches = matcher(kind, options.label_selector, options.field_selector)
        limit = max(options.limit, 0)
        if kind is kinds.COMPONENT_STATUS:
            # Selectors are ignored, as Kubernetes does.
            return Listing(await self._components.every(), self._registry.revision)
        if kind in kinds.MEASURED:
            found = [entry for entry in self._usages.every(kind, namespace) if matches is None or matches(entry)]
            return Listing(found, self._registry.revision)
        if not options.continue_:
            return await self._page(kind, namespace, limit, matches, await self._start(options), None)
        token, after = _resumed(kind, namespace, options)
        # No version of our own making is ahead of the store; a token of another store's may be.
        await self.at_least("" if token.rv == _INCONSISTENT else str(token.rv))
        version = self._registry.revision if token.rv == _INCONSISTENT else token.rv
        try:
            return await self._page(kind, namespace, limit, matches, version, after)
        except errors.Expired as error:
            expired = errors.Expired(_EXPIRED)
            expired.continue_ = _token_text(_INCONSISTENT, token.start)
            raise expired from error

    async def _start(self, options: ListOptions) -> int:
        """The version that the list is taken at."""
        exact = options.resource_version_match == EXACT
        if not options.resource_version_match and options.limit and options.resource_version not in ("", "0"):
            exact = True  # as etcd-backed lists have always read it
        await self.at_least(options.resource_version)
        return version_of(options.resource_version) if exact else self._registry.revision

    async def _page(
        self,
        kind: Kind[Any],
        namespace: str,
        limit: int,
        matches: Matches | None,
        version: int,
        after: tuple[str, str] | None,
    ) -> Listing:
        """Entries from `after` on, until there are `limit` that match."""
        found: list[Entry] = []
        while True:
            step = limit if matches is None or not limit else max(PAGE, limit)
            page = await self._registry.page(storage(kind), namespace, step, version=version, after=after)
            version = page.version
            entries = await self._conversions.entries(kind, page.entries)
            if matches is None:
                return self._listing(entries, version, page.remaining, counted=True)
            if not limit:
                return Listing(list(filter(matches, entries)), version)
            for place, entry in enumerate(entries):
                if matches(entry):
                    found.append(entry)
                if len(found) == limit:
                    left = len(page.entries) - place - 1 + page.remaining
                    return self._listing(found, version, left, counted=False)
            if not page.remaining or not page.entries:
                return Listing(found, version)
            after = (page.entries[-1].namespace, page.entries[-1].name)

    def _listing(self, found: Sequence[Entry], version: int, left: int, *, counted: bool) -> Listing:
        if not left or not found:
            return Listing(found, version)
        last = found[-1]
        text = _token_text(version, f"{last.namespace}/{last.name}")
        return Listing(found, version, text, left if counted else None)


def _token_text(version: int, start: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(version, start))).decode().rstrip("=")


def _resumed(kind: Kind[Any], namespace: str, options: ListOptions) -> tuple[_Token, tuple[str, str]]:
    """What the continue token says, and the namespace and name that it goes on after. Raises BadRequest."""
    if options.resource_version not in ("", "0"):
        raise BadRequest("specifying resource version is not allowed when using continue")
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(options.continue_ + "=="), type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise BadRequest(f"continue key is not valid: {error}") from error
    last, _, name = token.start.rpartition("/")
    if token.v != _TOKEN_VERSION or (token.rv != _INCONSISTENT and not 0 < token.rv <= _VERSION_MAX):
        raise BadRequest(f"continue key is not valid: incorrect encoded resourceVersion (version {token.v})")
    if not name or "/" in last or kind.namespaced is not bool(last) or namespace not in ("", last):
        raise BadRequest("continue key is not valid: it belongs to a list of something else")
    return token, (last, name)
