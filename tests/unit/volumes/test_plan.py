"""What volumes are to be."""

from __future__ import annotations

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.volumes.plan import File, Files, HostPath, Scratch, plan
from tests.unit.volumes.pods import config_map, pod, secret

SOURCES = Sources(
    config_maps={"c": config_map("c", {"one": "1", "two": "2"}, {"raw": b"\xff"})},
    secrets={"s": secret("s", key=b"\x00hidden")},
)


def _plan(volume: core.Volume) -> Scratch | HostPath | Files:
    return plan(pod(volume), volume, SOURCES)


def test_scratch() -> None:
    assert _plan(core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource())) == Scratch(False, 0)
    memory = core.EmptyDirVolumeSource(medium="Memory", size_limit="16Mi")
    assert _plan(core.Volume(name="v", empty_dir=memory)) == Scratch(True, 16 << 20)


def test_host_path() -> None:
    source = core.HostPathVolumeSource(path="/var/log", type="Directory")
    assert _plan(core.Volume(name="v", host_path=source)) == HostPath("/var/log", "Directory")


def test_all_keys_of_a_config_map() -> None:
    volume = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c", default_mode=0o600))
    expected = {"one": File(b"1", 0o600), "two": File(b"2", 0o600), "raw": File(b"\xff", 0o600)}
    assert _plan(volume) == Files(expected, in_memory=False)


def test_chosen_keys_with_paths_and_modes() -> None:
    items = (core.KeyToPath(key="one", path="a/b"), core.KeyToPath(key="two", path="c", mode=0o400))
    volume = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c", items=items))
    assert _plan(volume) == Files({"a/b": File(b"1", 0o644), "c": File(b"2", 0o400)}, in_memory=False)


def test_secrets_stay_in_memory() -> None:
    volume = core.Volume(name="v", secret=core.SecretVolumeSource(secret_name="s"))
    assert _plan(volume) == Files({"key": File(b"\x00hidden", 0o644)}, in_memory=True)


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="x")), 'configmap "x" not found'),
        (core.Volume(name="v", secret=core.SecretVolumeSource(secret_name="x")), 'secret "x" not found'),
        (
            core.Volume(
                name="v",
                config_map=core.ConfigMapVolumeSource(name="c", items=(core.KeyToPath(key="none", path="p"),)),
            ),
            "configmap references non-existent config key: none",
        ),
        (
            core.Volume(
                name="v",
                secret=core.SecretVolumeSource(secret_name="s", items=(core.KeyToPath(key="none", path="p"),)),
            ),
            "references non-existent secret key: none",
        ),
        (
            core.Volume(
                name="v",
                config_map=core.ConfigMapVolumeSource(name="c", items=(core.KeyToPath(key="one", path="../up"),)),
            ),
            'invalid path "../up" in a volume: it must be relative and without ".."',
        ),
        (
            core.Volume(name="v", iscsi=core.ISCSIVolumeSource(target_portal="p", iqn="q")),
            'volume "v" is of a type that this node does not support',
        ),
    ],
)
def test_what_cannot_be_is_explained(volume: core.Volume, message: str) -> None:
    with pytest.raises(ConfigError) as failure:
        _plan(volume)
    assert failure.value.message == message


def test_optional_ones_may_be_missing() -> None:
    nothing = core.Volume(name="v", secret=core.SecretVolumeSource(secret_name="x", optional=True))
    assert _plan(nothing) == Files({}, in_memory=True)
    items = (core.KeyToPath(key="none", path="p"), core.KeyToPath(key="one", path="q"))
    some = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c", items=items, optional=True))
    assert _plan(some) == Files({"q": File(b"1", 0o644)}, in_memory=False)


def test_the_pods_own_fields() -> None:
    items = (
        core.DownwardAPIVolumeFile(path="labels", field_ref=core.ObjectFieldSelector(field_path="metadata.labels")),
        core.DownwardAPIVolumeFile(path="notes", field_ref=core.ObjectFieldSelector(field_path="metadata.annotations")),
        core.DownwardAPIVolumeFile(
            path="cpu",
            mode=0o400,
            resource_field_ref=core.ResourceFieldSelector(container_name="main", resource="requests.cpu", divisor="1m"),
        ),
    )
    found = _plan(core.Volume(name="v", downward_api=core.DownwardAPIVolumeSource(items=items)))
    assert isinstance(found, Files)
    assert found.files["labels"].content == b'a.b/c="x\\"y"\napp="web"'
    assert found.files["notes"].content == b'note="two\\nlines"'
    assert found.files["cpu"] == File(b"0", 0o400)


def test_projected_sources_are_laid_over_each_other() -> None:
    sources = (
        core.VolumeProjection(config_map=core.ConfigMapProjection(name="c")),
        core.VolumeProjection(
            secret=core.SecretProjection(name="s", items=(core.KeyToPath(key="key", path="one", mode=0o400),))
        ),
    )
    volume = core.Volume(name="v", projected=core.ProjectedVolumeSource(sources=sources, default_mode=0o444))
    found = _plan(volume)
    assert isinstance(found, Files)
    assert found.in_memory
    assert found.files["one"] == File(b"\x00hidden", 0o400)
    assert found.files["two"] == File(b"2", 0o444)


def _limited(*limits: dict[str, str]) -> tuple[core.Container, ...]:
    return tuple(
        core.Container(name=f"c{number}", resources=core.ResourceRequirements(limits=one, requests=one))
        for number, one in enumerate(limits)
    )


@pytest.mark.parametrize(
    ("size", "limits", "node", "expected"),
    [
        (None, [{}], "", 0),
        (None, [{}], "1Gi", 1 << 30),
        ("16Mi", [{}], "1Gi", 16 << 20),
        ("2Gi", [{}], "1Gi", 1 << 30),
        (None, [{"memory": "1Mi"}, {"memory": "2Mi"}], "1Gi", 3 << 20),
        (None, [{"memory": "1Mi"}, {}], "1Gi", 1 << 30),
    ],
)
def test_a_volume_in_memory_has_no_more_than_its_pod(
    size: str | None, limits: list[dict[str, str]], node: str, expected: int
) -> None:
    volume = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource(medium="Memory", size_limit=size))
    sources = Sources(allocatable={"memory": node} if node else {})
    assert plan(pod(volume, containers=_limited(*limits)), volume, sources) == Scratch(True, expected)


@pytest.mark.parametrize(
    ("medium", "limits", "expected"),
    [
        ("HugePages", [{"hugepages-2Mi": "4Mi"}], 2 << 20),
        ("HugePages-1Gi", [{"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi"}], 1 << 30),
        ("HugePages", [{"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"}], "of one size"),
        ("HugePages", [{}], "of one size"),
        ("HugePages-1Gi", [{"hugepages-2Mi": "4Mi"}], "needs a container that requests hugepages-1Gi"),
    ],
)
def test_huge_pages(medium: str, limits: list[dict[str, str]], expected: int | str) -> None:
    volume = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource(medium=medium))
    made = pod(volume, containers=_limited(*limits))
    if isinstance(expected, int):
        assert plan(made, volume, Sources()) == Scratch(False, 0, expected)
        return
    with pytest.raises(ConfigError, match=expected):
        plan(made, volume, Sources())
