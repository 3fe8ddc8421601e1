"""Every route for everybody: who may what is written down here by hand, and what is not written here is refused.

The routes come from the table of kinds. What each role allows stands below as Kubernetes documents it; the server's
own roles and its evaluator have no part in what is expected. A request that passes the check of access stops right
behind it, because it asks for an answer in a form that there is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from controlplane.access.values import ACCOUNTS, NODES, UserInfo
from controlplane.admission import Settings
from controlplane.bootstrap_roles import ensure_roles
from controlplane.server import paths, subresources
from controlplane.server.metrics import Metrics
from controlplane.server.outward.dial import Dialer
from controlplane.server.rest_api import Deps, RestApi
from controlplane.server.rest_site import SiteInfo
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_write import WriteOptions
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import kinds
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds
from tests.fixtures.api_server import NoStreams, front_proxy

STREAMED = ("attach", "exec", "log", "portforward", "proxy")
OWN, OTHER = "shop", "bank"
"""The namespace in which roles are given, and one in which they are not."""
READ, WRITE = "get list watch", "create update patch delete deletecollection"
KEYS = "/openid/v1/jwks"

VIEW = f"""
- {READ}: configmaps endpoints events limitranges namespaces namespaces/status persistentvolumeclaims
- {READ}: persistentvolumeclaims/status pods pods/log pods/status replicationcontrollers replicationcontrollers/scale
- {READ}: replicationcontrollers/status resourcequotas resourcequotas/status serviceaccounts services services/status
apps {READ}: controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status
apps {READ}: replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status
autoscaling {READ}: horizontalpodautoscalers horizontalpodautoscalers/status
batch {READ}: cronjobs cronjobs/status jobs jobs/status
discovery.k8s.io {READ}: endpointslices
metrics.k8s.io {READ}: nodes pods
networking.k8s.io {READ}: ingresses ingresses/status networkpolicies
policy {READ}: poddisruptionbudgets poddisruptionbudgets/status
"""
EDIT = f"""{VIEW}
- {READ}: pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy
- {WRITE}: configmaps events persistentvolumeclaims pods pods/attach pods/exec pods/portforward pods/proxy
- {WRITE}: replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy
- create: pods/eviction serviceaccounts/token
apps {WRITE}: daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale
autoscaling {WRITE}: horizontalpodautoscalers
batch {WRITE}: cronjobs jobs
coordination.k8s.io {READ} {WRITE}: leases
networking.k8s.io {WRITE}: ingresses networkpolicies
policy {WRITE}: poddisruptionbudgets
"""
ADMIN = f"""{EDIT}
authorization.k8s.io create: localsubjectaccessreviews
rbac.authorization.k8s.io {READ} {WRITE}: roles rolebindings
"""
ANYBODY_KNOWN = """
authentication.k8s.io create: selfsubjectreviews
authorization.k8s.io create: selfsubjectaccessreviews selfsubjectrulesreviews
"""
NODE = f"""{ANYBODY_KNOWN}
- create: nodes pods pods/eviction
- create update patch: events
- update patch: nodes nodes/status pods/status
- delete: pods
- get: endpoints
- {READ}: services
authentication.k8s.io create: tokenreviews
authorization.k8s.io create: subjectaccessreviews localsubjectaccessreviews
certificates.k8s.io create {READ}: certificatesigningrequests
discovery.k8s.io {READ}: endpointslices
node.k8s.io {READ}: runtimeclasses
resource.k8s.io create: resourceslices
storage.k8s.io create: csinodes
storage.k8s.io {READ}: csidrivers
"""
"""What a node may of objects that have nothing to do with it."""

PUBLIC = ("/version", "/healthz", "/livez", "/readyz")
DISCOVERY = (
    "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1",
)  # fmt: skip
CLOSED = ("/", "/metrics", "/healthz/etcd", "/livez/ping", "/readyz/etcd", "/logs/", "/debug/pprof/", "/join", "/apix")
"""For administrators, as whatever else there may be."""

ALL = "*"
Allowed = frozenset[tuple[str, str, str]]


def parsed(text: str) -> Allowed:
    """Group, verb and resource of each thing that a role allows."""
    found = set()
    for line in text.strip().splitlines():
        if line:
            left, _, right = line.partition(": ")
            group, *verbs = left.split()
            found |= {(group.strip("-"), verb, resource) for verb in verbs for resource in right.split()}
    return frozenset(found)


class Somebody(NamedTuple):
    """Who asks, and what is expected of them."""

    user: UserInfo | None
    everywhere: Allowed | str
    inside: Allowed = frozenset()
    """What they may beside that in their own namespace."""
    pages: tuple[str, ...] = (*PUBLIC, *DISCOVERY)


SELF = parsed(ANYBODY_KNOWN)
PEOPLE = {
    "anonymous": Somebody(None, frozenset(), pages=PUBLIC),
    "known": Somebody(UserInfo("known"), SELF),
    "account": Somebody(
        UserInfo(f"system:serviceaccount:{OWN}:idle", (ACCOUNTS, f"{ACCOUNTS}:{OWN}")), SELF,
        pages=(*PUBLIC, *DISCOVERY, KEYS),
    ),
    "node": Somebody(UserInfo("system:node:n1", (NODES,)), parsed(NODE)),
    "view": Somebody(UserInfo("view"), SELF, parsed(VIEW)),
    "edit": Somebody(UserInfo("edit"), SELF, parsed(EDIT)),
    "admin": Somebody(UserInfo("admin"), SELF, parsed(ADMIN)),
    "view-all": Somebody(UserInfo("view-all"), SELF | parsed(VIEW)),
    "cluster-admin": Somebody(UserInfo("cluster-admin"), ALL, pages=()),
}  # fmt: skip


class Route(NamedTuple):
    """A request on objects, in words and as it is sent."""

    kind: Kind[Any]
    verb: str
    subresource: str
    namespace: str
    named: bool
    method: str
    path: str

    @property
    def resource(self) -> str:
        """As permissions name it."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE"}


