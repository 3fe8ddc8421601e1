"""Whose path it is, what it asks for, and what extension servers add to discovery."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import MultiDict

from controlplane.access.values import Wanted
from controlplane.server import discovery
from controlplane.server.aggregation.claims import Claims, wanted_by
from controlplane.server.aggregation.fetch import aggregated
from controlplane.server.discovery import Extension, Offer
from mizzen.api import kinds
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import meta_v1
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Entry

ROOT = "/apis/example.com/v1"


def served(name: str, *, remote: bool = True) -> apiregistration.APIService:
    version, _, group = name.partition(".")
    service = apiregistration.ServiceReference(namespace="n", name="s") if remote else None
    spec = apiregistration.APIServiceSpec(group=group, version=version, service=service)
    return apiregistration.APIService(metadata=meta_v1.ObjectMeta(name=name), spec=spec)


def test_paths_belong_to_who_claims_their_group_and_version_but_ours_stay_ours() -> None:
    cache = Cache(indexes.ALL)
    for one in (served("v1.example.com"), served("v1.apps"), served("v1.local.io", remote=False)):
        raw = canonical.stamp(kinds.API_SERVICE, canonical.rest(one), 1)
        cache.put(Entry(kinds.API_SERVICE, "", one.metadata.name, 1, raw))
    claims = Claims(cache)
    for path in (ROOT, f"{ROOT}/boats", f"{ROOT}/", f"/openapi/v3{ROOT}"):
        assert claims.at(path) is not None
    for path in ("/apis/example.com", "/apis/example.com/v2", "/apis/apps/v1", "/apis/local.io/v1", "/openapi/v3"):
        assert claims.at(path) is None


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("GET", f"{ROOT}", "", Wanted("get", path=ROOT)),
        ("GET", f"/openapi/v3{ROOT}", "", Wanted("get", path=f"/openapi/v3{ROOT}")),
        ("GET", f"{ROOT}/boats", "", Wanted("list", "example.com", "boats")),
        ("GET", f"{ROOT}/boats", "watch=1", Wanted("watch", "example.com", "boats")),
        ("GET", f"{ROOT}/boats", "fieldSelector=metadata.name=a", Wanted("list", "example.com", "boats", "", "a")),
        ("GET", f"{ROOT}/watch/namespaces/n/boats", "", Wanted("watch", "example.com", "boats", "n")),
        ("POST", f"{ROOT}/namespaces/n/boats", "", Wanted("create", "example.com", "boats", "n")),
        ("HEAD", f"{ROOT}/namespaces/n/boats/a", "", Wanted("get", "example.com", "boats", "n", "a")),
        ("PUT", f"{ROOT}/namespaces/n/boats/a/sail/x", "", Wanted("update", "example.com", "boats/sail", "n", "a")),
        ("DELETE", f"{ROOT}/namespaces/n/boats", "", Wanted("deletecollection", "example.com", "boats", "n")),
        ("DELETE", f"{ROOT}/namespaces/n", "", Wanted("delete", "example.com", "namespaces", "n", "n")),
    ],
)
def test_a_path_asks_for_what_roles_name(method: str, path: str, query: str, wanted: Wanted) -> None:
    pairs = MultiDict([tuple(query.split("=", 1))]) if query else MultiDict()
    assert wanted_by(method, path, pairs) == wanted  # type: ignore[arg-type]


def extension(group: str, version: str, priority: int, version_priority: int = 10, **more: Any) -> Extension:
    return Extension(group, version, priority, version_priority, **more)


def test_groups_and_versions_are_in_the_order_of_their_priorities() -> None:
    boats = ({"resource": "boats"},)
    offer = Offer(
        extensions=(
            extension("last.io", "v1", 10),
            extension("first.io", "v1", 20000, 10),
            extension("first.io", "v2", 5, 20, resources=boats, current=True),
        )
    )
    assert offer.groups[0] == "first.io"
    assert offer.groups[-1] == "last.io"
    made = json.loads(discovery.documents("a", offer)["/apis/first.io"].body)
    assert [one["version"] for one in made["versions"]] == ["v2", "v1"]
    assert made["preferredVersion"]["version"] == "v2"
    items = json.loads(discovery.aggregated("/apis", "v2", offer).body)["items"]
    versions = [(one["version"], one["freshness"], one["resources"]) for one in items[0]["versions"]]
    assert versions == [("v2", "Current", [{"resource": "boats"}]), ("v1", "Stale", [])]
    assert "/apis/last.io/v1" in json.loads(discovery.documents("a", offer)["/"].body)["paths"]


def test_classic_resources_become_aggregated_ones() -> None:
    classic = [
        {"name": "boats", "singularName": "boat", "namespaced": True, "kind": "Boat", "verbs": ["get"]},
        {"name": "boats/scale", "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get"]},
        {"name": "pods/hits", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]},
    ]
    boats, pods = aggregated(classic, "example.com", "v1")
    assert boats["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Boat"}
    assert boats["subresources"][0]["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    # What is below a resource of another group is shown below one without a kind.
    assert (pods["resource"], pods["scope"], pods["responseKind"]["kind"], pods["verbs"]) == (
        "pods",
        "Namespaced",
        "",
        [],
    )
    assert pods["subresources"][0]["subresource"] == "hits"
