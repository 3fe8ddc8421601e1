"""Strategic merge patch: a merge patch that knows from the schema how lists merge.

Lists with a *merge key* merge item by item, lists of scalars marked so merge as sets, all others are replaced. A patch
may carry directives:

* `$patch: replace | delete | merge` in an object or in an item of a list,
* `$retainKeys: [...]`: of this object only these fields stay,
* `$deleteFromPrimitiveList/<field>: [...]`: these scalars go,
* `$setElementOrder/<field>: [...]`: the order of the items that the patch's author knows; what only the server has
  keeps its place among them.

Works on plain JSON values and changes none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.api import schema
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.schema import Field, MessageSchema

Json = dict[str, Any]
Identity = Callable[[Any], Any]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def merge(original: Json, patch: Json, message: MessageSchema | None) -> Json:
    """The object after the patch; without a schema its lists are replaced.

    Raises BadRequest for a malformed patch and an ApiError with code 422 for an item without its merge key.
    """
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _without_directives(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _bad_directive(directive)
    result = dict(original)
    rest = {key: value for key, value in patch.items() if key != _PATCH}
    _retain_keys(result, rest)
    for key in [key for key in rest if key.startswith(_ORDER)]:
        _merge_in_order(result, rest, key, message)
    for key, value in rest.items():
        if key.startswith(_DELETE):
            _delete_scalars(result, key.removeprefix(_DELETE), value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value, _field(message, key))
    return result


def _merged(old: Any, new: Any, field: Field | None) -> Any:
    """One field's value after the patch; what is of another type or was not there is taken from the patch."""
    if isinstance(old, dict) and isinstance(new, dict):
        if field is not None and "replace" in field.patch_strategy:
            return _without_directives(new)
        return merge(old, new, _message_of(field))
    if isinstance(old, list) and isinstance(new, list):
        return _merge_lists(old, new, field)
    return _fresh(new)


def _field(message: MessageSchema | None, key: str) -> Field | None:
    return message.by_json_name.get(key) if message else None


def _message_of(field: Field | None) -> MessageSchema | None:
    """The schema of a field's value, or of its items; none for maps and free-form values."""
    if field is None or field.type != "message" or field.cardinality == "map":
        return None
    return schema.message(field.message)


# Objects


def _retain_keys(result: Json, patch: Json) -> None:
    """Takes the directive out of the patch and every other field out of the result."""
    if _RETAIN not in patch:
        return
    retained = patch.pop(_RETAIN)
    if not isinstance(retained, list):
        raise BadRequest("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and not key.startswith((_ORDER, _DELETE)) and key not in retained:
            raise BadRequest(f'invalid patch format of retainKeys: "{key}" is set but not retained')
    for key in [key for key in result if key not in retained]:
        del result[key]


def _fresh(value: Any) -> Any:
    """A value that is new to the object: its nulls mean nothing, its directives have nothing to act on."""
    if isinstance(value, dict):
        return _without_directives(value)
    if isinstance(value, list):
        return [_fresh(item) for item in value if not (isinstance(item, dict) and _only_acts(item))]
    return value


def _without_directives(value: Json) -> Json:
    return {key: _fresh(item) for key, item in value.items() if item is not None and not _is_directive(key)}


def _is_directive(key: str) -> bool:
    return key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE))


def _only_acts(item: Json) -> bool:
    """Whether an item of a list only tells what to do with the list or another item."""
    return item.get(_PATCH) == "delete" or list(item) == [_PATCH]


# Lists


def _merge_lists(old: list[Any], new: list[Any], field: Field | None) -> list[Any]:
    if field is None or "merge" not in field.patch_strategy:
        fresh: list[Any] = _fresh(new)
        return fresh
    identity = _identity(field)
    if field.merge_key:
        merged, replaced = _merge_items(old, new, field, identity)
        if replaced:
            return merged
    else:
        merged = list(dict.fromkeys(map(identity, old + new)))
    return _ordered(merged, [identity(item) for item in new if not _acts(item)], old, identity)


