"""The control plane's settings: defaults, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane import __main__ as entry
from controlplane import settings as settings_module
from controlplane.__main__ import main
from controlplane.access.authentication import Authentication
from controlplane.access.oidc import Rules, Source
from controlplane.server.audit_log import AuditFile
from controlplane.settings import ServerSettings, parse
from mizzen.base.settings import SettingsError


def wrong(*argv: str) -> list[str]:
    """The lines of the refusal."""
    with pytest.raises(SettingsError) as refused:
        parse(argv)
    return str(refused.value).splitlines()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "own_address", lambda: "192.0.2.7")
    assert parse([]) == ServerSettings(
        data_dir=Path("/var/lib/mizzen/server"), advertise_address="192.0.2.7", bind_address="0.0.0.0",
        https_port=6443, grpc_port=6440, grpc_token_port=6441,
        etcd=(), etcd_ca=None, etcd_certificate=None, etcd_key=None,
        cluster_cidr="10.244.0.0/16", node_prefix=24, service_cidr="10.96.0.0/16", cluster_dns="10.96.0.10",
        allow_external_ips=False,
        cluster_domain="cluster.local", heartbeat_ms=10_000, node_grace_ms=50_000, leader_ttl_s=15,
        event_ttl_ms=259_200_000,
        balancer_pool=(),
        authentication=Authentication(), authentication_file=None, audit=None,
        log_level="info", log_format="text",
    )  # fmt: skip


def test_what_is_given() -> None:
    given = (
        "--data-dir data --advertise-address 192.0.2.1 --bind-address :: --https-port 1 --grpc-port 2 "
        "--grpc-token-port 3 "
        "--etcd http://a:2379,http://b:2379 --etcd-ca ca --etcd-certificate crt --etcd-key key "
        "--cluster-cidr 10.0.0.0/20 --node-prefix 26 --service-cidr 10.1.0.0/24 --heartbeat-interval 500ms "
        "--node-grace-period 1m30s --leader-ttl 3s --log-level debug --log-format json "
        "--cluster-domain a.example --load-balancer-pool 192.0.2.9-192.0.2.10,192.0.2.64/30,192.0.2.80"
    )
    found = parse(given.split())
    assert found.data_dir == Path.cwd() / "data"
    assert (found.kubeconfig.name, found.token_file.name) == ("admin.kubeconfig", "join-token")
    assert (found.etcd, found.etcd_key) == (("http://a:2379", "http://b:2379"), Path("key"))
    assert (found.cluster_dns, found.node_prefix) == ("10.1.0.10", 26)
    assert (found.heartbeat_ms, found.node_grace_ms, found.leader_ttl_s) == (500, 90_000, 3)
    assert (found.bind_address, found.log_format) == ("::", "json")
    first = 0xC000_0200
    assert found.balancer_pool == tuple((first + a, first + b) for a, b in ((9, 10), (64, 67), (80, 80)))
    assert parse(["--leader-ttl", "3", "--cluster-dns", "10.9.9.9"]).cluster_dns == "10.9.9.9"


def test_every_mistake_is_told_at_once() -> None:
    given = (
        "--https-port x --grpc-port 0 --grpc-token-port - --leader-ttl 1500ms "
        "--bind-address nowhere --heartbeat-interval 9 "
        "--node-grace-period soon --cluster-cidr 10.96.0.0/8 --service-cidr 10.96.0.5/16 --node-prefix a "
        "--advertise-address ::1 --cluster-dns x --cluster-domain _ --etcd-certificate a --log-level loud "
        "--log-format xml"
    )
    found = wrong(*given.split())
    flags = [line.partition(":")[0] for line in found]
    assert flags == [
        "--https-port", "--grpc-port", "--grpc-token-port", "--leader-ttl", "--bind-address", "--heartbeat-interval",
        "--node-grace-period", "--cluster-cidr", "--service-cidr", "--node-prefix", "--advertise-address",
        "--cluster-dns", "--cluster-domain", "--log-level", "--log-format", "--etcd-key", "--etcd-ca",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("--grpc-token-port 6440", "--grpc-token-port: must be another than --https-port and --grpc-port"),
        ("--grpc-port 6443", "--grpc-port: must be another than --https-port"),
        ("--https-port 70000", "--https-port: '70000' is not a port"),
        (
            "--load-balancer-pool 10.244.255.0-10.245.0.9",
            "--load-balancer-pool: the range from 10.244.255.0 overlaps with --cluster-cidr",
        ),
        (
            "--load-balancer-pool 192.0.2.9-192.0.2.1",
            "--load-balancer-pool: '192.0.2.9-192.0.2.1' ends before it begins",
        ),
        ("--cluster-cidr 10.96.0.0/15", "--service-cidr: 10.96.0.0/16 overlaps with --cluster-cidr"),
        ("--service-cidr 10.1.0.0/29", "--service-cidr: 10.1.0.0/29 is too small"),
        ("--node-prefix 15", "--node-prefix: must be from 16"),
        ("--node-prefix 31", "--node-prefix: must be from 16"),
        ("--node-grace-period 10s", "--node-grace-period: must be longer than --heartbeat-interval"),
        ("--heartbeat-interval 10ms", "--heartbeat-interval: must be at least 100 ms"),
        ("--etcd-ca ca", "--etcd: is needed with --etcd-ca"),
        ("--etcd-key key", "--etcd-certificate: is needed with --etcd-key"),
        ("--event-ttl 30s", "--event-ttl: must be at least 1m"),
        ("--leader-ttl 0", "--leader-ttl: '0' must be whole seconds"),
    ],
)
def test_single_mistakes(argv: str, line: str) -> None:
    (found,) = wrong(*argv.split())
    assert found.startswith(line)


def test_the_command_says_them_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--https-port", "x", "--leader-ttl", "y"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["--https-port", "--leader-ttl"]


def test_what_an_operator_can_mend_is_told_without_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "set_up_logs", lambda *args: None)
    monkeypatch.setattr(entry, "set_up_metrics", lambda: None)
    (tmp_path / "file").write_text("")
    assert main(["--data-dir", str(tmp_path / "file" / "x"), "--advertise-address", "127.0.0.1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("mizzen server: ")
    assert "Not a directory" in said
    assert len(said.splitlines()) == 1


def test_logins_of_another_issuer() -> None:
    given = (
        "--oidc-issuer-url https://a.example --oidc-client-id c --oidc-username-claim email --oidc-username-prefix - "
        "--oidc-groups-claim groups --oidc-groups-prefix g: --oidc-required-claim hd=a.example "
        "--oidc-required-claim x=y=z --oidc-signing-algs RS256,ES256"
    )
    (login,) = parse(given.split()).authentication.logins
    assert login.rules == Rules(
        "https://a.example", ("c",), Source("email"), Source("groups", "g:"),
        required={"hd": "a.example", "x": "y=z"}, algorithms=("RS256", "ES256"),
    )  # fmt: skip
    assert parse(["--log-level=info"]).authentication == Authentication()


def test_logins_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "authentication.yaml"
    file.write_text(
        "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, anonymous: {enabled: false}}"
    )
    found = parse(["--authentication-config", str(file)])
    assert found.authentication == Authentication(anonymous=False)
    assert found.authentication_file == file
    (line,) = wrong("--authentication-config", str(file), "--oidc-client-id", "c")
    assert line == "--authentication-config: authentication-config file and oidc-* flags are mutually exclusive"
    (line,) = wrong("--authentication-config", "nothing")
    assert line == "--authentication-config: nothing: No such file or directory"
    file.write_text("{}")
    (line,) = wrong("--authentication-config", str(file))
    assert line.endswith("must be of apiVersion apiserver.config.k8s.io/v1 and kind AuthenticationConfiguration")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("--oidc-client-id c", "--oidc-issuer-url: is needed with --oidc-client-id"),
        ("--oidc-ca-file f", "--oidc-issuer-url: is needed with --oidc-ca-file"),
        ("--oidc-issuer-url https://a", "--oidc-client-id: is needed with --oidc-issuer-url"),
        ("--oidc-issuer-url http://a --oidc-client-id c", "--oidc-issuer-url: 'http://a' must be like https://"),
        ("--oidc-issuer-url https://a --oidc-client-id c --oidc-signing-algs HS256", "--oidc-signing-algs: 'HS256'"),
        ("--oidc-issuer-url https://a --oidc-client-id c --oidc-required-claim =b", "--oidc-required-claim: '=b' must"),
        ("--oidc-issuer-url https://a --oidc-client-id c --oidc-ca-file none", "--oidc-ca-file: none: No such file"),
    ],
)  # fmt: skip
def test_logins_that_can_not_be(argv: str, line: str) -> None:
    (found,) = wrong(*argv.split())
    assert found.startswith(line)


def test_an_audit_log(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}")
    given = ["--audit-policy-file", str(file), "--audit-log-path"]
    audit = parse(
        [*given, "-", *["--audit-log-maxsize", "5", "--audit-log-maxbackup", "3", "--audit-log-maxage", "7"]]
    ).audit
    assert audit is not None
    assert audit.file == AuditFile("-", 5, 3, 7)
    (line,) = wrong("--audit-policy-file", str(file))
    assert line == "--audit-log-path: is needed with --audit-policy-file"
    (line,) = wrong("--audit-log-path", "-")
    assert line == "--audit-policy-file: is needed with --audit-log-path"
    (line,) = wrong(*given, "-", "--audit-log-maxsize", "big")
    assert line == "--audit-log-maxsize: 'big' is not a number"
    file.write_text("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{}]}")
    (line,) = wrong(*given, "-")
    assert line.endswith("rules[0].level: Required value")
    (line,) = wrong("--audit-policy-file", "nothing", "--audit-log-path", "-")
    assert line == "--audit-policy-file: nothing: No such file or directory"
