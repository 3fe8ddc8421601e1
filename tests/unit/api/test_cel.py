"""Kubernetes' libraries in expressions, and how mutations write objects."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.cel import builders
from mizzen.api.cel.policy import Compiler, Evaluation, EvaluationFailed


def value(text: str) -> Any:
    return Evaluation({"object": {"a": [3, 1, 2]}}, {}, 10_000_000).value(Compiler().expression(text))


@pytest.mark.parametrize(
    "text",
    [
        "quantity('1500m').add(quantity('500m')).asInteger() == 2",
        "quantity('2').sub(1).isInteger() && quantity('-1').sign() == -1 && !isQuantity('x')",
        "quantity('1Gi').compareTo(quantity('1Gi')) == 0 && quantity('0.5').asApproximateFloat() == 0.5",
        "semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('v1.2', true).minor() == 2 && !isSemver('v1.2')",
        "semver('1.10.0').isGreaterThan(semver('1.9.9')) && semver('1.0.0-a.2').isLessThan(semver('1.0.0-a.10'))",
        "ip('::1').isLoopback() && ip('10.0.0.1').family() == 4 && !isIP('10.0.0') && ip('8.8.8.8').isGlobalUnicast()",
        "!ip.isCanonical('2001:DB8::1') && ip.isCanonical('2001:db8::1') && ip('ff02::1').isLinkLocalMulticast()",
        "cidr('10.1.2.3/8').containsIP('10.9.9.9') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && !cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').prefixLength() == 8",
        "cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && !isCIDR('10.0.0.0')",
        "url('https://u@a.example:80/x y').getHost() == 'a.example:80' || !isURL('https://u@a.example:80/x y')",
        "url('https://u@[::1]:80/x%20y?q=1&q=%2F').getHostname() == '::1' && url('https://a:80').getPort() == '80'",
        "url('https://a/?q=1&q=%2F').getQuery()['q'] == ['1', '/'] && url('/a/ä').getEscapedPath() == '/a/%C3%A4'",
        "url('https://a/').getScheme() == 'https' && !isURL('a/b') && !isURL('https://a:port/')",
        "sets.contains([1, 2, 3], [3, 1]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 2], [2, 1, 1])",
        "'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'a1b22'.findAll('[0-9]+', 1) == ['1'] && 'x'.find('[0-9]') == ''",
        "object.a.min() == 1 && object.a.max() == 3 && object.a.sum() == 6 && !object.a.isSorted()",
        "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'",
        "[1, 2].all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1) && [5, 6].existsOne(i, v, v == 5)",
        "[1, 2, 2].existsOne(v, v == 1) && ![2, 2].existsOne(v, v == 2)",
        "{'a': 1, 'b': 2}.transformList(k, v, v > 1, k) == ['b'] && [3, 4].transformList(i, v, i * v) == [0, 4]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v + 1) == {'a': 2, 'b': 3}",
        "[3, 4].transformMap(i, v, i > 0, v) == {1: 4} && object.a.transformMap(i, v, v).size() == 3",
        "{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}",
        "{'a': [1, 2]}.transformMap(k, v, v.transformMap(i, w, w)) == {'a': {0: 1, 1: 2}}",
        "!format.named('dns1123Label').value().validate('a-b').hasValue() && !format.named('no').hasValue()",
        "format.dns1123Label().validate('A b').value()[0].startsWith('a lowercase RFC 1123 label must')",
        "!format.dns1123LabelPrefix().validate('a-').hasValue() && format.dns1123Label().validate('a-').hasValue()",
        "format.uuid().validate('x').orValue([]) == ['does not match the UUID format']",
        "format.uri().validate('a b').hasValue() && !format.datetime().validate('2026-01-01T00:00:00Z').hasValue()",
        "optional.unwrap([optional.of(1), optional.none()]) == [1] && [optional.of(2)].unwrapOpt() == [2]",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(3) == -1",
        "'abcab'.indexOf('b') == 1 && 'abcab'.indexOf('b', 2) == 4 && 'abcab'.lastIndexOf('ab', 2) == 0",
        "[3, 1, 2].sort() == [1, 2, 3] && [1, 2].sortBy(x, -x) == [2, 1] && [1, 1].distinct() == [1]",
        "[1, [2]].flatten() == [1, 2] && [1, 2, 3].slice(1, 2) == [2] && lists.range(2) == [0, 1]",
        "string(ip('::1')) == '::1' && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && string(1) == '1'",
        "'x.transformMap(a, b, c)' == \"x.transformMap\" + '(a, b, c)'",
        "1 in [1].map(x, x).filter(y, y in [1].transformMap(i, v, v).map(k, k + 1))",
    ],
)
def test_what_libraries_say(text: str) -> None:
    assert value(text) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("quantity('x').sign() == 1", "quantities must match the regular expression"),
        ("quantity('1').isLessThan(semver('1.0.0'))", "no such overload"),
        ("quantity('1').isLessThan(1)", "no such overload"),
        ("quantity('0.5').asInteger() == 1", "cannot convert value to integer"),
        ("ip('::ffff:1.2.3.4').family() == 4", "IPv4-mapped IPv6 address '::ffff:1.2.3.4' is not allowed"),
        ("[1, 2].transformMapEntry(i, v, {'a': v}) == {}", "insert failed: key 'a' already exists"),
        ("lists.range(10001).size() == 1", "a range has at most 10000 numbers"),
        ("'ab'.indexOf('b', 3) == 1", "index out of range: 3"),
        (
            "[1, 2].all(i, v, lists.range(10000).all(x, lists.range(10000).all(y, y < 0)))",
            "operation cancelled: actual cost limit exceeded",
        ),
        ("url('a b').getHost() == ''", "URL parse error during conversion from string"),
    ],
)
def test_what_has_no_value(text: str, why: str) -> None:
    with pytest.raises(EvaluationFailed, match="resulted in error") as failed:
        value(text)
    assert why in str(failed.value)


@pytest.mark.parametrize(
    ("text", "maps"),
    [
        ("Object{spec: Object.spec{replicas: 3}}", '{"spec": {"replicas": 3}}'),
        ("Object{ a: [Object.a{b: {'c': x ? 1 : 2}}] }", "{ \"a\": [{\"b\": {'c': x ? 1 : 2}}] }"),
        ("Object{d: 'Object{'}", "{\"d\": 'Object{'}"),
        ("object.Object{}", "object.Object{}"),
        ("[JSONPatch{op: 'add', value: Object.spec{a: 1}}]", "[{\"op\": 'add', \"value\": {\"a\": 1}}]"),
        ("Object{__namespace__: 1, a__dash__b: 2, `c.d`: 3}", '{"namespace": 1, "a-b": 2, "c.d": 3}'),
        ("Object{?a: optional.none()}", '{?"a": optional.none()}'),
    ],
)  # fmt: skip
def test_built_objects_are_maps(text: str, maps: str) -> None:
    assert builders.as_maps(text)[0] == maps


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Object{spec: Object.other{}}", "unexpected type name 'Object.other', expected 'Object.spec'"),
        ("JSONPatch{operation: 'add'}", "undefined field 'operation'"),
        ("JSONPatch.x{op: 'add'}", "undeclared reference to 'JSONPatch.x'"),
    ],
)
def test_objects_that_cannot_be_built(text: str, why: str) -> None:
    with pytest.raises(builders.BadBuilder, match=why):
        builders.as_maps(text)
