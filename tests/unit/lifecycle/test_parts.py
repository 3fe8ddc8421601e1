"""The smaller deciders: probes, admission, specs, pull credentials, whose log is meant."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.lifecycle.admit import Host, admit
from nodeagent.lifecycle.containers import spec_hash
from nodeagent.lifecycle.credentials import credentials
from nodeagent.lifecycle.downward import ConfigError
from nodeagent.lifecycle.logs import NoLogs, chosen_container, logs_of
from nodeagent.lifecycle.memory import ContainerMemory, Ending, PodMemory
from nodeagent.lifecycle.probes import Outcome, after, begin, jobs, port_of
from nodeagent.lifecycle.specs import (
    Made,
    container_spec,
    limits,
    names_of,
    oom_score_adj,
    sandbox_spec,
    seccomp_profile,
)
from nodeagent.runtime.values import Mount, Status
from tests.unit.lifecycle.model import container, instance, pod

GOOD, BAD, BROKEN = Outcome.SUCCESS, Outcome.FAILURE, Outcome.ERROR


# ------------------------------------------------------------------------------------------------------ probes


@pytest.mark.parametrize(
    ("outcomes", "success", "failure", "verdict"),
    [
        pytest.param([], 1, 3, None, id="nothing-yet"),
        pytest.param([GOOD], 1, 3, True, id="one-success"),
        pytest.param([GOOD], 2, 3, None, id="one-of-two"),
        pytest.param([GOOD, BAD, GOOD], 2, 3, None, id="not-in-a-row"),
        pytest.param([BAD, BAD], 1, 3, None, id="two-of-three"),
        pytest.param([BAD, BAD, BAD], 1, 3, False, id="three-failures"),
        pytest.param([GOOD, BAD, BAD], 1, 3, True, id="still-good"),
        pytest.param([GOOD, BAD, BAD, GOOD, BAD, BAD], 1, 3, True, id="failures-not-in-a-row"),
        pytest.param([BAD, BAD, BAD, GOOD], 1, 3, True, id="recovered"),
        pytest.param([BAD, BROKEN, BAD, BROKEN], 1, 2, False, id="errors-count-neither-way"),
        pytest.param([BROKEN] * 9, 1, 3, None, id="errors-alone-decide-nothing"),
        pytest.param([BAD] * 3, 1, 0, False, id="default-threshold"),
    ],
)
def test_thresholds(outcomes: list[Outcome], success: int, failure: int, verdict: bool | None) -> None:
    probe = core.Probe(success_threshold=success, failure_threshold=failure, period_seconds=1)
    state = begin(probe, 0, 0)
    for number, outcome in enumerate(outcomes):
        state = after(probe, state, outcome, "no", number * 1000)
    assert state.verdict.ok is verdict
    assert state.verdict.failures == sum(outcome is not GOOD for outcome in outcomes)


def test_probes_keep_their_rhythm() -> None:
    probe = core.Probe(initial_delay_seconds=5, period_seconds=10)
    state = begin(probe, age_ms=2_000, now_ms=100)
    assert state.due_ms == 3_100
    state = after(probe, state, GOOD, "", now_ms=3_900)
    assert state.due_ms == 13_100, "a slow run does not shift the next"
    state = after(probe, state, GOOD, "", now_ms=60_000)
    assert state.due_ms == 60_001, "what was missed is not made up for"


def test_probe_messages_read_as_in_kubernetes() -> None:
    probe = core.Probe()
    state = after(probe, begin(probe, 0, 0), BAD, "HTTP probe failed with statuscode: 500", 0)
    assert state.verdict.message == "failed: HTTP probe failed with statuscode: 500"
    assert after(probe, state, BROKEN, "no such container", 0).verdict.message == "errored: no such container"
    assert len(after(probe, state, BAD, "x" * 5000, 0).verdict.message) < 1100


def _probed(**memory: Any) -> list[str]:
    probe = core.Probe()
    spec = pod(container(startup_probe=probe, liveness_probe=probe, readiness_probe=probe))
    ending = memory.pop("ending", None)
    kept = PodMemory(containers={"app": ContainerMemory(**memory)}, ending=ending)
    return [job.kind for job in jobs(spec, kept)]


def test_which_probes_run_when() -> None:
    assert _probed() == []
    assert _probed(instance="i") == ["startup"]
    assert _probed(instance="i", hook="running") == []
    assert _probed(instance="i", started=True) == ["liveness", "readiness"]
    assert _probed(instance="i", started=True, end_by_ms=1) == ["readiness"]
    assert _probed(instance="i", started=True, ending=Ending(0, 1)) == ["readiness"]
    assert _probed(instance="i", ending=Ending(0, 1)) == []


def test_ports_are_found_by_name() -> None:
    app = container(ports=(core.ContainerPort(name="web", container_port=8080),))
    assert [port_of(app, port) for port in (80, "81", "web", "none")] == [80, 81, 8080, 0]


# --------------------------------------------------------------------------------------------------- admission


def wanting(name: str = "p", **requests: str) -> core.Pod:
    """A pod that asks for these."""
    return pod(container(name, resources=core.ResourceRequirements(requests=requests)), tolerations=BEARS)


HOST = Host(
    name="n1",
    allocatable={"cpu": 2000, "memory": 4 << 30, "pods": 3, "example.com/fpga": 1},
    labels={"disk": "ssd"},
    taints=(core.Taint(key="broken", effect="NoExecute"), core.Taint(key="later", effect="NoSchedule")),
    unsafe_sysctls=("net.core.*", "kernel.msgmax"),
)
BEARS = (core.Toleration(key="broken", operator="Exists"),)


@pytest.mark.parametrize(
    ("wanted", "others", "reason"),
    [
        pytest.param(wanting(), 0, None, id="nothing-asked"),
        pytest.param(wanting(cpu="2"), 0, None, id="exactly-fits"),
        pytest.param(wanting(cpu="2001m"), 0, "OutOfcpu", id="cpu"),
        pytest.param(wanting(cpu="1500m"), 1, "OutOfcpu", id="cpu-with-others"),
        pytest.param(wanting(memory="5Gi"), 0, "OutOfmemory", id="memory"),
        pytest.param(wanting(**{"example.com/fpga": "2"}), 0, "OutOfexample.com/fpga", id="extended"),
        pytest.param(wanting(**{"example.com/gpu": "1"}), 0, None, id="extended-and-not-of-the-node"),
        pytest.param(wanting(), 3, "OutOfpods", id="pods"),
    ],
)
def test_room(wanted: core.Pod, others: int, reason: str | None) -> None:
    rejection = admit(wanted, [wanting(cpu="600m")] * others, HOST)
    assert (rejection.reason if rejection else None) == reason


def test_a_rejection_gives_numbers() -> None:
    rejection = admit(wanting(cpu="1500m"), [wanting(cpu="600m")], HOST)
    assert rejection is not None
    assert rejection.message == ("Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000")


@pytest.mark.parametrize(
    ("a", "b", "clash"),
    [
        pytest.param({"host_port": 80}, {"host_port": 80}, True, id="same"),
        pytest.param({"host_port": 80}, {"host_port": 81}, False, id="other-port"),
        pytest.param({"host_port": 80}, {"host_port": 80, "protocol": "UDP"}, False, id="other-protocol"),
        pytest.param({"host_port": 80, "host_ip": "10.0.0.1"}, {"host_port": 80}, True, id="one-for-all-addresses"),
        pytest.param(
            {"host_port": 80, "host_ip": "10.0.0.1"}, {"host_port": 80, "host_ip": "10.0.0.2"}, False, id="other-ip"
        ),
        pytest.param({}, {}, False, id="none"),
    ],
)
def test_host_ports_clash(a: dict[str, Any], b: dict[str, Any], clash: bool) -> None:
    ports = [core.ContainerPort(container_port=80, **port) for port in (a, b)]
    one, two = (pod(container(ports=(port,)), tolerations=BEARS) for port in ports)
    rejection = admit(one, [two], HOST)
    assert (rejection is not None and rejection.reason == "NodePorts") is clash


def affine(key: str, *values: str) -> core.Affinity:
    """A pod's wish to be where a label has one of these values."""
    term = core.NodeSelectorTerm(
        match_expressions=(core.NodeSelectorRequirement(key=key, operator="In", values=values),)
    )
    required = core.NodeSelector(node_selector_terms=(term,))
    return core.Affinity(node_affinity=core.NodeAffinity(required_during_scheduling_ignored_during_execution=required))


