"""Label and field selectors."""

from __future__ import annotations

import pytest

from mizzen.api import field_selectors, kinds, selectors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (x,y)", {"a": "y"}, True),
        ("a in (x,y)", {"a": "z"}, False),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("!a", {"a": "1"}, False),
        ("a>3", {"a": "4"}, True),
        ("a>3", {"a": "x"}, False),
        ("a<3", {"a": "2"}, True),
        ("a<3", {}, False),
        ("a=b,c in (x),!d", {"a": "b", "c": "x"}, True),
        ("a=b,c in (x),!d", {"a": "b", "c": "x", "d": ""}, False),
        ("in in (in,notin)", {"in": "notin"}, True),
        ("a in (,x)", {"a": ""}, True),
    ],
)
def test_text_form(text: str, labels: dict[str, str], matches: bool) -> None:
    selector = selectors.parse(text)
    assert selector.matches(labels) is matches
    assert selectors.parse(str(selector)).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b,", "found '', expected: identifier after ','"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a in (x", "found '', expected: ',' or ')'"),
        ("a in (x y)", "found 'y', expected: ',' or ')'"),
        ("!a=b", "unable to parse requirement: found '='"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a>x", "the value must be an integer"),
        ("-a", "name part must consist of"),
        ("a=b/c", "a valid label must be"),
    ],
)
def test_malformed_text(text: str, message: str) -> None:
    with pytest.raises(selectors.SelectorError) as caught:
        selectors.parse(text)
    assert message in str(caught.value)


def test_field_form() -> None:
    field = meta.LabelSelector(
        match_labels={"app": "web"},
        match_expressions=(
            meta.LabelSelectorRequirement(key="tier", operator="In", values=("a", "b")),
            meta.LabelSelectorRequirement(key="old", operator="DoesNotExist"),
        ),
    )
    selector = selectors.from_field(field)
    assert str(selector) == "app=web,!old,tier in (a,b)"
    assert selector.exact == (("app", "web"),)
    assert selector.matches({"app": "web", "tier": "b"})
    assert not selector.matches({"app": "web", "tier": "b", "old": "1"})


def test_missing_selects_nothing_and_empty_everything() -> None:
    assert not selectors.from_field(None).matches({})
    assert selectors.from_field(meta.LabelSelector()).matches({"a": "b"})
    assert selectors.from_field(meta.LabelSelector()).everything


def test_unknown_operator() -> None:
    broken = meta.LabelSelector(match_expressions=(meta.LabelSelectorRequirement(key="a", operator="Near"),))
    with pytest.raises(selectors.SelectorError, match='"Near" is not a valid label selector operator'):
        selectors.from_field(broken)


POD = core.Pod(
    metadata=meta.ObjectMeta(name="p", namespace="ns"),
    spec=core.PodSpec(node_name="n1"),
    status=core.PodStatus(phase="Running"),
)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=p", True),
        ("metadata.name==p,metadata.namespace=ns", True),
        ("status.phase!=Running", False),
        ("spec.nodeName=n1,status.phase=Running", True),
        ("spec.nodeName!=", True),
        ("status.podIP=", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_field_selector(text: str, matches: bool) -> None:
    assert field_selectors.parse(kinds.POD, text).matches(POD) is matches


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (kinds.POD, "spec.foo=1", "field label not supported: spec.foo"),
        (
            kinds.DEPLOYMENT,
            "spec.foo=1",
            '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (kinds.POD, "abc", "invalid selector: 'abc'; can't understand 'abc'"),
        (kinds.POD, "status.phase=a=b", "unescaped '='"),
    ],
)
def test_malformed_field_selector(kind: kinds.Kind[core.Pod], text: str, message: str) -> None:
    with pytest.raises(selectors.SelectorError) as caught:
        field_selectors.parse(kind, text)
    assert message in str(caught.value)


def test_escapes() -> None:
    selector = field_selectors.parse(kinds.POD, r"metadata.name=a\,b\=c")
    assert selector.exact("metadata.name") == "a,b=c"


def test_event_reference() -> None:
    event = core.Event(involved_object=core.ObjectReference(kind="Pod", name="p", api_version="v1"))
    text = "involvedObject.kind=Pod,involvedObject.name=p,involvedObject.apiVersion=v1"
    assert field_selectors.parse(kinds.EVENT, text).matches(event)
