"""Discovery documents."""

from __future__ import annotations

import json
from typing import Any

from controlplane.server import discovery


def _classic(path: str) -> Any:
    return json.loads(discovery.documents("10.0.0.1:6443")[path].body)


def test_groups_and_versions() -> None:
    assert _classic("/api")["versions"] == ["v1"]
    assert _classic("/api")["serverAddressByClientCIDRs"] == [
        {"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}
    ]
    groups = {group["name"]: group for group in _classic("/apis")["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert groups["apps"] == {key: _classic("/apis/apps")[key] for key in groups["apps"]}
    assert "/apis/apps/v1" in _classic("/")["paths"]


def test_the_resources_of_a_version() -> None:
    resources = {resource["name"]: resource for resource in _classic("/api/v1")["resources"]}
    pods = resources["pods"]
    assert pods["shortNames"] == ["po"]
    assert pods["categories"] == ["all"]
    assert pods["verbs"] == ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    assert pods["namespaced"] is True
    assert pods["singularName"] == "pod"
    assert resources["pods/log"] == {
        "name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"],
    }  # fmt: skip
    eviction = resources["pods/eviction"]
    assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")
    assert "deletecollection" not in resources["namespaces"]["verbs"]
    scale = {resource["name"]: resource for resource in _classic("/apis/apps/v1")["resources"]}["deployments/scale"]
    assert (scale["group"], scale["kind"]) == ("autoscaling", "Scale")


def test_the_aggregated_form_has_the_same_facts() -> None:
    for path in ("/api", "/apis"):
        for version in ("v2", "v2beta1"):
            made = json.loads(discovery.aggregated(path, version).body)
            assert made["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            for group in made["items"]:
                _same(group)


def _same(group: dict[str, Any]) -> None:
    name = group["metadata"].get("name", "")
    for version in group["versions"]:
        root = f"/apis/{name}" if name else "/api"
        classic = _classic(f"{root}/{version['version']}")["resources"]
        names = []
        for resource in version["resources"]:
            names.append(resource["resource"])
            names += [f"{resource['resource']}/{sub['subresource']}" for sub in resource.get("subresources", ())]
        assert names == [resource["name"] for resource in classic]


def test_etags_follow_the_content() -> None:
    assert discovery.aggregated("/api", "v2").etag != discovery.aggregated("/api", "v2beta1").etag
    assert discovery.documents("a")["/apis"].etag == discovery.documents("b")["/apis"].etag