def _merge_items(old: list[Any], new: list[Any], field: Field, identity: Identity) -> tuple[list[Any], bool]:
    """The items after the patch, in no particular order, and whether they replaced the old ones altogether.

    A merge key need not be unique (a port number may come once per protocol): the first item that has it is meant, but
    a deletion means all.
    """
    items = list(old)
    replace = False
    for item in new:
        directive = item.get(_PATCH) if isinstance(item, dict) else None
        if directive == "replace":
            replace = True
        elif directive == "delete":
            items = [other for other in items if identity(other) != identity(item)]
        elif directive is not None:
            raise _bad_directive(directive)
    plain = [item for item in new if not _acts(item)]
    if replace:
        return _fresh(plain), True
    message = _message_of(field)
    for item in plain:
        key = identity(item)
        at = next((i for i, other in enumerate(items) if identity(other) == key), None)
        if at is None:
            items.append(_fresh(item))
        else:
            items[at] = merge(items[at], item, message)
    return items, False


def _merge_in_order(result: Json, patch: Json, directive: str, message: MessageSchema | None) -> None:
    """Merges the list that a `$setElementOrder` is about, and takes both out of the patch."""
    key = directive.removeprefix(_ORDER)
    order = patch.pop(directive)
    field = _field(message, key)
    old, new = result.get(key), patch.pop(key, None)
    if field is None or not isinstance(order, list) or not all(isinstance(v, list | None) for v in (old, new)):
        raise BadRequest(f"invalid patch format of setElementOrder list: {directive}")
    if old is None and new is None:
        return
    identity = _identity(field)
    wanted = [identity(item) for item in order]
    _check_order([identity(item) for item in new or () if not _acts(item)], wanted, key)
    merged = _fresh(new) if old is None else old if new is None else _merge_lists(old, new, field)
    result[key] = _ordered(merged, wanted, old or [], identity)


def _acts(item: Any) -> bool:
    return isinstance(item, dict) and _PATCH in item


def _check_order(patched: list[Any], wanted: list[Any], key: str) -> None:
    """The patch's own items must all be in the order, and in that order."""
    remaining = iter(wanted)
    if not all(item in remaining for item in patched):
        raise BadRequest(
            f"invalid patch format of setElementOrder list: the order in the patch list of {key} {patched} "
            f"does not match {_ORDER}{key} {wanted}"
        )


def _ordered(items: list[Any], wanted: list[Any], before: list[Any], identity: Identity) -> list[Any]:
    """The items in the wanted order; those that it does not name keep their place relative to the old list."""
    rank = _first_places(wanted)
    place = _first_places([identity(item) for item in before])
    ours = sorted((item for item in items if identity(item) in rank), key=lambda item: rank[identity(item)])
    theirs = sorted(
        (item for item in items if identity(item) not in rank), key=lambda item: place.get(identity(item), len(place))
    )
    result: list[Any] = []
    while ours and theirs:
        left, right = place.get(identity(theirs[0])), place.get(identity(ours[0]))
        first = theirs if left is not None and right is not None and left < right else ours
        result.append(first.pop(0))
    return result + ours + theirs


def _first_places(keys: list[Any]) -> dict[Any, int]:
    return {key: len(keys) - 1 - i for i, key in enumerate(reversed(keys))}


def _delete_scalars(result: Json, key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest("invalid patch format of primitive list")
    if isinstance(result.get(key), list):
        result[key] = [item for item in result[key] if item not in values]


def _identity(field: Field) -> Identity:
    """What tells the items of a merging list apart: the value of the merge key, or a scalar itself."""
    merge_key = field.merge_key

    def scalar(item: Any) -> Any:
        if isinstance(item, (dict, list)):
            raise BadRequest(f"invalid JSON document: an item of {field.json_name} is no scalar: {item}")
        return item

    def by_key(item: Any) -> Any:
        if not isinstance(item, dict):
            raise BadRequest(f"invalid JSON document: an item of {field.json_name} is no object: {item}")
        if merge_key not in item:
            why = f"map: {item} does not contain declared merge key: {merge_key}"
            raise ApiError(why, code=422, reason="Invalid")
        return scalar(item[merge_key])

    return by_key if merge_key else scalar


def _bad_directive(directive: Any) -> BadRequest:
    return BadRequest(f"unknown patch type [{directive}]: a $patch is replace, delete or merge")
