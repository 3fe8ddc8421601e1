"""Both codecs read what Kubernetes writes, and write what means the same.

Every upstream fixture holds one fully populated object in JSON and in protobuf. Each is decoded, encoded the other
way and compared; a field that the schema lacks, or names or numbers wrongly, is lost on the way and shows.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mizzen.api.types import core_v1, meta_v1
from mizzen.wire import convert

SHARED = Path(os.environ.get("MIZZEN_SHARED", Path(__file__).parents[4] / "shared"))
FIXTURES = SHARED / "kubernetes" / "roundtrip"
MODULES = {
    "core.v1": "core_v1",
    "apps.v1": "apps_v1",
    "autoscaling.v1": "autoscaling_v1",
    "coordination.k8s.io.v1": "coordination_v1",
    "discovery.k8s.io.v1": "discovery_v1",
    "events.k8s.io.v1": "events_v1",
    "admissionregistration.k8s.io.v1": "admissionregistration_v1",
    "autoscaling.v2": "autoscaling_v2",
    "batch.v1": "batch_v1",
    "flowcontrol.apiserver.k8s.io.v1": "flowcontrol_v1",
    "networking.k8s.io.v1": "networking_v1",
    "node.k8s.io.v1": "node_v1",
    "policy.v1": "policy_v1",
    "resource.k8s.io.v1": "resource_v1",
    "scheduling.k8s.io.v1": "scheduling_v1",
    "storage.k8s.io.v1": "storage_v1",
    "rbac.authorization.k8s.io.v1": "rbac_v1",
    "authentication.k8s.io.v1": "authentication_v1",
    "authorization.k8s.io.v1": "authorization_v1",
    "certificates.k8s.io.v1": "certificates_v1",
}
META = {
    "APIGroup", "APIVersions", "CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "Status",
    "UpdateOptions", "WatchEvent",
}  # fmt: skip


def _cases() -> list[Any]:
    if not FIXTURES.is_dir():
        return [pytest.param(None, "", marks=pytest.mark.skip(reason=f"no upstream fixtures at {FIXTURES}"))]
    found = []
    for path in sorted(FIXTURES.glob("*.json")):
        group_version, kind = path.stem.rsplit(".", 1)
        module = "meta_v1" if kind in META else MODULES.get(group_version)
        if module:
            found.append(pytest.param(path, module, id=path.stem))
    return found


def _type(path: Path, module: str) -> Any:
    return getattr(import_module(f"mizzen.api.types.{module}"), path.stem.rsplit(".", 1)[1])


def _printed(obj: Any) -> Any:
    """The object as JSON; options within an object name their type, which upstream leaves out."""
    printed = msgspec.json.decode(msgspec.json.encode(obj))
    for name in ("apiVersion", "kind"):
        printed.get("deleteOptions", {}).pop(name, None)
    return printed


@pytest.mark.parametrize(("path", "module"), _cases())
def test_json_survives_the_struct(path: Path, module: str) -> None:
    text = path.read_bytes()
    assert _printed(msgspec.json.decode(text, type=_type(path, module))) == msgspec.json.decode(text)


@pytest.mark.parametrize(("path", "module"), _cases())
def test_protobuf_means_the_same_as_json(path: Path, module: str) -> None:
    theirs = convert.decode_envelope(path.with_suffix(".pb").read_bytes(), _type(path, module))
    assert _printed(theirs) == msgspec.json.decode(path.read_bytes())


@pytest.mark.parametrize(("path", "module"), _cases())
def test_our_protobuf_is_what_upstream_writes(path: Path, module: str) -> None:
    type_ = _type(path, module)
    ours = convert.to_message(msgspec.json.decode(path.read_bytes(), type=type_))
    theirs = convert.to_message(convert.decode_envelope(path.with_suffix(".pb").read_bytes(), type_))
    assert type(ours).FromString(ours.SerializeToString()) == theirs
    assert _printed(convert.to_struct(ours, type_)) == msgspec.json.decode(path.read_bytes())


def test_an_envelope_keeps_the_kind() -> None:
    pod = core_v1.Pod(metadata=meta_v1.ObjectMeta(name="web-0"), spec=core_v1.PodSpec(host_network=True))
    assert convert.decode_envelope(convert.encode_envelope(pod)) == pod


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"{}", "four bytes", id="json"),
        pytest.param(b"k8s\0\xff\xff", "runtime.Unknown", id="broken-envelope"),
        pytest.param(convert.MAGIC, "no kind", id="empty-envelope"),
    ],
)
def test_a_bad_body_says_what_is_wrong(data: bytes, problem: str) -> None:
    with pytest.raises(convert.BadMessage, match=problem):
        convert.decode_envelope(data)


def test_any_carries_its_type() -> None:
    node = core_v1.Node(metadata=meta_v1.ObjectMeta(name="n1", creation_timestamp="2026-01-02T03:04:05Z"))
    packed = convert.to_any(node)
    assert packed.type_url == "type.googleapis.com/mizzen.api.core.v1.Node"
    assert convert.from_any(packed) == node
