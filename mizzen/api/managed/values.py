"""Walks over JSON values by their shapes: which fields are set, what differs, and how two values become one.

The semantics are those that the documentation of Kubernetes' server-side apply and of its library for structured
merges describes: maps and structs merge by key, lists of type `map` by the keys of their items, lists of type `set` by
value; everything else is a leaf and is replaced. Nothing here changes its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mizzen.api.managed import sets
from mizzen.api.managed.sets import LEAF, SELF, Node
from mizzen.api.managed.shapes import ANY, Shape

Json = dict[str, Any]


class BadValue(ValueError):
    """A value does not fit its type; `str()` lists every place and what is wrong there."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {one}" for one in problems))


@dataclass(frozen=True, slots=True)
class Difference:
    """How a value became another."""

    changed: Node
    """Fields that are new or have another value."""
    removed: Node
    """Fields that are no more."""


class _Many(list[Any]):
    """Items of a list that have the same keys: stored lists may have them, although they can't be told apart."""


def container(shape: Shape, value: Any) -> Literal["map", "list", ""]:
    """What a value is merged as; nothing for a leaf."""
    form = shape.form
    if form == "any":
        return "map" if isinstance(value, dict) else ""
    if shape.atomic:
        return ""
    return "list" if form == "list" else "map"


def _child(shape: Shape, name: str) -> Shape:
    return shape.child(name) or ANY


def _fits(value: Any, kind: str) -> Any:
    """The map or list, empty where it is unset or of another type."""
    if kind == "map":
        return value if isinstance(value, dict) else {}
    return value if isinstance(value, list) else []


# Items of lists


def step_to(item: Any, shape: Shape) -> str:
    """The step to an item of a list with this shape. Raises ValueError, saying what the item lacks."""
    if not shape.keys:
        if isinstance(item, dict | list) or item is None:
            raise ValueError("associative list without keys has an element that is not a scalar")
        return sets.value(item)
    if not isinstance(item, dict):
        raise ValueError("associative list with keys may not have non-map elements")
    keys = {}
    for name, default in shape.keys:
        found = item.get(name)
        keys[name] = found if found is not None else default
        if isinstance(keys[name], dict | list):
            raise ValueError(f'associative list with keys has an element whose key field "{name}" is not a scalar')
        if keys[name] is None:
            raise ValueError(
                f'associative list with keys has an element that omits key field "{name}" '
                "(and doesn't have default value)"
            )
    return sets.item(keys)


def _indexed(items: Iterable[Any], shape: Shape) -> dict[str, Any]:
    """The items of a list by their steps, in order; those that have no step can't be told from each other."""
    found: dict[str, Any] = {}
    for item in items:
        try:
            step = step_to(item, shape)
        except ValueError:
            step = sets.item({"": None})
        if step in found:
            before = found[step]
            found[step] = _Many([*(before if type(before) is _Many else [before]), item])
        else:
            found[step] = item
    return found


# Which fields are set


def fields_of(value: Json, shape: Shape) -> Node:
    """The fields that a configuration sets: its leaves, its lists' items and its maps' keys."""
    result: Node = {}
    for name, inner in value.items():
        child = _child(shape, name)
        below = _fields_below(inner, child)
        if below is None:
            continue
        if below and not shape.named(name):
            below = {SELF: LEAF, **below}
        result[sets.field(name)] = below
    return result


def _fields_below(value: Any, shape: Shape) -> Node | None:
    """The node of one value; None for an empty list, which says nothing about its items."""
    kind = container(shape, value)
    if value is None or not kind:
        return LEAF
    if kind == "map":
        return fields_of(_fits(value, kind), shape) if value else LEAF
    result: Node = {}
    for step, item in _indexed(_fits(value, kind), shape).items():
        below = LEAF if type(item) is _Many else _fields_below(item, shape.item)
        result[step] = {SELF: LEAF, **below} if below else LEAF
    return result or None


def everything(value: Any, shape: Shape) -> Node:
    """The value and all that is in it."""
    kind = container(shape, value)
    if not kind or not value or type(value) is _Many:
        return LEAF
    result: Node = {SELF: LEAF}
    if kind == "map":
        for name, inner in _fits(value, kind).items():
            result[f"f:{name}"] = everything(inner, _child(shape, name))
    else:
        for step, item in _indexed(_fits(value, kind), shape).items():
            result[step] = everything(item, shape.item)
    return result


# What differs


def compare(old: Json, new: Json, shape: Shape) -> Difference:
    """How one object became another. The order of the items of merged lists does not count."""
    difference = Difference({}, {})
    _compare_maps(old, new, shape, difference)
    return difference


def _compare_maps(old: Json, new: Json, shape: Shape, found: Difference) -> None:
    for name, value in new.items():
        if name not in old:
            found.changed[f"f:{name}"] = everything(value, _child(shape, name))
        elif old[name] != value or isinstance(old[name], bool) != isinstance(value, bool):
            _compare(old[name], value, _child(shape, name), f"f:{name}", found)
    for name, value in old.items():
        if name not in new:
            found.removed[f"f:{name}"] = everything(value, _child(shape, name))


def _compare_lists(old: list[Any], new: list[Any], shape: Shape, found: Difference) -> None:
    before, after = _indexed(old, shape), _indexed(new, shape)
    for step, item in after.items():
        if step not in before:
            found.changed[step] = everything(item, shape.item)
        elif before[step] != item:
            if _Many in (type(item), type(before[step])):
                found.changed[step] = LEAF
            else:
                _compare(before[step], item, shape.item, step, found)
    for step, item in before.items():
        if step not in after:
            found.removed[step] = everything(item, shape.item)


