"""What the agent knows of its node: what pods choose it by, the engine's handlers, profiles of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import node_v1 as node
from mizzen.engine.values import Key
from nodeagent.drive.context import NodeContext
from nodeagent.drive.objects import Objects, Told
from nodeagent.lifecycle.downward import ConfigError
from tests.unit.agent.world import NODE, pod


def context(*objects: Any, **fields: Any) -> NodeContext:
    """A node that was told of some objects."""
    known = Objects()
    told = [
        Told(Key(kinds.kind_of(one).resource, "", one.metadata.name), 1, msgspec.json.encode(one)) for one in objects
    ]
    known.begin_round("e", resumed=False)
    known.apply(told, 1, synced=True)
    return NodeContext(name=NODE, ip="192.0.2.1", objects=known, **fields)


def test_a_node_that_was_not_told_of_itself_has_no_labels() -> None:
    assert context().host().labels is None


def test_pods_choose_by_what_others_have_given_the_node() -> None:
    own = core.Node(
        metadata=meta.ObjectMeta(name=NODE, labels={"disk": "ssd"}),
        spec=core.NodeSpec(taints=(core.Taint(key="broken", effect="NoExecute"),)),
        status=core.NodeStatus(capacity={"example.com/gpu": "2"}),
    )
    host = context(own, allocatable={"cpu": "1900m"}).host()
    assert (host.labels, [taint.key for taint in host.taints]) == ({"disk": "ssd"}, ["broken"])
    assert host.allocatable == {"cpu": 1900, "example.com/gpu": 2}


def test_a_runtime_class_names_a_handler() -> None:
    known = context(node.RuntimeClass(metadata=meta.ObjectMeta(name="safe"), handler="kata"))
    assert known.runtime_handler(pod()) == ""
    assert known.runtime_handler(pod(runtime_class_name="safe")) == "kata"
    with pytest.raises(ConfigError, match='RuntimeClass "other" not found'):
        known.runtime_handler(pod(runtime_class_name="other"))


def test_profiles_are_read_from_their_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "seccomp"
    folder.mkdir()
    (folder / "web.json").write_text("{}")
    (tmp_path / "secret").write_text("x")
    known = context(seccomp_folder=folder)
    assert known.seccomp_profile("web.json") == "{}"
    for name in ("../secret", str(tmp_path / "secret")):
        with pytest.raises(ConfigError, match="not below"):
            known.seccomp_profile(name)
    with pytest.raises(ConfigError, match="cannot be read"):
        known.seccomp_profile("none.json")