def routes() -> Iterator[Route]:
    """Every kind with every verb, in all scopes, and all that is below its objects."""
    for kind in kinds.KINDS:
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        for namespace in (OWN, OTHER) if kind.namespaced else ("",):
            base = f"{root}/namespaces/{namespace}" if namespace else root
            for verb in kind.verbs:
                if verb in ("get", "update", "patch", "delete"):
                    path = f"{base}/{kind.plural}/x"
                    yield Route(kind, verb, "", namespace, True, METHODS.get(verb, "GET"), path)
                else:
                    yield from _of_many(kind, verb, namespace, base)
            for sub in subresources.of(kind):
                for verb in sub.verbs:
                    path = f"{base}/{kind.plural}/x/{sub.name}"
                    yield Route(kind, verb, sub.name, namespace, True, METHODS.get(verb, "GET"), path)
        if kind.namespaced:
            for verb in ("list", "watch"):
                if verb in kind.verbs:
                    yield from _of_many(kind, verb, "", root)


def _of_many(kind: Kind[Any], verb: str, namespace: str, base: str) -> Iterator[Route]:
    path = f"{base}/{kind.plural}"
    if verb != "watch":
        yield Route(kind, verb, "", namespace, False, METHODS.get(verb, "GET"), path)
        return
    root, _, rest = base.partition("/namespaces/")
    old = f"{root}/watch/namespaces/{rest}/{kind.plural}" if rest else f"{root}/watch/{kind.plural}"
    for way in (f"{path}?watch=true", old):
        yield Route(kind, verb, "", namespace, False, "GET", way)


def may(somebody: Somebody, route: Route) -> bool:
    """Whether they may, by what is written above."""
    verbs = [route.verb]
    if route.verb == "get" and route.subresource in ("exec", "attach", "portforward"):
        verbs.append("create")
    if somebody.everywhere == ALL:
        return True
    assert isinstance(somebody.everywhere, frozenset)
    allowed = somebody.everywhere | (somebody.inside if route.namespace == OWN else frozenset())
    return all((route.kind.group, verb, route.resource) in allowed for verb in verbs)