def setting(*names: str, **fields: Any) -> core.PodSecurityContext:
    """A security context that sets kernel parameters."""
    return core.PodSecurityContext(sysctls=tuple(core.Sysctl(name=name, value="1") for name in names), **fields)


ARMOR = core.AppArmorProfile(type="RuntimeDefault")


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        ({}, "", ""),
        ({"node_selector": {"disk": "ssd"}, "affinity": affine("disk", "ssd")}, "", ""),
        ({"node_selector": {"disk": "tape"}}, "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match"),
        ({"affinity": affine("disk", "tape")}, "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match"),
        ({"tolerations": ()}, "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod"),
        ({"security_context": setting("net.ipv4.tcp_syncookies", "net/core/somaxconn", "kernel.msgmax")}, "", ""),
        (
            {"security_context": setting("kernel.sem")},
            "SysctlForbidden",
            'forbidden sysctl: "kernel.sem" not allowlisted',
        ),
        (
            {"security_context": setting("net.core.somaxconn"), "host_network": True},
            "SysctlForbidden",
            'forbidden sysctl: "net.core.somaxconn" not allowed with host net enabled',
        ),
        (
            {"security_context": setting("kernel.msgmax"), "host_ipc": True},
            "SysctlForbidden",
            'forbidden sysctl: "kernel.msgmax" not allowed with host ipc enabled',
        ),
        ({"security_context": setting(app_armor_profile=ARMOR)}, "AppArmor", "Cannot enforce AppArmor: AppArmor is"),
        ({"security_context": setting(app_armor_profile=core.AppArmorProfile(type="Unconfined"))}, "", ""),
    ],
)
def test_what_belongs_elsewhere(fields: dict[str, Any], reason: str, message: str) -> None:
    rejection = admit(pod(**{"tolerations": BEARS, **fields}), [], HOST)
    assert (rejection.reason if rejection else "") == reason
    assert (rejection.message if rejection else "").startswith(message)


