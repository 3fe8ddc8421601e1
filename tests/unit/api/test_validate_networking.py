"""What the API refuses of ingresses, network policies, addresses and ranges."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import kinds
from tests.unit.api.kind_rules import begins, mistakes, refusals

ING, CLASS, POLICY = kinds.INGRESS, kinds.INGRESS_CLASS, kinds.NETWORK_POLICY
ADDRESS, RANGE = kinds.IP_ADDRESS, kinds.SERVICE_CIDR
WEB: dict[str, Any] = {"service": {"name": "web", "port": {"number": 80}}}
PATHS = "spec.rules[0].http.paths"
PATH = f"{PATHS}[0]"


def route(host: str = "", path: str = "/", type_: str | None = "Prefix", backend: Any = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": path, "pathType": type_, "backend": backend or WEB}
    return {"spec": {"rules": [{"host": host, "http": {"paths": [entry]}}]}}


def backend(**fields: Any) -> dict[str, Any]:
    return route(backend=fields)


def peer(**fields: Any) -> dict[str, Any]:
    return {"spec": {"ingress": [{"from": [fields]}]}}


def port(**fields: Any) -> dict[str, Any]:
    return {"spec": {"egress": [{"ports": [fields]}]}}


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (ING, {"spec": {"defaultBackend": None}}, [
            "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified",
        ]),
        (ING, route("www.example.com"), []),
        (ING, route("*.example.com", type_="ImplementationSpecific", path=""), []),
        (ING, route("a.*.com"), [
            'spec.rules[0].host: Invalid value: "a.*.com": a wildcard DNS-1123 subdomain must start with',
        ]),
        (ING, route("10.0.0.1"), ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP add']),
        (ING, {"spec": {"rules": [{"http": {"paths": []}}]}}, [f"{PATHS}: Required value"]),
        (ING, route(type_=None), [f"{PATH}.pathType: Required value: pathType must be specified"]),
        (ING, route(type_="X"), [
            f'{PATH}.pathType: Unsupported value: "X": supported values: "Exact", "ImplementationSpecific", "Prefix"',
        ]),
        (ING, route(path="a"), [f'{PATH}.path: Invalid value: "a": must be an absolute path']),
        (ING, route(path="/a//b/.."), [
            f"{PATH}.path: Invalid value: \"/a//b/..\": must not contain '//'",
            f"{PATH}.path: Invalid value: \"/a//b/..\": cannot end with '/..'",
        ]),
        (ING, backend(), []),
        (ING, backend(service={"name": ""}), [
            f"{PATH}.backend.service.name: Required value",
            f"{PATH}.backend: Required value: port name or number is required",
        ]),
        (ING, backend(service={"name": "w", "port": {"name": "a", "number": 1}}), [
            f'{PATH}.backend: Invalid value: "": cannot set both port name & port number',
        ]),
        (ING, backend(service={"name": "w", "port": {"number": 70000}}), [
            f"{PATH}.backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ]),
        (ING, backend(resource={"kind": "Bucket", "name": "b"}, **WEB), [
            f'{PATH}.backend: Invalid value: "": cannot set both resource and service backends',
        ]),
        (ING, backend(resource={"kind": "", "name": "a/b"}), [
            f"{PATH}.backend.resource.kind: Required value",
            f"{PATH}.backend.resource.name: Invalid value: \"a/b\": may not contain '/'",
        ]),
        (ING, {"spec": {"tls": [{"hosts": ["A"], "secretName": "B"}]}}, [
            'spec.tls[0].hosts[0]: Invalid value: "A"', 'spec.tls[0].secretName: Invalid value: "B"',
        ]),
        (ING, {"spec": {"ingressClassName": "a"}, "metadata": {"annotations": {"kubernetes.io/ingress.class": "b"}}}, [
            'annotations.kubernetes.io/ingress.class: Invalid value: "b": must match `ingressClassName` when both are',
        ]),
        (CLASS, {"spec": {"controller": ""}}, ["spec.controller: Required value"]),
        (CLASS, {"spec": {"controller": "nginx"}}, [
            'spec.controller: Invalid value: "nginx": must be a domain-prefixed',
        ]),
        (CLASS, {"spec": {"controller": f"a.b/{'c' * 250}"}}, [
            "spec.controller: Too long: may not be more than 250 by",
        ]),
        (CLASS, {"spec": {"parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}}, [
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ]),
        (CLASS, {"spec": {"parameters": {"kind": "K", "name": "n", "namespace": "x"}}}, [
            "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
        ]),
        (CLASS, {"spec": {"parameters": {"kind": "K", "name": "n", "scope": "X"}}}, [
            'spec.parameters.scope: Unsupported value: "X": supported values: "Cluster", "Namespace"',
        ]),
        (POLICY, peer(), ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
        (POLICY, peer(podSelector={}, namespaceSelector={}), []),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0/8"}, podSelector={}), [
            "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
        ]),
        (POLICY, peer(ipBlock={"cidr": ""}), ["spec.ingress[0].from[0].ipBlock.cidr: Required value"]),
        (POLICY, peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "11.0.0.0/16", "x"]}), [
            'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of',
            'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "x": ',
        ]),
        (POLICY, port(port=80, endPort=90), []),
        (POLICY, port(port=80, endPort=70), [
            "spec.egress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
        ]),
        (POLICY, port(port="http", endPort=70), [
            "spec.egress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric",
        ]),
        (POLICY, port(endPort=70), [
            "spec.egress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is not specified",
        ]),
        (POLICY, port(port=0, protocol="ICMP"), [
            'spec.egress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
            "spec.egress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ]),
        (POLICY, {"spec": {"policyTypes": ["X"]}}, [
            'spec.policyTypes[0]: Unsupported value: "X": supported values: "Egr',
        ]),
        (POLICY, {"spec": {"podSelector": {"matchLabels": {"a b": "c"}}}}, [
            'spec.podSelector.matchLabels: Invalid value: "a b": name part must consist of',
        ]),
        (ADDRESS, {"metadata": {"name": "web"}}, ['metadata.name: Invalid value: "web": must be a valid IP address']),
        (ADDRESS, {"metadata": {"name": "2001:DB8::1"}}, [
            'metadata.name: Invalid value: "2001:DB8::1": must be in can',
        ]),
        (ADDRESS, {"spec": {"parentRef": None}}, ["spec.parentRef: Required value"]),
        (ADDRESS, {"spec": {"parentRef": {"resource": "", "name": ""}}}, [
            "spec.parentRef.resource: Required value", "spec.parentRef.name: Required value",
        ]),
        (RANGE, {"spec": {"cidrs": []}}, ["spec.cidrs: Required value: at least one CIDR required"]),
        (RANGE, {"spec": {"cidrs": ["10.0.0.1/8"]}}, [
            'spec.cidrs[0]: Invalid value: "10.0.0.1/8": must be in canonical',
        ]),
        (RANGE, {"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}}, [
            'spec.cidrs: Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: may specify no more than one IP for each',
        ]),
        (RANGE, {"spec": {"cidrs": ["10.0.0.0/8", "fd00::/64", "11.0.0.0/8"]}}, ["spec.cidrs: Invalid value: "]),
    ],
)  # fmt: skip
def test_mistakes(kind: kinds.Kind[Any], change: dict[str, Any], expected: list[str]) -> None:
    begins(mistakes(kind, change), expected)


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (CLASS, {"spec": {"controller": "example.com/other"}}, ["spec.controller: Invalid value: "]),
        (ADDRESS, {"spec": {"parentRef": {"name": "other"}}}, ["spec.parentRef: Invalid value: "]),
        (RANGE, {"spec": {"cidrs": ["10.98.0.0/16"]}}, [
            'spec.cidrs: Invalid value: ["10.98.0.0/16"]: field is immutable',
        ]),
        (RANGE, {"spec": {"cidrs": ["10.97.0.0/16", "fd00::/112"]}}, []),
        (RANGE, {"spec": {"cidrs": ["fd00::/112", "10.97.0.0/16"]}}, ['spec.cidrs[0]: Invalid value: "fd00::/112"']),
        (ING, route("www.example.com"), []),
    ],
)  # fmt: skip
def test_what_stays(kind: kinds.Kind[Any], change: dict[str, Any], expected: list[str]) -> None:
    begins(refusals(kind, change), expected)


def test_the_status_of_an_ingress_names_addresses() -> None:
    entries = [{"ip": "x"}, {"hostname": "10.0.0.1"}, {"hostname": "lb.example.com"}]
    begins(
        refusals(ING, {"status": {"loadBalancer": {"ingress": entries}}}, status=True),
        [
            'status.loadBalancer.ingress[0].ip: Invalid value: "x"',
            'status.loadBalancer.ingress[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
        ],
    )
