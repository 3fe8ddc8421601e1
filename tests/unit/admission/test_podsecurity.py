"""Pod security: every check of the standard in its versions, and whom a namespace's labels refuse or warn."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import security_levels as levels
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, Invalid
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import Cluster
from tests.unit.admission.test_classes import made

PREFIX = "pod-security.kubernetes.io/"
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", **fields}


def secured(name: str = "c", **context: Any) -> dict[str, Any]:
    return container(name, securityContext=HARDENED | context)


def pod(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    metadata = {"annotations": annotations or {}}
    return made(kinds.POD, "p", metadata, spec={"containers": list(containers or (container(),)), **spec})


def found(level: str, obj: Any, version: str = "latest") -> str:
    return levels.details(levels.violations(levels.Level(level, version), obj.metadata, obj.spec))


def test_a_plain_pod_is_baseline_and_not_restricted() -> None:
    assert found("baseline", pod()) == ""
    assert found("privileged", pod(container(securityContext={"privileged": True}))) == ""
    assert found("restricted", pod()) == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" '
        'or "Localhost")'
    )
    assert found("restricted", pod(secured())) == ""


BAD: list[tuple[Any, str]] = [
    (
        pod(container(securityContext={"appArmorProfile": {"type": "Unconfined"}})),
        'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")',
    ),
    (
        pod(annotations={"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}),
        (
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
            '"container.apparmor.security.beta.kubernetes.io/c="unconfined"")'
        ),
    ),
    (
        pod(container("a", securityContext={"capabilities": {"add": ["NET_RAW", "CHOWN"]}}),
            container("b", securityContext={"capabilities": {"add": ["SYS_ADMIN"]}})),
        (
            'non-default capabilities (containers "a", "b" must not include "NET_RAW", "SYS_ADMIN" in '
            "securityContext.capabilities.add)"
        ),
    ),
    (
        pod(hostNetwork=True, hostPID=True, hostIPC=True),
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
    (
        pod(container(ports=[{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 443}])),
        'hostPort (container "c" uses hostPorts 443, 80)',
    ),
    (
        pod(container(livenessProbe={"httpGet": {"port": 1, "host": "10.0.0.1"}})),
        'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")',
    ),
    (
        pod(container(securityContext={"privileged": True})),
        'privileged (container "c" must not set securityContext.privileged=true)',
    ),
    (
        pod(container(securityContext={"procMount": "Unmasked"})),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        pod(container(), securityContext={"seLinuxOptions": {"type": "t", "user": "u", "role": "r"}}),
        (
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "t"; user may not be set; '
            "role may not be set)"
        ),
    ),
    (
        pod(container(securityContext={"seccompProfile": {"type": "Unconfined"}}),
            securityContext={"seccompProfile": {"type": "Unconfined"}}),
        'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "forbidden sysctls (kernel.msgmax)"),
    (
        pod(container(securityContext={"windowsOptions": {"hostProcess": True}})),
        'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_the_checks_of_the_baseline(bad: Any, why: str) -> None:
    assert found("baseline", bad) == why


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (
            pod(secured(), volumes=[
                {"name": "v", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {"server": "s", "path": "/"}},
            ]),
            'restricted volume types (volumes "v", "n" use restricted volume types "hostPath", "nfs")',
        ),
        (
            pod(secured(capabilities={"drop": ["ALL"], "add": ["NET_RAW", "NET_BIND_SERVICE"]})),
            'unrestricted capabilities (container "c" must not include "NET_RAW" in securityContext.capabilities.add)',
        ),
        (
            pod(secured(runAsNonRoot=False), securityContext={"runAsNonRoot": False}),
            'runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false)',
        ),
        (pod(secured(runAsUser=0)), 'runAsUser=0 (container "c" must not set runAsUser=0)'),
        (
            pod(secured(procMount="Unmasked"), hostUsers=False),
            'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
        ),
    ],
)  # fmt: skip
def test_the_checks_of_the_restricted_level(bad: Any, why: str) -> None:
    assert found("restricted", bad) == why


@pytest.mark.parametrize(
    ("level", "obj", "before", "since", "reason"),
    [
        ("restricted", pod(container(securityContext={"runAsNonRoot": True})), "v1.7", "v1.8", "allowPrivilege"),
        ("restricted", pod(secured(capabilities={})), "v1.21", "v1.22", "unrestricted capabilities"),
        ("restricted", pod(secured(runAsUser=0)), "v1.22", "v1.23", "runAsUser=0"),
        ("restricted", pod(secured(seccompProfile=None)), "v1.18", "v1.19", "seccompProfile"),
        ("baseline", pod(container(livenessProbe={"tcpSocket": {"port": 1, "host": "h"}})), "v1.33", "v1.34", "probe"),
    ],
)  # fmt: skip
def test_a_check_holds_from_its_version_on(level: str, obj: Any, before: str, since: str, reason: str) -> None:
    assert reason not in found(level, obj, before)
    assert reason in found(level, obj, since)
    assert reason in found(level, obj, "v1.99")


@pytest.mark.parametrize(
    ("level", "obj", "before", "since"),
    [
        ("baseline", pod(container(securityContext={"procMount": "Unmasked"}), hostUsers=False), "v1.34", "v1.35"),
        ("restricted", pod(secured(runAsNonRoot=None, runAsUser=0), hostUsers=False), "v1.34", "v1.35"),
        ("restricted", pod(secured(allowPrivilegeEscalation=None), os={"name": "windows"}), "v1.24", "v1.25"),
        ("baseline", pod(securityContext={"seLinuxOptions": {"type": "container_engine_t"}}), "v1.30", "v1.31"),
        ("baseline", pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}), "v1.31", "v1.32"),
        ("baseline", pod(annotations={"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}), "v1.18", "v1.19"),
    ],
)  # fmt: skip
def test_a_check_is_relaxed_from_its_version_on(level: str, obj: Any, before: str, since: str) -> None:
    assert found(level, obj, before) != ""
    assert found(level, obj, since) == ""


def test_all_containers_are_looked_at() -> None:
    obj = pod(initContainers=[container("i")], ephemeralContainers=[container("e")])
    told = 'containers "i", "c", "e" must set securityContext.allowPrivilegeEscalation'
    assert told in found("restricted", obj)


def namespace(**labels: str) -> core.Namespace:
    asked = {PREFIX + mode.replace("_", "-"): value for mode, value in labels.items()}
    metadata = meta.ObjectMeta(name="default", labels=asked)
    return core.Namespace(metadata=metadata, status=core.NamespaceStatus(phase="Active"))


def test_what_is_enforced_is_refused() -> None:
    cluster = Cluster((namespace(enforce="baseline", enforce_version="v1.30", warn="restricted"),))
    with pytest.raises(Forbidden) as refused:
        cluster.create(pod(hostPID=True), "default")
    assert refused.value.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostPID=true)'
    )
    (warning,) = cluster.create(pod(), "default").warnings
    assert warning.startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (')
    assert cluster.create(pod(secured()), "default").warnings == ()


def test_the_audit_log_is_told() -> None:
    cluster = Cluster((namespace(audit="restricted"),))
    (told,) = cluster.create(pod(), "default").annotations.items()
    assert told[0] == "pod-security.kubernetes.io/audit-violations"
    assert told[1].startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (')
    assert cluster.create(pod(secured()), "default").annotations == {}
    with pytest.raises(Forbidden) as refused:
        Cluster((namespace(enforce="restricted", audit="restricted"),)).create(pod(), "default")
    assert refused.value.annotations == dict((told,))


@pytest.mark.parametrize(
    "kind", [kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB, kinds.CRON_JOB, kinds.POD_TEMPLATE]
)
def test_templates_are_warned_of_and_never_refused(kind: Any) -> None:
    cluster = Cluster((namespace(enforce="restricted", warn="restricted"),))
    warnings = cluster.create(made(kind), "default").warnings
    assert [one for one in warnings if one.startswith('would violate PodSecurity "restricted:latest": ')]
    silent = Cluster((namespace(enforce="restricted"),)).create(made(kind), "default").warnings
    assert not [one for one in silent if "PodSecurity" in one]


def test_a_pod_may_go_on_but_not_get_worse() -> None:
    old = Cluster((namespace(),)).create(pod(hostPID=True), "default").object
    cluster = Cluster((namespace(enforce="baseline"),))
    labelled = replace(old, metadata=replace(old.metadata, labels={"a": "b"}))
    assert cluster.update(labelled, old).object.metadata.labels == {"a": "b"}
    images = tuple(replace(c, image="other") for c in old.spec.containers)
    with pytest.raises(Forbidden, match="violates PodSecurity"):
        cluster.update(replace(old, spec=replace(old.spec, containers=images)), old)


def test_labels_must_mean_something() -> None:
    with pytest.raises(Invalid) as refused:
        Cluster().create(namespace(enforce="strict", warn_version="1.30"), "")
    assert refused.value.message == (
        'Namespace "default" is invalid: ['
        'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted, "
        'metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.30": must be "latest" or "v1.x"]'
    )


def test_who_raises_the_level_hears_of_the_pods_that_are_there() -> None:
    before = namespace(enforce="privileged")
    cluster = Cluster((before,))
    bad = cluster.create(pod(hostPID=True), "default").object
    others = [replace(bad, metadata=replace(bad.metadata, name=name)) for name in ("q", "r")]
    good = cluster.create(made(kinds.POD, "good", spec={"containers": [secured()]}), "default").object
    cluster = cluster.having(bad, *others, good)
    stored = cluster.view.get(kinds.NAMESPACE, "", "default")
    assert stored is not None
    labels = {**stored.metadata.labels, f"{PREFIX}enforce": "baseline"}
    changed = replace(stored, metadata=replace(stored.metadata, labels=labels))
    assert cluster.update(changed, stored).warnings == (
        'existing pods in namespace "default" violate the new PodSecurity enforce level "baseline:latest"',
        "p (and 2 other pods): host namespaces",
    )
    assert cluster.update(stored, changed).warnings == (), "what is relaxed harms nobody"