def test_nothing_is_refused_over_what_is_not_known_yet() -> None:
    host = Host(allocatable=HOST.allocatable)
    assert admit(pod(node_selector={"disk": "tape"}), [], host) is None
    confined = pod(security_context=core.PodSecurityContext(app_armor_profile=ARMOR))
    assert admit(confined, [], Host(allocatable=HOST.allocatable, app_armor=True)) is None


# ------------------------------------------------------------------------------------------------------- specs


def made(**fields: Any) -> Made:
    """What a container is made from."""
    given = {"attempt": 2, "sandbox_id": "s0", "image": "sha256:a", "env": {"COLOR": "red"}, **fields}
    return Made(**given)


def test_a_container_in_the_runtimes_words() -> None:
    security = core.SecurityContext(
        run_as_user=1000,
        run_as_group=2000,
        read_only_root_filesystem=True,
        allow_privilege_escalation=False,
        capabilities=core.Capabilities(add=("NET_ADMIN",), drop=("ALL",)),
        seccomp_profile=core.SeccompProfile(type="RuntimeDefault"),
    )
    app = container(command=("run", "$(COLOR)"), args=("$(NOPE)", "$$(COLOR)"), security_context=security)
    spec = container_spec(
        pod(app, security_context=core.PodSecurityContext(fs_group=7, supplemental_groups=(8,))),
        app,
        made(mounts=[Mount(host_path="/a", container_path="/b")]),
    )
    assert (spec.attempt, spec.sandbox_id, spec.image, spec.spec_hash) == (2, "s0", "sha256:a", spec_hash(app))
    assert (spec.command, spec.args) == (("run", "red"), ("$(NOPE)", "$(COLOR)"))
    assert (spec.user, spec.supplemental_groups) == ("1000:2000", (8, 7))
    assert (spec.cap_add, spec.cap_drop, spec.no_new_privileges) == (("NET_ADMIN",), ("ALL",), True)
    assert (spec.read_only_root, spec.seccomp) == (True, "RuntimeDefault")
    assert spec.env == (("COLOR", "red"),)


