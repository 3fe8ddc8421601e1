"""Images that are placed on nodes without a registry, with the project's own command."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import commands
from deploy.shell import CommandFailed, wait_for
from mizzen.client import config
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import container, pod
from tests.e2e.test_mizzen import Mizzen
from tests.fixtures.images import ARCHITECTURE, busybox_image
from tests.fixtures.oci import layout

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SAVED, PLAIN, OTHER = "placed:saved", "placed:plain", "placed:other"


@pytest.fixture
def mizzen(kubectl: Kubectl, tmp_path: Path) -> Mizzen:
    """The command, for the test's namespace."""
    loaded = dataclasses.replace(config.load(kubectl.kubeconfig), namespace=kubectl.namespace)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(config.render("lab", loaded, "me"))
    return Mizzen(Path(commands.program()), kubeconfig, kubectl.namespace)


@pytest.fixture
def removed(cluster: Cluster, kubectl: Kubectl) -> Iterator[None]:
    """Takes the images away again."""
    yield
    kubectl("delete", "pod", "--all", "--now")
    for machine in cluster.nodes:
        names = machine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "placed").split()
        if names:
            machine.docker("rmi", "-f", *names)


@pytest.mark.usefixtures("removed")
def test_an_archive_goes_to_all_nodes(
    cluster: Cluster, kubectl: Kubectl, mizzen: Mizzen, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """A pod that waits for the image starts at once; one on another node finds it there."""
    names = [machine.name for machine in cluster.nodes]
    wants = container(image=SAVED, imagePullPolicy="Never")
    kubectl.apply(pod("waits", wants, nodeName=names[0]))
    wait_for("it to wait", lambda: "ErrImageNeverPull" in kubectl("get", "pod", "waits"), 20)
    path = tmp_path / "image.tar"
    path.write_bytes(busybox_image(SAVED)[1])
    began = time.monotonic()
    said = mizzen("image", "load", str(path)).splitlines()
    figure(f"{path.stat().st_size >> 20} MiB on {len(names)} nodes in {time.monotonic() - began:.1f} s")
    assert sorted(line.partition(" loaded in ")[0] for line in said) == [f"{name}: {SAVED}" for name in names]
    kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=10s")
    kubectl.apply(pod("next", wants, nodeName=names[1]))
    kubectl("wait", "--for=condition=Ready", "pod/next", "--timeout=20s")


@pytest.mark.usefixtures("removed")
def test_an_oci_archive_goes_to_one_node(cluster: Cluster, kubectl: Kubectl, mizzen: Mizzen, tmp_path: Path) -> None:
    """Only to that which is named; without a name for the image it is not sent."""
    first, second, *_ = cluster.nodes
    path = tmp_path / "layout.tar"
    path.write_bytes(layout(busybox_image("x:1")[1], architecture=ARCHITECTURE, nested=True))
    assert "give it a name with --name" in mizzen.fails("image", "load", str(path))
    said = mizzen("image", "load", str(path), "--node", first.name, "--name", PLAIN)
    assert said.startswith(f"{first.name}: {PLAIN} loaded in ")
    assert PLAIN in first.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert PLAIN not in second.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    kubectl.apply(pod("plain", container(image=PLAIN, imagePullPolicy="Never"), nodeName=first.name))
    kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=20s")


@pytest.mark.usefixtures("removed")
def test_what_goes_wrong_is_told(cluster: Cluster, mizzen: Mizzen, tmp_path: Path) -> None:
    """No node of the name, no file and no image, an archive that is cut off, a node that is away."""
    path = tmp_path / "image.tar"
    content = busybox_image(OTHER)[1]
    path.write_bytes(content)
    assert '"n99" not found' in mizzen.fails("image", "load", str(path), "--node", "n99")
    assert "is neither a file nor an image" in mizzen.fails("image", "load", "no-such:image") or (
        "cannot be asked for it" in mizzen.fails("image", "load", "no-such:image")
    )
    whole = tmp_path / "cut.tar"
    whole.write_bytes(content[: len(content) // 2])
    assert "cannot be read as an image archive" in mizzen.fails("image", "load", str(whole))
    away = cluster.nodes[2]
    away.power_off()
    try:
        done = mizzen.tries("image", "load", str(path))
        assert done.returncode != 0
        assert f"error: not loaded on {away.name}" in done.stderr
        assert done.stdout.count(" loaded in ") == len(cluster.nodes) - 1
    finally:
        away.boot()
        cluster.wait_for_node(away.name, "True")
    with pytest.raises(CommandFailed):
        mizzen("image", "load", "-", stdin="junk")
