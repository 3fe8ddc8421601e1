"""Static pods and their mirrors, in values."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.lifecycle.static import HASH, MIRROR, SOURCE, is_mirror, is_static, mirror_of, refusal, shows, static_pod
from tests.unit.lifecycle.model import container, pod

WRITTEN = core.Pod(
    metadata=meta.ObjectMeta(name="dns", labels={"a": "b"}), spec=core.PodSpec(containers=(container(),))
)
NODE = core.Node(metadata=meta.ObjectMeta(name="n1", uid="node-uid"))


def test_a_file_makes_a_pod_of_its_node() -> None:
    made = static_pod(WRITTEN, "n1", "abc")
    metadata = made.metadata
    assert (metadata.name, metadata.namespace, metadata.uid) == ("dns-n1", "default", "abc")
    assert metadata.annotations == {SOURCE: "file", HASH: "abc"}
    assert (made.spec.node_name, made.status.phase) == ("n1", "Pending")
    assert made.spec.tolerations == (core.Toleration(operator="Exists", effect="NoExecute"),)
    assert is_static(made)
    assert not is_mirror(made)


def test_a_mirror_belongs_to_the_node() -> None:
    made = static_pod(WRITTEN, "n1", "abc")
    mirror = mirror_of(made, NODE)
    assert is_mirror(mirror)
    assert not is_static(mirror)
    assert mirror.metadata.annotations == {SOURCE: "file", HASH: "abc", MIRROR: "abc"}
    (owner,) = mirror.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Node", "n1", "node-uid", True)
    assert (mirror.metadata.labels, mirror.spec) == ({"a": "b"}, made.spec)
    assert shows(mirror, made)
    assert not shows(mirror, static_pod(WRITTEN, "n1", "another file"))
    stamp = "2023-11-14T22:13:50Z"
    assert not shows(replace(mirror, metadata=replace(mirror.metadata, deletion_timestamp=stamp)), made)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (pod(), ""),
        (pod(service_account_name="x"), "static pods may not have a service account"),
        (
            pod(container(env_from=(core.EnvFromSource(secret_ref=core.SecretEnvSource(name="s")),))),
            "static pods may not have secrets",
        ),
        (
            pod(volumes=(core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c")),)),
            "static pods may not have configmaps",
        ),
        (
            pod(volumes=(core.Volume(
                name="v", persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name="c")
            ),)),
            "static pods may not have persistentvolumeclaims",
        ),
    ],
)  # fmt: skip
def test_what_only_the_control_plane_could_give(asked: core.Pod, why: str) -> None:
    assert refusal(asked) == why
