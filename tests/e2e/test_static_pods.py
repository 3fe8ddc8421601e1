"""Pods out of a node's own files, and what the control plane sees of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from deploy.lab.cluster import AGENT, DATA
from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import pod, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def test_a_static_pod(cluster: Cluster, kubectl: Kubectl) -> None:
    """It comes and goes with its file, outlives its mirror and its agent, and is looked into by the mirror."""
    machine = cluster.nodes[0]
    folder = machine.path(f"{DATA}/static-pods")
    folder.mkdir(exist_ok=True)
    file, name = folder / "page.yaml", f"page-{machine.name}"
    written = pod("page", web_container(), terminationGracePeriodSeconds=2)
    written["metadata"]["namespace"] = kubectl.namespace
    try:
        file.write_text(yaml.safe_dump(written))
        wait_for("the mirror", lambda: kubectl.tries("get", "pod", name).returncode == 0, 20)
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
        mirror = kubectl.get("pod", name)
        annotations = mirror["metadata"]["annotations"]
        assert annotations["kubernetes.io/config.source"] == "file"
        assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
        (owner,) = mirror["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Node", machine.name)
        assert "serves on port" in kubectl("logs", name)
        assert kubectl("exec", name, "--", "hostname").strip() == name

        wait_for("its usage", lambda: name in kubectl.tries("top", "pod", name).stdout, 60)

        kubectl("delete", "pod", name, "--wait=false")
        wait_for("another mirror", lambda: has_another(kubectl, mirror), 30)
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
        assert (
            cluster.container(kubectl.get("pod", name))["Id"] in mirror["status"]["containerStatuses"][0]["containerID"]
        )

        machine.kill(AGENT)
        machine.start(AGENT)
        written["spec"]["containers"][0]["env"] = [{"name": "VERSION", "value": "v9"}]
        file.write_text(yaml.safe_dump(written))
        wait_for("the changed pod", lambda: "demo v9 on" in kubectl.tries("logs", name).stdout, 40)
    finally:
        file.unlink()
    wait_for("the mirror to go", lambda: kubectl.tries("get", "pod", name).returncode != 0, 30)


def has_another(kubectl: Kubectl, before: dict[str, Any]) -> bool:
    """Whether the mirror is another one than before."""
    found = kubectl.tries("get", "pod", before["metadata"]["name"], "-o", "jsonpath={.metadata.uid}")
    return found.returncode == 0 and found.stdout != before["metadata"]["uid"]
