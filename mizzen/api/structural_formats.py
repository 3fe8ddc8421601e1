"""The formats of texts that schemas of custom resources may ask for.

Names that are not here ask for nothing, as in Kubernetes, which lists the ones it knows in its documentation.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable

from mizzen.api import formats

_DATE_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
)
_UNITS = re.compile(
    r"ns|nanos?|us|µs|micros?|ms|millis?|s|secs?|m|mins?|h|hrs?|hours?|d|days?|w|wks?|weeks?|"
    r"seconds?|minutes?|nanoseconds?|microseconds?|milliseconds?"
)
_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|/)[^\s<>\"{}|\\^`]*")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_MAC = re.compile(
    r"[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4,6}|(?:[0-9a-fA-F]{4}\.){2,3}[0-9a-fA-F]{4}"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_HEX_COLOR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")


def fits(name: str, text: str) -> bool:
    """Whether a text has the format of a name; every text has a format that is not known."""
    check = _CHECKS.get(name.replace("-", "") if name != "date-time" else name)
    return check is None or check(text)


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error


def _duration(text: str) -> bool:
    """Go's form (`1h30m`), or numbers with words (`2 days`)."""
    body = text.lstrip("+-")
    if body == "0":
        return True
    pieces = re.findall(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]+)\s*", body.lower())
    whole = "".join(f"{number}{unit}" for number, unit in pieces)
    return bool(pieces) and whole == "".join(body.lower().split()) and all(_UNITS.fullmatch(u) for _, u in pieces)


def _uuid_of(version: int) -> Callable[[str], bool]:
    # The version is the first digit of the third group, the variant the first two bits of the fourth.
    return lambda text: (
        _UUID.fullmatch(text) is not None
        and text.replace("-", "")[12] == str(version)
        and text.replace("-", "")[16] in "89abAB"
    )


def _hostname(text: str) -> bool:
    return len(text) <= 255 and not list(formats.dns_subdomain(text.lower()))


_CHECKS: dict[str, Callable[[str], bool]] = {
    "date-time": _matches(_DATE_TIME),
    "datetime": _matches(_DATE_TIME),
    "date": _parses(datetime.date.fromisoformat),
    "duration": _duration,
    "uri": _matches(_URI),
    "email": _matches(_EMAIL),
    "hostname": _hostname,
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": _parses(ipaddress.ip_interface),
    "mac": _matches(_MAC),
    "uuid": _matches(_UUID),
    "uuid3": _uuid_of(3),
    "uuid4": _uuid_of(4),
    "uuid5": _uuid_of(5),
    "hexcolor": _matches(_HEX_COLOR),
    "bsonobjectid": _matches(_OBJECT_ID),
    "byte": _parses(_base64),
}
