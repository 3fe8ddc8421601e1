"""The paths that name no objects: what the server is, what it can do, how it feels.

`/version`, `/healthz` `/livez` `/readyz`, `/metrics` `/metrics/slis`, discovery under `/api` and `/apis`, `/openapi`.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from controlplane.server import negotiate, rest_forms
from controlplane.server.aggregation.refresh import NOTHING, Extended
from controlplane.server.discovery import Discovery, Offer
from controlplane.server.openapi import OpenApi, Others
from controlplane.server.rest_answers import compressed, json_answer
from controlplane.store.registry import Registry
from controlplane.store.values import StoreError
from mizzen.api import errors
from mizzen.api.errors import ApiError

_CHECK_S = 2.0
"""How long a health check may take, in seconds."""
_METHODS = ("GET", "HEAD")
_HEALTH = ("healthz", "livez", "readyz")

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises when not."""
Page = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class SiteInfo:
    """What the server says of itself."""

    address: str
    """Where clients reach it: `host:port`."""
    git_version: str = "v1.36.0"
    """The version of the API that it speaks, with its own behind a `+`."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    """Further checks of `/readyz`, by name."""
    documents: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """Further pages that never change: content type and body by path."""


class Site:
    """Answers for the paths that name no objects."""

    def __init__(
        self,
        info: SiteInfo,
        registry: Registry,
        metrics: CollectorRegistry,
        extended: Callable[[], Extended] = lambda: NOTHING,
    ) -> None:
        """Speak for a server over `registry`, and for those that extend it."""
        self._extended = extended
        self._info = info
        self._registry = registry
        self._metrics = metrics
        self._discovery = Discovery(info.address)
        self._openapi = OpenApi(info.git_version)
        self._version = _version(info.git_version)
        self._slis = CollectorRegistry()
        self._health_now = Gauge(
            "kubernetes_healthcheck", "Whether a check passed when it was last made.", ("name", "type"),
            registry=self._slis,
        )  # fmt: skip
        self._health_told = Counter(
            "kubernetes_healthchecks", "Checks that were made.", ("name", "type", "status"), registry=self._slis
        )
        self._checks: dict[str, Check] = {"etcd": self._store_answers, **info.checks}

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to a request whose path names no objects. Raises PathNotFound."""
        path = request.path.removesuffix("/") or "/"
        first = path.split("/")[1]
        if request.method not in _METHODS:
            raise errors.MethodNotAllowed(_METHODS) if self._has(first, path) else errors.PathNotFound()
        if first in _HEALTH:
            return await self._health(request, first, path)
        if path == "/version":
            return json_answer(self._version)
        if path in self._info.documents:
            content_type, body = self._info.documents[path]
            return web.Response(body=body, headers={"Content-Type": content_type})
        if path in ("/metrics", "/metrics/slis"):
            shown = generate_latest(self._metrics if path == "/metrics" else self._slis)
            return web.Response(body=shown, headers={"Content-Type": CONTENT_TYPE_LATEST})
        if first == "openapi":
            extended = self._extended()
            others = Others(extended.described, extended.swaggers)
            answer = await self._openapi.answer(request, path, self._registry.catalog, others)
            return await compressed(request, answer)
        return await compressed(request, self._discover(request, path))

    @property
    def _offer(self) -> Offer:
        return Offer(self._registry.catalog, self._extended().extensions)

    def _has(self, first: str, path: str) -> bool:
        known = (*_HEALTH, "version", "metrics", "openapi")
        return first in known or self._discovery.document(self._offer, path) is not None

    def _discover(self, request: web.Request, path: str) -> web.Response:
        accept = request.headers.get("Accept", "")
        version = negotiate.discovery_version(accept) if path in ("/api", "/apis") else ""
        if not version:
            return self._classic(accept, path)
        document = self._discovery.aggregated(self._offer, path, version)
        content_type = f"{negotiate.JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        headers = {"ETag": document.etag, "Vary": "Accept", "Cache-Control": "public"}
        if request.headers.get("If-None-Match") == document.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=document.body, headers={"Content-Type": content_type, **headers})

    def _classic(self, accept: str, path: str) -> web.Response:
        document = self._discovery.document(self._offer, path)
        if document is None:
            raise errors.PathNotFound
        # The list of paths is no type of the API, so there is no message for it.
        output = negotiate.output(accept, protobuf=path != "/")
        headers = {"Content-Type": output.media_type, "Vary": "Accept", "Cache-Control": "no-cache, private"}
        return web.Response(body=rest_forms.value_body(output, document.value, document.body), headers=headers)

    async def _health(self, request: web.Request, root: str, path: str) -> web.Response:
        checks = {} if root == "livez" else self._checks
        spared = [name for names in request.query.getall("exclude", ()) for name in names.split(",") if name]
        wanted = path.split("/")[2:]
        if wanted:
            if wanted == ["ping"]:
                checks = {}
            elif wanted[0] in checks and len(wanted) == 1:
                checks = {wanted[0]: checks[wanted[0]]}
            else:
                raise errors.PathNotFound
        lines, healthy = ["[+]ping ok"], True
        self._checked("ping", root, passed=True)
        for name, check in checks.items():
            if name in spared:
                lines.append(f"[+]{name} excluded: ok")
                continue
            problem = await _tried(check)
            healthy = healthy and not problem
            self._checked(name, root, passed=not problem)
            lines.append(f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok")
        if unknown := [name for name in spared if name not in ("ping", *self._checks)]:
            named = ", ".join(errors.quoted(name) for name in unknown)
            lines.append(f"[warn] some health checks cannot be excluded: no matches for {named}")
        if healthy and "verbose" not in request.query:
            return _text("ok")
        lines.append(f"{root} check {'passed' if healthy else 'failed'}")
        return _text("\n".join(lines) + "\n", 200 if healthy else 500)

    def _checked(self, name: str, root: str, *, passed: bool) -> None:
        self._health_now.labels(name, root).set(passed)
        self._health_told.labels(name, root, "success" if passed else "error").inc()

    async def _store_answers(self) -> None:
        await self._registry.fresh(_CHECK_S)


async def _tried(check: Check) -> str:
    """What a check complains of; empty when it passes."""
    try:
        async with asyncio.timeout(_CHECK_S):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_S:g} s"
    except (StoreError, ApiError, OSError) as error:
        return str(error)
    return ""


def _text(text: str, code: int = 200) -> web.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=text.encode(), status=code, headers=headers)


def _version(git_version: str) -> bytes:
    major, minor, *_ = git_version.removeprefix("v").split(".")
    return msgspec.json.encode(
        {
            "major": major,
            "minor": minor,
            "gitVersion": git_version,
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": platform.python_implementation().lower(),
            "platform": f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
        }
    )


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
