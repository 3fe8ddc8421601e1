"""Kubernetes' libraries for URLs, IP addresses and ranges of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from cel_expr_python import cel

from mizzen.api.cel import values
from mizzen.api.cel.functions import ANY, BOOL, INT, TEXT, TEXTS, NoSuchOverload, member, plain

_IP, _CIDR, _URL = "net.IP", "net.CIDR", "kubernetes.URL"
_PATH = "/:@!$&'()*+,;=~%"


def overloads() -> list[tuple[str, Any]]:
    """All of them."""
    return [*_addresses(), *_ranges(), *_urls()]


def _addresses() -> list[tuple[str, Any]]:
    kind, range_ = values.type_of(_IP), values.type_of(_CIDR)
    tests: dict[str, Callable[[Any], bool]] = {
        "isUnspecified": lambda ip: ip.is_unspecified,
        "isLoopback": lambda ip: ip.is_loopback,
        "isLinkLocalMulticast": _is_link_local_multicast,
        "isLinkLocalUnicast": lambda ip: ip.is_link_local,
        "isGlobalUnicast": lambda ip: not (
            ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local or str(ip) == "255.255.255.255"
        ),
    }
    return [
        plain("ip", kind, [TEXT], lambda text: values.made(_IP, text=str(_ip(text)))),
        member("ip", kind, [range_], lambda one: values.made(_IP, text=one.text.partition("/")[0])),
        plain("isIP", BOOL, [TEXT], lambda text: _works(_ip, text)),
        plain("ip.isCanonical", BOOL, [TEXT], lambda text: str(_ip(text)) == text),
        member("family", INT, [kind], lambda one: _ip(one.text).version),
        *(member(name, BOOL, [kind], _test(test)) for name, test in tests.items()),
    ]


def _test(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda one: test(_ip(one.text))


def _is_link_local_multicast(ip: Any) -> bool:
    return str(ip).startswith("224.0.0.") if ip.version == 4 else ip.packed[0] == 0xFF and ip.packed[1] & 15 == 2


def _ranges() -> list[tuple[str, Any]]:
    kind = values.type_of(_CIDR)
    return [
        plain("cidr", kind, [TEXT], lambda text: values.made(_CIDR, text=str(_cidr(text)))),
        plain("isCIDR", BOOL, [TEXT], lambda text: _works(_cidr, text)),
        member("containsIP", BOOL, [kind, ANY], lambda one, ip: _address(ip) in _cidr(one.text).network),
        member("containsCIDR", BOOL, [kind, ANY], _contains_range),
        member("masked", kind, [kind], lambda one: values.made(_CIDR, text=str(_cidr(one.text).network))),
        member("prefixLength", INT, [kind], lambda one: _cidr(one.text).network.prefixlen),
    ]


def _address(given: Any) -> Any:
    if isinstance(given, str):
        return _ip(given)
    if values.name_of(given) != _IP:
        raise NoSuchOverload
    return _ip(given.text)


def _contains_range(one: Any, other: Any) -> bool:
    if not isinstance(other, str) and values.name_of(other) != _CIDR:
        raise NoSuchOverload
    outer, inner = _cidr(one.text).network, _cidr(other if isinstance(other, str) else other.text).network
    return outer.version == inner.version and inner.subnet_of(outer)


def _ip(text: str) -> Any:
    address = ipaddress.ip_address(text)
    if "%" in text:
        raise ValueError(f"IP Address {text!r} with zone value is not allowed")
    if address.version == 6 and address.ipv4_mapped is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {text!r} is not allowed")
    return address


def _cidr(text: str) -> Any:
    address, slash, length = text.partition("/")
    if not slash or not length.isdigit():
        raise ValueError(f"network address parse error during conversion from string: {text!r} has no prefix length")
    _ip(address)
    return ipaddress.ip_interface(text)


def _urls() -> list[tuple[str, Any]]:
    kind = values.type_of(_URL)
    return [
        plain("url", kind, [TEXT], lambda text: values.made(_URL, text=text) if _url(text) else None),
        plain("isURL", BOOL, [TEXT], lambda text: _works(_url, text)),
        member("getScheme", TEXT, [kind], lambda one: _url(one.text).scheme),
        member("getHost", TEXT, [kind], lambda one: _url(one.text).netloc.rpartition("@")[2]),
        member("getHostname", TEXT, [kind], lambda one: _url(one.text).hostname or ""),
        member("getPort", TEXT, [kind], lambda one: _port(_url(one.text))),
        member("getEscapedPath", TEXT, [kind], lambda one: quote(_url(one.text).path, safe=_PATH)),
        member("getQuery", cel.Type.Map(TEXT, TEXTS), [kind], _query),
    ]


def _port(url: SplitResult) -> str:
    return "" if url.port is None else str(url.port)


def _query(one: Any) -> dict[str, list[str]]:
    return parse_qs(_url(one.text).query, keep_blank_values=True)


def _url(text: str) -> SplitResult:
    """An absolute URL, or an absolute path."""
    url = urlsplit(text)
    if not (text.startswith("/") or (url.scheme and (url.netloc or url.path))) or any(c <= " " for c in text):
        raise ValueError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    _port(url)
    return url


def _works(make: Callable[[str], Any], text: str) -> bool:
    try:
        make(text)
    except ValueError:
        return False
    return True
