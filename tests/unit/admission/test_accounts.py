"""What a pod gets from its service account."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Settings
from mizzen.api import errors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import Cluster

HOME = "/var/run/secrets/kubernetes.io/serviceaccount"


def account(name: str = "default", **fields: Any) -> core.ServiceAccount:
    return core.ServiceAccount(metadata=meta.ObjectMeta(name=name, namespace="shop", uid=f"uid-{name}"), **fields)


def made(*accounts: core.ServiceAccount, **spec: Any) -> core.PodSpec:
    cluster = Cluster.with_namespaces("shop").having(*accounts)
    spec = {"containers": (core.Container(name="c", image="img:1"),), **spec}
    pod = core.Pod(metadata=meta.ObjectMeta(name="p"), spec=core.PodSpec(**spec))
    admitted: core.Pod = replace_settings(cluster).create(pod, "shop").object
    return admitted.spec


def replace_settings(cluster: Cluster) -> Cluster:
    return Cluster(cluster.objects, Settings(service_accounts=True))


def test_a_token_is_mounted_into_every_container() -> None:
    init = core.Container(name="i", image="img:1")
    spec = made(account(), init_containers=(init,))
    (volume,) = spec.volumes
    assert volume.name.startswith("kube-api-access-")
    assert volume.projected is not None
    assert volume.projected.default_mode == 0o644
    token, authority, downward = volume.projected.sources
    assert token.service_account_token == core.ServiceAccountTokenProjection(path="token", expiration_seconds=3607)
    assert authority.config_map is not None
    assert (authority.config_map.name, authority.config_map.items[0].path) == ("kube-root-ca.crt", "ca.crt")
    assert downward.downward_api is not None
    assert downward.downward_api.items[0].path == "namespace"
    mount = core.VolumeMount(name=volume.name, read_only=True, mount_path=HOME)
    assert [container.volume_mounts for container in (*spec.init_containers, *spec.containers)] == [(mount,)] * 2


def test_what_a_container_mounts_there_itself_stays() -> None:
    own = core.Container(name="c", image="img:1", volume_mounts=(core.VolumeMount(name="mine", mount_path=HOME),))
    volume = core.Volume(name="mine", empty_dir=core.EmptyDirVolumeSource())
    spec = made(account(), containers=(own,), volumes=(volume,))
    assert [v.name for v in spec.volumes] == ["mine"]
    assert spec.containers[0].volume_mounts == own.volume_mounts


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False), (None, False, False)],
)
def test_the_pods_word_comes_before_the_accounts(of_account: bool | None, of_pod: bool | None, mounted: bool) -> None:
    spec = made(account(automount_service_account_token=of_account), automount_service_account_token=of_pod)
    assert bool(spec.volumes) is mounted


def test_pull_secrets_are_lent() -> None:
    secret = core.LocalObjectReference(name="registry")
    assert made(account(image_pull_secrets=(secret,))).image_pull_secrets == (secret,)
    own = core.LocalObjectReference(name="own")
    assert made(account(image_pull_secrets=(secret,)), image_pull_secrets=(own,)).image_pull_secrets == (own,)


def test_an_account_that_is_not_there() -> None:
    with pytest.raises(errors.Forbidden) as refused:
        made(service_account_name="robot")
    assert refused.value.message == (
        'pods "p" is forbidden: error looking up service account shop/robot: serviceaccount "robot" not found'
    )
    assert made(account("robot"), service_account_name="robot").service_account_name == "robot"


def test_where_accounts_do_not_count_nothing_is_mounted() -> None:
    cluster = Cluster.with_namespaces("shop")
    pod = core.Pod(
        metadata=meta.ObjectMeta(name="p"), spec=core.PodSpec(containers=(core.Container(name="c", image="i:1"),))
    )
    assert cluster.create(replace(pod), "shop").object.spec.volumes == ()
