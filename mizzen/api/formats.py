"""The rules for names, labels, keys and other short texts.

Each `is_*`-like function here is a *check*: it returns the messages of what is wrong with a text, none when it is
fine. The messages are those of Kubernetes, because people search for them. Not about fields: where a text stands and
what it is for is the business of `validate`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

Check = Callable[[str], tuple[str, ...]]

LABEL_MAX = 63
SUBDOMAIN_MAX = 253
PORT_NAME_MAX = 15

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_KEY_NAME})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

_KEY_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)

_DOMAIN_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_DOMAIN_PATH_RE = re.compile(_DOMAIN_PATH, re.ASCII)
_LABEL_RE = re.compile(_LABEL, re.ASCII)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN, re.ASCII)
_LABEL_1035_RE = re.compile(_LABEL_1035, re.ASCII)
_KEY_NAME_RE = re.compile(_KEY_NAME, re.ASCII)
_LABEL_VALUE_RE = re.compile(_LABEL_VALUE, re.ASCII)
_CONFIG_KEY_RE = re.compile(_CONFIG_KEY, re.ASCII)
_HEADER_RE = re.compile(_HEADER, re.ASCII)
_PERCENT_RE = re.compile(_PERCENT, re.ASCII)
_PORT_NAME_RE = re.compile("[-a-z0-9]+", re.ASCII)
_LETTER_RE = re.compile("[a-z]", re.ASCII)
_ENV_NAME_RE = re.compile("[ -<>-~]+", re.ASCII)


def dns_label(value: str) -> tuple[str, ...]:
    """A DNS label as in RFC 1123: what namespaces, containers and volumes are named with."""
    problems = _too_long(value, LABEL_MAX)
    if _LABEL_RE.fullmatch(value) is None:
        if _SUBDOMAIN_RE.fullmatch(value):
            problems += ("must not contain dots",)
        else:
            text = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                "and must start and end with an alphanumeric character"
            )
            problems += (mismatch(text, _LABEL, "my-name", "123-abc"),)
    return problems


@lru_cache(maxsize=4096)
def dns_subdomain(value: str) -> tuple[str, ...]:
    """A DNS subdomain as in RFC 1123: what most objects are named with."""
    problems = _too_long(value, SUBDOMAIN_MAX)
    if _SUBDOMAIN_RE.fullmatch(value) is None:
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        problems += (mismatch(text, _SUBDOMAIN, "example.com"),)
    return problems


def dns_label_1035(value: str) -> tuple[str, ...]:
    """A DNS label as in RFC 1035, which starts with a letter: what services are named with."""
    problems = _too_long(value, LABEL_MAX)
    if _LABEL_1035_RE.fullmatch(value) is None:
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character"
        )
        problems += (mismatch(text, _LABEL_1035, "my-name", "abc-123"),)
    return problems


@lru_cache(maxsize=16384)
def qualified_name(value: str) -> tuple[str, ...]:
    """A label key: a name, or a DNS subdomain, a slash and a name."""
    rule = mismatch(_KEY_NAME_RULE, _KEY_NAME, "MyName", "my.name", "123-abc")
    if value.count("/") > 1:
        return (f"a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",)
    prefix, slash, name = value.rpartition("/")
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns_subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > LABEL_MAX:
        problems.append(f"name part must be no more than {LABEL_MAX} bytes")
    if _KEY_NAME_RE.fullmatch(name) is None:
        problems.append(f"name part {rule}")
    return tuple(problems)


@lru_cache(maxsize=16384)
def label_value(value: str) -> tuple[str, ...]:
    """A label value; it may be empty."""
    problems: tuple[str, ...] = ()
    if len(value) > LABEL_MAX:
        problems += (f"must be no more than {LABEL_MAX} bytes",)
    if _LABEL_VALUE_RE.fullmatch(value) is None:
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        problems += (mismatch(text, _LABEL_VALUE, "MyValue", "my_value", "12345"),)
    return problems


def config_key(value: str) -> tuple[str, ...]:
    """A key of a ConfigMap or Secret, which may become a file name."""
    problems = _too_long(value, SUBDOMAIN_MAX)
    if _CONFIG_KEY_RE.fullmatch(value) is None:
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems += (mismatch(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"),)
    return problems + _leaves_folder(value)


def env_name(value: str) -> tuple[str, ...]:
    """The name of an environment variable."""
    if not value:
        return ("environment variable name must be non-empty",)
    if _ENV_NAME_RE.fullmatch(value) is None:
        return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)
    return ()


def port_name(value: str) -> tuple[str, ...]:
    """The name of a port, an IANA service name."""
    problems = _too_long(value, PORT_NAME_MAX)
    if _PORT_NAME_RE.fullmatch(value) is None:
        problems += ("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",)
    if _LETTER_RE.search(value) is None:
        problems += ("must contain at least one letter (a-z)",)
    if "--" in value:
        problems += ("must not contain consecutive hyphens",)
    if value.startswith("-") or value.endswith("-"):
        problems += ("must not begin or end with a hyphen",)
    return problems


def wildcard_subdomain(value: str) -> tuple[str, ...]:
    """A DNS subdomain behind `*.`, for every name one level below it."""
    problems = _too_long(value, SUBDOMAIN_MAX)
    if not value.startswith("*.") or _SUBDOMAIN_RE.fullmatch(value[2:]) is None:
        text = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
        )
        problems += (mismatch(text, rf"\*\.{_SUBDOMAIN}", "*.example.com"),)
    return problems


def path_segment(value: str) -> tuple[str, ...]:
    """What can stand between two slashes of a path."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in value)


def domain_path(value: str) -> tuple[str, ...]:
    """A domain and a path, such as `example.com/queue`."""
    domain, slash, path = value.partition("/")
    if not slash or not domain or not path:
        return ('must be a domain-prefixed path (such as "acme.io/foo")',)
    problems = dns_subdomain(domain)
    if _DOMAIN_PATH_RE.fullmatch(path) is None:
        problems += (mismatch("Invalid path", _DOMAIN_PATH, "foo/bar"),)
    return problems


def header_name(value: str) -> tuple[str, ...]:
    """The name of an HTTP header."""
    if _HEADER_RE.fullmatch(value):
        return ()
    return (mismatch("a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"),)


def percent(value: str) -> tuple[str, ...]:
    """A percentage such as `25%`."""
    if _PERCENT_RE.fullmatch(value):
        return ()
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return (mismatch(text, _PERCENT, "1%", "93%"),)


def ip_address(value: str) -> tuple[str, ...]:
    """An IPv4 or IPv6 address."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    return ()


def cidr(value: str) -> tuple[str, ...]:
    """An address range such as `10.0.0.0/8`."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
    return () if "/" in value else ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)


def within(value: int, low: int, high: int) -> tuple[str, ...]:
    """A number in a range, both ends included."""
    return () if low <= value <= high else (f"must be between {low} and {high}, inclusive",)


def mismatch(text: str, pattern: str, *examples: str) -> str:
    """The message for a text that does not have its form: the rule in words, examples, the pattern."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(value: str, limit: int) -> tuple[str, ...]:
    return (f"must be no more than {limit} characters",) if len(value) > limit else ()


def _leaves_folder(value: str) -> tuple[str, ...]:
    if value in (".", ".."):
        return (f"must not be '{value}'",)
    return ("must not start with '..'",) if value.startswith("..") else ()
