"""Laws that hold for every quantity, selector and patch."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mizzen.api import patch, quantity, schema, selectors, strategic, times

LAW = settings(max_examples=100, deadline=None)

SUFFIXES = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-2"])
NUMBERS = st.from_regex(r"-?[0-9]{1,12}(\.[0-9]{0,6})?", fullmatch=True)
QUANTITIES = st.builds(str.__add__, NUMBERS, SUFFIXES)

KEYS = st.sampled_from(["a", "b", "c", "d"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "y"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
DOCUMENTS = st.dictionaries(KEYS, JSON, max_size=4)


def without_nulls(value: Any) -> Any:
    """A document such as objects are: no null as a field."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def exactly(value: Any) -> Any:
    """A form in which `true` is not `1`."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    return [exactly(item) for item in value] if isinstance(value, list) else (type(value), value)


@LAW
@given(QUANTITIES)
def test_canonical_quantities_keep_their_value(text: str) -> None:
    canonical = quantity.canonical(text)
    assert quantity.parse(canonical).nano == quantity.parse(text).nano
    assert quantity.canonical(canonical) == canonical


@LAW
@given(QUANTITIES, QUANTITIES)
@example("1Ki", "10000000000G")
def test_sums_of_quantities(left: str, right: str) -> None:
    total = quantity.add(left, right)
    assert quantity.parse(total).nano == quantity.parse(left).nano + quantity.parse(right).nano
    assert quantity.compare(quantity.sub(total, right), left) == 0


@LAW
@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_instants_survive(ms: int) -> None:
    assert times.parse(times.render_micro(ms)) == ms
    assert times.parse(times.render(ms)) == ms // 1000 * 1000


@LAW
@given(DOCUMENTS, DOCUMENTS)
def test_merge_patches_lead_where_they_shall(before: dict[str, Any], after: dict[str, Any]) -> None:
    before, after = without_nulls(before), without_nulls(after)
    made = patch.create_merge_patch(before, after)
    assert exactly(patch.apply_merge_patch(before, made)) == exactly(after)
    assert patch.create_merge_patch(after, after) == {}


@LAW
@given(DOCUMENTS, DOCUMENTS, DOCUMENTS)
def test_three_way_patches_give_what_is_wanted(
    last: dict[str, Any], wanted: dict[str, Any], current: dict[str, Any]
) -> None:
    last, wanted, current = without_nulls(last), without_nulls(wanted), without_nulls(current)
    result = patch.apply_merge_patch(current, patch.create_three_way_patch(last, wanted, current))
    # What is wanted is there, and applying it again changes nothing.
    assert patch.create_three_way_patch(wanted, wanted, result) == {}


NAMES = st.lists(st.sampled_from("abcdefg"), unique=True, max_size=6)


@LAW
@given(NAMES, NAMES)
def test_strategic_patches_of_lists_obey_the_order(before: list[str], after: list[str]) -> None:
    current = {"spec": {"containers": [{"name": name, "image": "old"} for name in before]}}
    order = [{"name": name} for name in after]
    body = {
        "spec": {
            "$setElementOrder/containers": order,
            "containers": [{"name": name, "image": "new"} for name in after],
        }
    }
    result = strategic.merge(current, body, schema.message("core_v1.Pod"))["spec"].get("containers", [])
    names = [item["name"] for item in result]
    assert sorted(names) == sorted({*before, *after})
    assert [name for name in names if name in after] == after
    assert [name for name in names if name not in after] == [name for name in before if name not in after]
    assert all((item["image"] == "new") == (item["name"] in after) for item in result)


LABELS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "1", "2", "10"]), max_size=3)
REQUIREMENTS = st.builds(
    str.__add__,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["", "=", "=1", "==2", "!=1", " in (1,2)", " notin (1,10)", " in ()", ">1", "<5"]),
) | st.sampled_from(["!a", "!b"])


@LAW
@given(st.lists(REQUIREMENTS, max_size=4), LABELS)
def test_selectors_mean_the_same_written_again(parts: list[str], labels: dict[str, str]) -> None:
    selector = selectors.parse(",".join(parts))
    assert selectors.parse(str(selector)).matches(labels) == selector.matches(labels)
    assert selector.matches(labels) == all(selectors.parse(part).matches(labels) for part in parts)
