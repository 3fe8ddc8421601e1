"""A site as the files of an HAProxy (2.6 or newer): its configuration, the list of certificates, and these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from nodeagent.ingress.site import Certificate, Route, Site, Target

CONFIG, LIST, CERTIFICATES = "haproxy.cfg", "certificates.list", "certificates"
NOTHING = "nothing"
"""The backend of requests that nobody wants."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the proxy is to run."""

    folder: PurePath
    """Holds all its files."""
    http_port: int = 80
    https_port: int = 443
    user: str = ""
    """Whom it runs as once it listens; empty: as whoever starts it."""


def files(site: Site, place: Place) -> Mapping[str, bytes]:
    """All files by their path below the folder."""
    made = {CONFIG: "".join(f"{line}\n" for line in _config(site, place)).encode()}
    if site.certificates:
        made[LIST] = "".join(f"{_listed(one, place)}\n" for one in site.certificates).encode()
        made |= {f"{CERTIFICATES}/{_file(one)}": one.pem for one in site.certificates}
    return made


def _config(site: Site, place: Place) -> Iterator[str]:
    yield "global"
    if place.user:
        yield f"    user {place.user}"
    # A new worker takes the open listeners over from the old one, which goes on with the connections that it has.
    yield f"    stats socket {place.folder}/admin.sock mode 600 level admin expose-fd listeners"
    yield "    hard-stop-after 15m"
    yield "    ssl-default-bind-options ssl-min-ver TLSv1.2"
    yield "defaults"
    yield "    mode http"
    for name, time in _TIMEOUTS:
        yield f"    timeout {name} {time}"
    yield from ("    retries 3", "    option redispatch", "    retry-on conn-failure", "    option forwardfor")
    # A connection that is kept may be one to a pod that is about to end.
    yield "    http-reuse never"
    yield from _frontend("http", f"bind :{place.http_port}", site)
    if site.certificates:
        bind = f"bind :{place.https_port} ssl crt-list {place.folder}/{LIST} alpn h2,http/1.1"
        yield from _frontend("https", bind, site)
    yield f"backend {NOTHING}"
    yield "    http-request return status 404 content-type text/plain string 'default backend - 404'"
    for target in sorted({one.name: one for one in _targets(site)}.values(), key=lambda one: one.name):
        yield f"backend {target.name}"
        for number, server in enumerate(target.servers):
            yield f"    server s{number} {server.ip}:{server.port}"


_TIMEOUTS = (
    ("connect", "3s"), ("client", "60s"), ("server", "60s"), ("http-request", "10s"), ("http-keep-alive", "60s"),
    ("queue", "10s"), ("tunnel", "1h"),
)  # fmt: skip


def _frontend(name: str, bind: str, site: Site) -> Iterator[str]:
    yield f"frontend {name}"
    yield f"    {bind}"
    yield "    http-request set-var(txn.host) req.hdr(host),field(1,:),lower"
    yield f"    http-request set-header X-Forwarded-Proto {name}"
    for route in site.routes:
        yield from (f"    use_backend {route.target.name}{condition}" for condition in _conditions(route))
    yield f"    default_backend {site.default.name if site.default is not None else NOTHING}"


def _conditions(route: Route) -> Iterator[str]:
    """Each as it stands after the name of a backend; one of them must hold."""
    host = _host(route.host)
    if route.exact:
        paths = [f"{{ path -m str {_quoted(route.path)} }}"]
    elif route.path == "/":
        paths = [""]
    else:
        paths = [f"{{ path -m str {_quoted(route.path)} }}", f"{{ path -m beg {_quoted(route.path + '/')} }}"]
    for path in paths:
        both = " ".join(part for part in (host, path) if part)
        yield f" if {both}" if both else ""


def _host(host: str) -> str:
    if not host:
        return ""
    if host.startswith("*."):
        pattern = "^[^.]+" + host[1:].replace(".", "\\.") + "$"
        return f"{{ var(txn.host) -m reg {_quoted(pattern)} }}"
    return f"{{ var(txn.host) -m str {_quoted(host)} }}"


def _quoted(text: str) -> str:
    """A word in which nothing has a meaning of its own."""
    return "'" + text.replace("'", "'\\''") + "'"


def _targets(site: Site) -> Iterable[Target]:
    yield from (route.target for route in site.routes)
    if site.default is not None:
        yield site.default


def _file(certificate: Certificate) -> str:
    return certificate.name.replace(":", "_") + ".pem"


def _listed(certificate: Certificate, place: Place) -> str:
    return " ".join((f"{place.folder}/{CERTIFICATES}/{_file(certificate)}", *certificate.hosts))
