"""Image references."""

from __future__ import annotations

import pytest

from nodeagent.runtime.errors import InvalidImageName
from nodeagent.runtime.references import is_id, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "locator", "registry"),
    [
        ("nginx", "nginx:latest", "docker.io"),
        ("nginx:1.25", "nginx:1.25", "docker.io"),
        ("team/app:v1", "team/app:v1", "docker.io"),
        ("quay.example/team/app", "quay.example/team/app:latest", "quay.example"),
        ("localhost/app:1", "localhost/app:1", "localhost"),
        ("host:5000/app", "host:5000/app:latest", "host:5000"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1", "[::1]:5000"),
        (f"app@{DIGEST}", f"app@{DIGEST}", "docker.io"),
        (f"app:1.2@{DIGEST}", f"app@{DIGEST}", "docker.io"),
        ("a__b--c.d/e_f:T-1_x", "a__b--c.d/e_f:T-1_x", "docker.io"),
    ],
)
def test_references(text: str, locator: str, registry: str) -> None:
    found = parse(text)
    assert (found.locator, found.registry) == (locator, registry)


@pytest.mark.parametrize(
    "text",
    ["", " ", "Nginx", "nginx:", ":1", "a//b", "a/", "-a", "a..b", "a:b:c", "a@sha256:short", "http://a/b", "a" * 256],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidImageName, match="couldn't parse image name"):
        parse(text)


def test_ids() -> None:
    assert is_id(DIGEST)
    assert is_id("a" * 64)
    assert not is_id("a" * 63)
    assert not is_id("nginx")
