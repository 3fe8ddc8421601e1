"""Kubeconfigs: read as kubectl reads them, and refused in words that say what to do."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mizzen.client.config import ClusterConfig, ConfigError, default_paths, load, render

PEM = b"-----BEGIN X-----\nYQ==\n-----END X-----\n"
CONFIG = ClusterConfig(
    "https://10.0.0.1:6443", "10.0.0.1:7777", b"ca" + PEM, b"crt" + PEM, b"key" + PEM, "shop", "10.0.0.1:7778"
)


def written(tmp_path: Path, document: Any) -> Path:
    """A kubeconfig file."""
    file = tmp_path / "config"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return file


def document(config: ClusterConfig = CONFIG) -> dict[str, Any]:
    """A kubeconfig as a value."""
    loaded: dict[str, Any] = yaml.safe_load(render("test", config, "me"))
    return loaded


def test_what_is_rendered_is_read_back(tmp_path: Path) -> None:
    assert load(written(tmp_path, render("test", CONFIG, "me"))) == CONFIG
    made = document()
    assert (made["apiVersion"], made["kind"], made["current-context"]) == ("v1", "Config", "test")


def test_where_grpc_is(tmp_path: Path) -> None:
    made = document()
    del made["clusters"][0]["cluster"]["extensions"]
    assert load(written(tmp_path, made)).grpc == "10.0.0.1:6440"
    made["clusters"][0]["cluster"]["server"] = "https://[fd00::1]:6443/"
    assert load(written(tmp_path, made)).grpc == "[fd00::1]:6440"
    assert load(written(tmp_path, made)).server == "https://[fd00::1]:6443"


def test_files_are_named_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    made = document()
    cluster, user = made["clusters"][0]["cluster"], made["users"][0]["user"]
    for entry, key, data in ((cluster, "certificate-authority", CONFIG.ca_pem), (user, "client-key", CONFIG.key_pem)):
        del entry[f"{key}-data"]
        entry[key] = f"{key}.pem"
        (tmp_path / f"{key}.pem").write_bytes(data)
    assert load(written(tmp_path, made)) == CONFIG
    (tmp_path / "client-key.pem").unlink()
    with pytest.raises(ConfigError, match=r"client-key: client-key\.pem: No such file"):
        load(written(tmp_path, made))


def test_contexts(tmp_path: Path) -> None:
    made = document()
    made["contexts"].append({"name": "other", "context": {"cluster": "test", "user": "me"}})
    file = written(tmp_path, made)
    assert load(file, "other") == replace(CONFIG, namespace="default")
    with pytest.raises(ConfigError, match="no context named 'third' in contexts"):
        load(file, "third")


def changed(path: str, value: Any) -> dict[str, Any]:
    """A kubeconfig with another value at a place, or with nothing there."""
    made = document()
    *way, last = path.split("/")
    place: Any = made
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    return made


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "not YAML"),
        ("- a", "not a kubeconfig"),
        ("", "not a kubeconfig"),
        (changed("current-context", ""), "no current-context; set one"),
        (changed("contexts", None), "no context named 'test'"),
        (changed("contexts", {"a": 1}), "no context named 'test'"),
        (changed("contexts", ["a"]), "no context named 'test'"),
        (changed("contexts/0/context", None), "no context named 'test'"),
        (changed("clusters/0/name", "x"), "no cluster named 'test' in clusters"),
        (changed("users/0/name", "x"), "no user named 'me' in users"),
        (changed("clusters/0/cluster/server", ""), "the server must be like https://host:6443"),
        (changed("clusters/0/cluster/server", "http://a:1"), "the server must be like https://host:6443"),
        (changed("clusters/0/cluster/server", "https://[::1"), "is no URL"),
        (changed("clusters/0/cluster/insecure-skip-tls-verify", True), "insecure-skip-tls-verify is not supported"),
        (
            changed("users/0/user", {"username": "a", "password": "b"}),
            "the user needs a client certificate.*password is",
        ),
        (changed("users/0/user/client-key-data", None), "client-key or client-key-data is needed"),
        (changed("clusters/0/cluster/certificate-authority-data", "a"), "certificate-authority-data is not base64"),
        (changed("clusters/0/cluster/certificate-authority-data", 7), "certificate-authority-data is not base64"),
        (changed("users/0/user/client-key-data", base64.b64encode(b"x").decode()), "client-key is not PEM"),
        (changed("clusters/0/cluster/extensions/0/extension", None), r"the extension mizzen\.dev must be like"),
        (changed("clusters/0/cluster/extensions/0/extension", {"grpc": "a:b"}), r"the extension mizzen\.dev must be"),
    ],
)
def test_what_can_not_be_used(tmp_path: Path, given: Any, words: str) -> None:
    file = written(tmp_path, given)
    with pytest.raises(ConfigError, match=words) as refused:
        load(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; name a kubeconfig with --kubeconfig"):
        load(tmp_path / "none")
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not YAML"):
        load(file)


def test_the_default_paths() -> None:
    assert default_paths({"KUBECONFIG": ":/a:/b"}) == (Path("/a"), Path("/b"))
    assert default_paths({}) == (Path.home() / ".kube" / "config",)
