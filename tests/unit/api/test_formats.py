"""Names, labels, keys, percentages, and changes to frozen values."""

from __future__ import annotations

import pytest

from mizzen.api import edit, formats, intstr
from mizzen.api.types import core_v1 as core


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (formats.dns_label, ["a", "a-b", "1a", "a" * 63], ["", "A", "-a", "a-", "a.b", "a_b", "a" * 64, "a\n", "ä"]),
        (formats.dns_subdomain, ["a", "a.b-c.1", "a" * 253], ["", ".a", "a..b", "A", "a_b", "a" * 254]),
        (formats.dns_label_1035, ["a", "a1-b"], ["1a", "a.b", "A", ""]),
        (
            formats.qualified_name,
            ["a", "A_b.c-d", "x.io/A", "1", "a" * 63],
            ["", "a/", "/a", "a/b/c", "X.io/a", "-a", "a" * 64, "x.io/" + "a" * 64],
        ),
        (formats.label_value, ["", "a", "A_b.c", "a" * 63], ["-", "a b", "a/b", "a" * 64]),
        (formats.config_key, ["a", ".a", "A_b-c.d", "a..b"], ["", ".", "..", "..a", "a b", "a/b", "a" * 254]),
        (formats.env_name, ["A", "a.b-c", "1a", "a b", "{x}"], ["", "a=b", "a\tb", "ä"]),
        (formats.port_name, ["a", "http-2", "a" * 15], ["", "1", "a--b", "-a", "a-", "A", "a" * 16]),
        (formats.header_name, ["X-A-1"], ["", "a b", "a:"]),
        (formats.percent, ["0%", "100%"], ["1", "%", "1.5%", "-1%"]),
        (formats.ip_address, ["1.2.3.4", "::1", "fe80::1"], ["", "1.2.3", "1.2.3.4/8", "fe80::1%eth0", "01.2.3.4"]),
        (formats.cidr, ["10.0.0.0/8", "10.1.2.3/8", "::/0"], ["", "10.0.0.0", "10.0.0.0/33", "x/8"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_checks(check: formats.Check, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if check(value)] == []
    assert [value for value in bad if not check(value)] == []


def test_messages_name_the_rule_and_examples() -> None:
    (problem,) = formats.dns_label("A")
    assert problem == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [(3, 10, 3, 3), ("25%", 10, 3, 2), ("0%", 10, 0, 0), ("100%", 7, 7, 7), ("33%", 100, 33, 33), ("1%", 1, 1, 0)],
)
def test_percentages(value: int | str, total: int, up: int, down: int) -> None:
    assert intstr.scaled(value, total, round_up=True) == up
    assert intstr.scaled(value, total, round_up=False) == down


def test_no_percentage() -> None:
    with pytest.raises(intstr.IntOrStringError):
        intstr.scaled("5", 10, round_up=True)


def test_edits_share_what_does_not_change() -> None:
    port = core.ContainerPort(name="a", container_port=1)
    assert edit.edited(port, name=port.name) is port
    assert edit.edited(port, name="b") == core.ContainerPort(name="b", container_port=1)
    assert edit.filled(port, name="b", protocol="TCP") == core.ContainerPort(name="a", container_port=1, protocol="TCP")
    ports = (port, port)
    assert edit.each(ports, lambda each: each) is ports
    assert edit.each(ports, lambda each: edit.edited(each, name="b"))[0].name == "b"
