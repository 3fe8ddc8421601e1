"""What a pod's /etc/resolv.conf and /etc/hosts say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.network.hosts import pod_hosts, shared_hosts
from nodeagent.network.resolv import Resolver, parse, pod_resolver, render

HOST = Resolver(("192.0.2.53",), ("example.org",), ("timeout:2",))
CLUSTER = "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.org\n"


def written(**spec: Any) -> str:
    """The file for a pod of the namespace `shop`."""
    pod = msgspec.convert({"containers": [], **spec}, core.PodSpec)
    return render(pod_resolver(pod, "shop", "10.96.0.10", "cluster.local", HOST))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, CLUSTER + "options ndots:5\n"),
        ({"dnsPolicy": "ClusterFirst"}, CLUSTER + "options ndots:5\n"),
        ({"dnsPolicy": "Default"}, "nameserver 192.0.2.53\nsearch example.org\noptions timeout:2\n"),
        ({"hostNetwork": True}, "nameserver 192.0.2.53\nsearch example.org\noptions timeout:2\n"),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, CLUSTER + "options ndots:5\n"),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}, "nameserver 192.0.2.1\n"),
        (
            {
                "dnsConfig": {
                    "nameservers": ["10.96.0.10", "192.0.2.1"],
                    "searches": ["x.test", "example.org"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                }
            },
            (
                "nameserver 10.96.0.10\nnameserver 192.0.2.1\n"
                "search shop.svc.cluster.local svc.cluster.local cluster.local example.org x.test\n"
                "options ndots:2 edns0\n"
            ),
        ),
    ],
    ids=["unset", "cluster-first", "default", "host-network", "with-host-net", "none", "config-is-added"],
)
def test_resolv_conf(spec: dict[str, Any], expected: str) -> None:
    """Each policy, and dnsConfig on top."""
    assert written(**spec) == expected


def test_reading_the_hosts_file() -> None:
    """Comments, the last search line, options over several lines, words nobody knows."""
    text = """\
# made by hand
nameserver 192.0.2.1
nameserver 192.0.2.2 ; the other one
domain old.test
search a.test b.test
options timeout:2
options edns0 rotate
sortlist 130.155.160.0
nameserver
"""
    assert parse(text) == Resolver(("192.0.2.1", "192.0.2.2"), ("a.test", "b.test"), ("timeout:2", "edns0", "rotate"))
    assert parse(render(parse(text))) == parse(text)


def test_limits() -> None:
    """The C library reads three servers; the file has no more."""
    many = Resolver(tuple(f"192.0.2.{number}" for number in range(5)), tuple(f"s{number}" for number in range(40)))
    assert len(parse(render(many)).nameservers) == 3
    assert len(parse(render(many)).searches) == 32


def test_hosts() -> None:
    """The pod's own names, and the aliases it asks for."""
    aliases = (core.HostAlias(ip="192.0.2.9", hostnames=("db", "db.test")),)
    text = pod_hosts("10.244.1.2", "web-0", "web-0.web.shop.svc.cluster.local", aliases)
    assert "127.0.0.1\tlocalhost\n" in text
    assert "\n10.244.1.2\tweb-0.web.shop.svc.cluster.local\tweb-0\n" in text
    assert text.endswith("# Entries added by HostAliases.\n192.0.2.9\tdb\tdb.test\n")
    assert pod_hosts("10.244.1.2", "web-0", "", ()).endswith("\n10.244.1.2\tweb-0\n")


def test_hosts_of_the_host_network() -> None:
    """The host's own file stays as it is."""
    assert shared_hosts("127.0.0.1 localhost\n", ()) == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
    )