ROUTES = tuple(routes())


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RestApi]:
    """The handler of all requests, over the default roles and a binding for each who needs one."""
    async with AsyncExitStack() as stack:
        store = MemoryStore(MemoryBackend())
        stack.push_async_callback(store.close)
        registry = Registry(store)
        dialer = Dialer(NoStreams())
        aggregator = front_proxy(tmp_path, registry, dialer)
        await registry.start()
        verbs = Verbs.over(registry, SystemClock(), RandomIds(), Settings(), dialer)
        for closing in (registry.close, verbs.close, dialer.close, aggregator.close):
            stack.push_async_callback(closing)
        internal = WriteOptions(internal=True)
        await verbs.writes.create(kinds.NAMESPACE, "", core.Namespace(metadata=meta.ObjectMeta(name=OWN)), internal)
        await ensure_roles(verbs)
        for kind, namespace, name, role in (
            (kinds.ROLE_BINDING, OWN, "view", "view"),
            (kinds.ROLE_BINDING, OWN, "edit", "edit"),
            (kinds.ROLE_BINDING, OWN, "admin", "admin"),
            (kinds.CLUSTER_ROLE_BINDING, "", "view-all", "view"),
            (kinds.CLUSTER_ROLE_BINDING, "", "cluster-admin", "cluster-admin"),
        ):
            binding = kind.type(
                metadata=meta.ObjectMeta(name=f"test-{name}", namespace=namespace),
                role_ref=rbac.RoleRef(api_group=kinds.ROLE.group, kind="ClusterRole", name=role),
                subjects=(rbac.Subject(kind="User", api_group=kinds.ROLE.group, name=name),),
            )
            await verbs.writes.create(kind, namespace, binding, internal)
        users = {name: somebody.user for name, somebody in PEOPLE.items()}
        yield RestApi(
            Deps(
                verbs=verbs, streams=NoStreams(), dialer=dialer, site=SiteInfo("127.0.0.1:6443"),
                metrics=Metrics(CollectorRegistry()), aggregator=aggregator, verify_token=users.get,
            )
        )  # fmt: skip


_APP = web.Application()
_MOCK = Mock()
_PLAIN = Mock(get_extra_info=lambda name: None)
"""What is around a request and has no part in its answer: a connection without TLS, once for all, as mocks are slow."""


async def asked(api: RestApi, name: str, method: str, path: str, accept: str = "text/none") -> int:
    """The code of the answer to somebody."""
    headers = {"Accept": accept}
    if PEOPLE[name].user is not None:
        headers["Authorization"] = f"Bearer {name}"
    request = make_mocked_request(method, path, headers, app=_APP, writer=_MOCK, protocol=_MOCK, transport=_PLAIN)
    return (await api.handle(request)).status


def test_every_route_is_what_it_is_called() -> None:
    """The words of a route, from which its answer is expected, are those that the server reads out of its path."""
    for route in ROUTES:
        path, _, query = route.path.partition("?")
        place = paths.parse(path)
        assert place is not None, route.path
        assert (place.kind, place.namespace, place.subresource) == (route.kind, route.namespace, route.subresource)
        assert paths.verb(route.method, place, bool(query)) == route.verb, route.path
    assert len({route.path for route in ROUTES}) > 500
    assert {route.kind for route in ROUTES} == set(kinds.KINDS)


@pytest.mark.parametrize("name", PEOPLE)
async def test_every_route_is_for_those_who_may(api: RestApi, name: str) -> None:
    wrong, counted = [], Counter[bool]()
    for route in ROUTES:
        code = await asked(api, name, route.method, route.path)
        expected = may(PEOPLE[name], route)
        counted[expected] += 1
        # Streams and proxies miss their parameters, their pod or their service first; all others refuse the form.
        passed = (400, 404) if route.subresource in STREAMED else (406,)
        if code not in (passed if expected else (403,)):
            wrong.append(f"{route.method} {route.path}: {code}, allowed: {expected}")
    assert not wrong, "\n".join((f"{len(wrong)} of {len(ROUTES)} routes", *wrong[:20]))
    assert counted[True] or name == "anonymous"


@pytest.mark.parametrize("name", PEOPLE)
async def test_every_page_is_for_those_who_may(api: RestApi, name: str) -> None:
    for path in (*PUBLIC, *DISCOVERY, *CLOSED, KEYS):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            allowed = name == "cluster-admin" or (method == "GET" and path in PEOPLE[name].pages)
            code = await asked(api, name, method, path, "*/*")
            assert (code != 403) is allowed, f"{method} {path}: {code}"
            assert code != 500, f"{method} {path}"


async def test_a_role_that_is_taken_away_is_gone(api: RestApi) -> None:
    """The matrix holds at every moment, not only for what was there when a user first came."""
    path = f"/api/v1/namespaces/{OWN}/pods"
    assert await asked(api, "view", "GET", path) == 406
    binding = f"/apis/{kinds.ROLE.group}/v1/namespaces/{OWN}/rolebindings/test-view"
    assert await asked(api, "cluster-admin", "DELETE", binding, "*/*") == 200
    assert await asked(api, "view", "GET", path) == 403