@pytest.mark.parametrize(
    ("requests", "most", "shares", "quota", "memory"),
    [
        pytest.param({}, {}, 2, 0, 0, id="nothing"),
        pytest.param({"cpu": "500m"}, {}, 512, 0, 0, id="request"),
        pytest.param({}, {"cpu": "2"}, 2048, 200_000, 0, id="limit-stands-for-request"),
        pytest.param({"cpu": "1m"}, {"cpu": "1m", "memory": "64Mi"}, 2, 1_000, 64 << 20, id="least"),
    ],
)
def test_limits(requests: dict[str, str], most: dict[str, str], shares: int, quota: int, memory: int) -> None:
    found = limits(core.ResourceRequirements(requests=requests, limits=most))
    assert (found.cpu_shares, found.cpu_quota_us, found.memory_bytes) == (shares, quota, memory)


@pytest.mark.parametrize(
    ("user", "image_user", "words"),
    [
        pytest.param(0, "", "breaks non-root policy", id="asked-for-root"),
        pytest.param(None, "", "image will run as root", id="image-is-root"),
        pytest.param(None, "0:0", "image will run as root", id="image-is-root-by-number"),
        pytest.param(None, "nginx", "non-numeric user \\(nginx\\)", id="image-user-by-name"),
        pytest.param(None, "101", "", id="image-user-by-number"),
        pytest.param(5, "root", "", id="asked-for-another"),
    ],
)
def test_non_root_is_checked(user: int | None, image_user: str, words: str) -> None:
    app = container(security_context=core.SecurityContext(run_as_non_root=True, run_as_user=user))
    if not words:
        container_spec(pod(app), app, made(image_user=image_user))
        return
    with pytest.raises(ConfigError, match=words):
        container_spec(pod(app), app, made(image_user=image_user))


def test_a_seccomp_profile_of_the_node() -> None:
    profile = core.SeccompProfile(type="Localhost", localhost_profile="p.json")
    app = container(security_context=core.SecurityContext(seccomp_profile=profile))
    assert seccomp_profile(pod(app), app) == profile
    assert (
        seccomp_profile(pod(security_context=core.PodSecurityContext(seccomp_profile=profile)), container()) == profile
    )
    assert container_spec(pod(app), app, made(seccomp="{}")).seccomp == "{}"


def test_who_is_killed_first_when_memory_runs_out() -> None:
    both = {"cpu": "1", "memory": "1Gi"}
    guaranteed = container(resources=core.ResourceRequirements(requests=both, limits=both))
    some = container(resources=core.ResourceRequirements(requests={"memory": "1Gi"}))
    scores = []
    for item in (guaranteed, some, container()):
        spec = pod(item)
        plain = core.Pod(metadata=spec.metadata, spec=spec.spec)
        scores.append(oom_score_adj(plain, item, 4 << 30))
    assert scores == [-997, 750, 1000]


def test_host_names() -> None:
    assert names_of(pod(), "cluster.local") == ("web", "")
    named = pod(hostname="h", subdomain="sub", set_hostname_as_fqdn=True)
    assert names_of(named, "cluster.local") == ("h", "h.sub.default.svc.cluster.local")
    assert sandbox_spec(named, 1, "cluster.local").hostname == "h.sub.default.svc.cluster.local"
    on_host = sandbox_spec(pod(host_network=True), 0, "cluster.local")
    assert (on_host.hostname, on_host.network) == ("", "host")
    long = core.Pod(metadata=meta.ObjectMeta(name="x" * 62 + "-" + "y" * 9), spec=core.PodSpec())
    assert names_of(long, "cluster.local")[0] == "x" * 62


# ------------------------------------------------------------------------------------------------- credentials


def docker_secret(auths: dict[str, Any], key: str = ".dockerconfigjson") -> core.Secret:
    """A pull secret."""
    content = {"auths": auths} if key == ".dockerconfigjson" else auths
    return core.Secret(data={key: json.dumps(content).encode()})


