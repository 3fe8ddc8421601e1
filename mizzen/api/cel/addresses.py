"""Kubernetes' libraries for URLs, IP addresses and ranges of them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from cel_expr_python import cel

from mizzen.api.cel import values
from mizzen.api.cel.functions import ANY, BOOL, INT, TEXT, TEXTS, NoSuchOverload, member, plain

_IP, _CIDR, _URL = "net.IP", "net.CIDR", "kubernetes.URL"
_SPLIT = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?"
    r"(?://(?:[^\s/?#@]*@)?"
    r"(?P<host>(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\s/?#@:\[\]]*))(?::(?P<port>[0-9]*))?)|(?!//))"
    r"(?P<path>(?:/[^\s?#]*)?)(?:\?(?P<query>[^\s#]*))?(?:#[^\s]*)?"
)
"""Source: RFC 3986, appendix B, and its section 3.2 for the host."""
_UNSAFE = re.compile(r"[^A-Za-z0-9/:@!$&'()*+,;=~%._-]+")
_HEX = re.compile(rb"%([0-9A-Fa-f]{2})")


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
        "isGlobalUnicast": _is_global_unicast,
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


def _is_global_unicast(ip: Any) -> bool:
    elsewhere = ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local
    return not elsewhere and str(ip) != "255.255.255.255"


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
    return bool(outer.version == inner.version and inner.subnet_of(outer))


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
        plain("url", kind, [TEXT], url),
        plain("isURL", BOOL, [TEXT], lambda text: _works(url, text)),
        member("getScheme", TEXT, [kind], lambda one: _parts(one.text)["scheme"] or ""),
        member("getHost", TEXT, [kind], lambda one: _parts(one.text)["host"] or ""),
        member("getHostname", TEXT, [kind], lambda one: _parts(one.text)["name"] or _parts(one.text)["six"] or ""),
        member("getPort", TEXT, [kind], lambda one: _parts(one.text)["port"] or ""),
        member("getEscapedPath", TEXT, [kind], lambda one: _UNSAFE.sub(_escaped, _parts(one.text)["path"])),
        member("getQuery", cel.Type.Map(TEXT, TEXTS), [kind], _query),
    ]


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _query(one: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in (_parts(one.text)["query"] or "").split("&"):
        name, _, value = pair.partition("=")
        if pair:
            found.setdefault(_unescaped(name), []).append(_unescaped(value))
    return found


def _unescaped(text: str) -> str:
    data = text.replace("+", " ").encode()
    return _HEX.sub(lambda found: bytes([int(found[1], 16)]), data).decode("utf-8", "replace")


def url(text: str) -> Any:
    """An absolute URL, or an absolute path. Raises ValueError."""
    _parts(text)
    return values.made(_URL, text=text)


def _parts(text: str) -> re.Match[str]:
    """The parts of an absolute URL, or of an absolute path."""
    found = _SPLIT.fullmatch(text)
    if found is None or not (text.startswith("/") or found["scheme"]):
        raise ValueError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    return found


def _works(make: Callable[[str], Any], text: str) -> bool:
    try:
        make(text)
    except ValueError:
        return False
    return True
