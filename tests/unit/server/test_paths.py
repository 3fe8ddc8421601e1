"""What URL paths, Accept headers and methods mean."""

from __future__ import annotations

import pytest

from controlplane.access.values import Wanted
from controlplane.server import negotiate, paths
from controlplane.server.negotiate import Output
from controlplane.server.paths import Place
from mizzen.api import kinds
from mizzen.api.errors import NotAcceptable, UnsupportedMediaType


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/api/v1/pods", Place(kinds.POD)),
        ("/api/v1/namespaces/shop/pods", Place(kinds.POD, "shop")),
        ("/api/v1/namespaces/shop/pods/", Place(kinds.POD, "shop")),
        ("/api/v1/namespaces/shop/pods/web-1", Place(kinds.POD, "shop", "web-1")),
        ("/api/v1/namespaces/shop/pods/web-1/log", Place(kinds.POD, "shop", "web-1", "log")),
        ("/api/v1/namespaces", Place(kinds.NAMESPACE)),
        ("/api/v1/namespaces/shop", Place(kinds.NAMESPACE, "", "shop")),
        ("/api/v1/namespaces/shop/status", Place(kinds.NAMESPACE, "", "shop", "status")),
        ("/api/v1/namespaces/shop/finalize", Place(kinds.NAMESPACE, "", "shop", "finalize")),
        ("/api/v1/nodes/n1/status", Place(kinds.NODE, "", "n1", "status")),
        ("/apis/apps/v1/deployments", Place(kinds.DEPLOYMENT)),
        ("/apis/apps/v1/namespaces/shop/deployments/web/scale", Place(kinds.DEPLOYMENT, "shop", "web", "scale")),
        ("/api/v1/watch/pods", Place(kinds.POD, watched=True)),
        ("/api/v1/watch/namespaces/shop/pods/web-1", Place(kinds.POD, "shop", "web-1", watched=True)),
        ("/api/v1/watch/namespaces", Place(kinds.NAMESPACE, watched=True)),
        ("/apis/apps/v1/watch/deployments", Place(kinds.DEPLOYMENT, watched=True)),
        ("/apis/events.k8s.io/v1/namespaces/shop/events/e", Place(kinds.EVENTS_EVENT, "shop", "e")),
    ],
)
def test_a_path_names_objects(path: str, place: Place) -> None:
    assert paths.parse(path) == place


@pytest.mark.parametrize(
    "path",
    [
        "/", "/api", "/api/v1", "/apis/apps/v1", "/version", "/api/v2/pods", "/api/v1/deployments",
        "/api/v1/pods/web-1", "/api/v1/namespaces/shop/nodes", "/api/v1/namespaces/shop/nodes/n1",
        "/api/v1/watch", "/api/v1/watch/watch/pods", "/api/v1/watch/namespaces/shop/pods/web-1/log",
        "/api/v1/namespaces/shop/pods/web-1/log/more", "/api/v1/namespaces//pods", "/apis/apps/v1/namespaces/a/b/c/d",
    ],
)  # fmt: skip
def test_other_paths_name_nothing(path: str) -> None:
    assert paths.parse(path) is None


@pytest.mark.parametrize(
    ("method", "name", "watching", "verb"),
    [
        ("GET", "", False, "list"),
        ("GET", "", True, "watch"),
        ("GET", "a", False, "get"),
        ("HEAD", "a", False, ""),
        ("GET", "a", True, "watch"),
        ("POST", "", False, "create"),
        ("PUT", "a", False, "update"),
        ("PATCH", "a", False, "patch"),
        ("DELETE", "a", False, "delete"),
        ("DELETE", "", False, "deletecollection"),
        ("BREW", "", False, ""),
    ],
)
def test_verbs(method: str, name: str, watching: bool, verb: str) -> None:
    assert paths.verb(method, Place(kinds.POD, "shop", name), watching) == verb


KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


@pytest.mark.parametrize(
    ("accept", "output"),
    [
        ("", Output()),
        ("*/*", Output()),
        ("application/json", Output()),
        ("application/json;stream=watch", Output()),
        ("application/vnd.kubernetes.protobuf,application/json", Output(media_type=negotiate.PROTOBUF)),
        ("application/vnd.kubernetes.protobuf;stream=watch, application/json", Output(media_type=negotiate.PROTOBUF)),
        (KUBECTL_GET, Output("table", "v1")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Output("table", "v1beta1")),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Output("metadata", "v1")),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json", Output("metadata", "v1")),
        ("application/json;as=Table;v=v7;g=meta.k8s.io,*/*", Output()),
    ],
)
def test_the_form_of_an_answer(accept: str, output: Output) -> None:
    assert negotiate.output(accept) == output


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9"],
)
def test_what_cannot_be_made_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiate.output(accept)


def test_discovery_is_aggregated_where_asked_for() -> None:
    modern = (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    )
    assert negotiate.discovery_version(modern) == "v2"
    assert negotiate.discovery_version(modern.partition(",")[2]) == "v2beta1"
    assert negotiate.discovery_version("application/json") == ""
    assert negotiate.discovery_version("") == ""


def test_bodies() -> None:
    assert negotiate.body_type("") == negotiate.JSON
    assert negotiate.body_type("application/json; charset=utf-8") == negotiate.JSON
    assert negotiate.body_type("application/vnd.kubernetes.protobuf") == negotiate.PROTOBUF
    with pytest.raises(UnsupportedMediaType):
        negotiate.body_type("text/plain")
    assert negotiate.patch_type("application/merge-patch+json") == negotiate.MERGE_PATCH
    assert negotiate.patch_type("application/apply-patch+yaml") == negotiate.APPLY_PATCH
    with pytest.raises(UnsupportedMediaType):
        negotiate.patch_type("application/apply-patch+cbor")


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/apis/a.b/v1/things", Wanted("list", "a.b", "things")),
        ("GET", "/api/v1/namespaces/n/things/x", Wanted("get", "", "things", "n", "x")),
        ("DELETE", "/apis/a.b/v1/namespaces/n/things", Wanted("deletecollection", "a.b", "things", "n")),
        ("PATCH", "/apis/a.b/v1/things/x/status", Wanted("patch", "a.b", "things/status", "", "x")),
        ("POST", "/apis/a.b/v1/things", Wanted("create", "a.b", "things")),
        ("GET", "/apis/a.b/v1", None),
        ("GET", "/api/v1", None),
        ("GET", "/api", None),
        ("GET", "/", None),
        ("GET", "/version", None),
    ],
)
def test_what_nobody_serves(method: str, path: str, wanted: Wanted | None) -> None:
    assert paths.unserved(method, path) == wanted