def test_credentials_are_found_by_registry() -> None:
    both = base64.b64encode(b"me:secret").decode()
    secrets = [
        docker_secret({"quay.io": {"username": "q", "password": "p"}}),
        docker_secret({"https://index.docker.io/v1/": {"auth": both}}),
        docker_secret({"old.example.com": {"username": "o", "password": "w"}}, ".dockercfg"),
        core.Secret(data={".dockerconfigjson": b"{"}),
    ]
    hub = credentials("docker.io", secrets)
    assert hub is not None
    assert (hub.username, hub.password) == ("me", "secret")
    quay, old = credentials("quay.io", secrets), credentials("old.example.com", secrets)
    assert (quay is not None and quay.username, old is not None and old.username) == ("q", "o")
    assert credentials("ghcr.io", secrets) is None
    assert "secret" not in repr(hub)


# -------------------------------------------------------------------------------------------------------- logs


def test_whose_log_is_meant() -> None:
    two = pod(container("a"), container("b"), init_containers=(container("i"),))
    assert chosen_container(pod(), "") == "app"
    assert chosen_container(two, "i") == "i"
    with pytest.raises(NoLogs) as caught:
        chosen_container(two, "")
    assert str(caught.value) == (
        "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i]"
    )
    with pytest.raises(NoLogs, match="container c is not valid for pod web"):
        chosen_container(two, "c")
    marked = meta.ObjectMeta(name="web", annotations={"kubectl.kubernetes.io/default-container": "b"})
    assert chosen_container(core.Pod(metadata=marked, spec=two.spec), "") == "b"


def waiting(reason: str) -> core.PodStatus:
    """A status in which the container waits."""
    state = core.ContainerState(waiting=core.ContainerStateWaiting(reason=reason))
    return core.PodStatus(container_statuses=(core.ContainerStatus(name="app", state=state),))


def test_which_instances_log_is_meant() -> None:
    running, old, older = instance(attempt=2), instance(attempt=1, status=Status.EXITED), instance(
        attempt=0, status=Status.EXITED
    )  # fmt: skip
    states = (older, old, running)
    assert logs_of(pod(), core.PodStatus(), states, "app", previous=False) == running.id
    assert logs_of(pod(), core.PodStatus(), states, "app", previous=True) == old.id
    looping = waiting("CrashLoopBackOff")
    assert logs_of(pod(), looping, (older, old), "app", previous=False) == old.id
    assert logs_of(pod(), looping, (older, old), "app", previous=True) == old.id
    with pytest.raises(NoLogs, match='previous terminated container "app" in pod "web" not found'):
        logs_of(pod(), core.PodStatus(), (running,), "app", previous=True)
    with pytest.raises(NoLogs, match="is waiting to start: image can't be pulled"):
        logs_of(pod(), waiting("ErrImagePull"), (), "app", previous=False)


PROFILE = core.AppArmorProfile(type="Localhost", localhost_profile="mine")


@pytest.mark.parametrize(
    ("own", "shared", "name"),
    [
        (None, None, ""),
        (ARMOR, PROFILE, ""),
        (None, PROFILE, "mine"),
        (core.AppArmorProfile(type="Unconfined"), PROFILE, "unconfined"),
    ],
)
def test_app_armor(own: core.AppArmorProfile | None, shared: core.AppArmorProfile | None, name: str) -> None:
    app = container(security_context=core.SecurityContext(app_armor_profile=own))
    spec = container_spec(pod(app, security_context=core.PodSecurityContext(app_armor_profile=shared)), app, made())
    assert spec.app_armor == name


def test_strict_groups_need_a_group() -> None:
    app = container(security_context=core.SecurityContext(run_as_user=1))
    strict = core.PodSecurityContext(supplemental_groups_policy="Strict")
    with pytest.raises(ConfigError, match="needs runAsGroup"):
        container_spec(pod(app, security_context=strict), app, made())
    grouped = replace(strict, run_as_group=2)
    assert container_spec(pod(app, security_context=grouped), app, made()).user == "1:2"


def test_the_engines_way_to_run_containers() -> None:
    app = container()
    assert container_spec(pod(app), app, made(handler="kata", pids_max=9)).handler == "kata"
    assert container_spec(pod(app), app, made(handler="kata", pids_max=9)).limits.pids == 9
    assert sandbox_spec(pod(app), 0, "cluster.local", "kata").handler == "kata"


def test_no_user_namespaces_without_a_word() -> None:
    with pytest.raises(ConfigError, match="hostUsers: false is not supported"):
        sandbox_spec(pod(host_users=False), 0, "cluster.local")