def _compare(old: Any, new: Any, shape: Shape, step: str, found: Difference) -> None:
    """Two values that are not the same, at one step."""
    kind = container(shape, new)
    if kind != container(shape, old):
        found.changed[step] = everything(new, shape)
        if below := {name: node for name, node in everything(old, shape).items() if name != SELF}:
            found.removed[step] = below
        return
    before, after = _fits(old, kind), _fits(new, kind)
    if not kind or not (before or after):
        found.changed[step] = LEAF
        return
    inner = Difference({}, {})
    (_compare_maps if kind == "map" else _compare_lists)(before, after, shape, inner)
    if inner.changed:
        found.changed[step] = inner.changed
    if inner.removed:
        found.removed[step] = inner.removed


# Merging


def merge(live: Json, config: Json, shape: Shape) -> Json:
    """The live object with the configuration over it; what the configuration does not name stays."""
    result = dict(live)
    for name, value in config.items():
        result[name] = _merged(live[name], value, _child(shape, name)) if name in live else value
    return result


def _merged(live: Any, config: Any, shape: Shape) -> Any:
    kind = container(shape, config)
    if kind != container(shape, live) and config is not None:
        return config
    before, over = _fits(live, kind), _fits(config, kind)
    if not kind or not (before or over):
        return config
    return merge(before, over, shape) if kind == "map" else _merge_lists(before, over, shape)


def _merge_lists(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    """The applied items stand in the order in which they were applied; what is only live keeps its place among them."""
    before, over = _indexed(live, shape), _indexed(config, shape)
    waiting = [step for step in over if step in before]
    rest = iter(over)
    result: list[Any] = []

    def take(until: str | None) -> None:
        for step in rest:
            have = before.get(step)
            plain = have is None or type(have) is _Many
            result.append(over[step] if plain else _merged(have, over[step], shape.item))
            if step == until:
                return

    for step, item in before.items():
        if step not in over:
            result.extend(item if type(item) is _Many else [item])
        elif waiting and waiting[0] == step:
            take(step)
            del waiting[0]
        # Another item that both have waits until it is its turn in the applied order.
    take(None)
    return result


def prune(merged: Json, last: Node, owned: Node, shape: Shape) -> Json | None:
    """The object without what its applier applied last time (`last`) and now nobody owns (`owned`); None: nothing left.

    A struct counts as applied, or as owned, when something in it is: it goes as a whole, with what was filled in.
    """
    result: Json = {}
    for name, value in merged.items():
        named, child = shape.named(name), _child(shape, name)
        kept, rest = _pruned(value, last.get(f"f:{name}"), owned.get(f"f:{name}"), child, named=named)
        if kept:
            result[name] = rest
    return result or None


def _pruned(value: Any, last: Node | None, owned: Node | None, shape: Shape, *, named: bool) -> tuple[bool, Any]:
    """Whether a value stays, and what of it."""
    if last is None:
        return True, value
    mine = named or sets.is_member(last)
    others = owned is not None and (named or sets.is_member(owned))
    if mine and not others:
        return False, None
    kind = container(shape, value)
    if not kind or not value:
        return True, value
    # What has lost all that was in it is unset, unless somebody else wants it even empty.
    wanted = owned is not None and sets.is_member(owned)
    if kind == "map":
        rest = prune(_fits(value, kind), last, owned or LEAF, shape)
        return True, {} if rest is None and wanted else rest
    result = []
    for step, items in _indexed(_fits(value, kind), shape).items():
        below = LEAF if owned is None else owned.get(step)
        for item in items if type(items) is _Many else [items]:
            kept, rest = _pruned(item, last.get(step), below, shape.item, named=False)
            if kept:
                result.append(rest)
    return True, result or ([] if wanted else None)


# Checking


def checked(config: Json, shape: Shape) -> Json:
    """The configuration with its scalars in canonical form. Raises BadValue for what can't be merged."""
    problems: list[str] = []
    result: Json = _checked(config, shape, "", problems)
    if problems:
        raise BadValue(problems)
    return result


def _checked(value: Any, shape: Shape, path: str, problems: list[str]) -> Any:
    if value is None:
        return None
    form = shape.form
    if form == "any":
        return value
    if form == "scalar":
        return shape.canonical(value)
    if form == "list":
        return _checked_list(value, shape, path, problems)
    if not isinstance(value, dict):
        problems.append(f"{path}: expected map, got {_short(value)}")
        return value
    result = {}
    for name, inner in value.items():
        child = shape.child(name)
        if child is None:
            problems.append(f"{path}.{name}: field not declared in schema")
            continue
        result[name] = _checked(inner, child, f"{path}.{name}", problems)
    return result


def _checked_list(value: Any, shape: Shape, path: str, problems: list[str]) -> Any:
    if not isinstance(value, list):
        problems.append(f"{path}: expected list, got {_short(value)}")
        return value
    if shape.atomic:
        return [_checked(item, shape.item, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    result, seen = [], set()
    for i, item in enumerate(value):
        try:
            step = step_to(item, shape)
        except ValueError as error:
            problems.append(f"{path}: element {i}: {error}")
            continue
        shown = sets.shown_keys(step)
        if step in seen:
            problems.append(f"{path}: duplicate entries for key {shown}")
        seen.add(step)
        result.append(_checked(item, shape.item, f"{path}{shown}", problems))
    return result


def _short(value: Any) -> str:
    return (
        "null"
        if value is None
        else {dict: "map", list: "list", str: "string", bool: "boolean"}.get(type(value), "number")
    )
