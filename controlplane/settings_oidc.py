"""The settings of logins by OpenID Connect; they are named and mean what kube-apiserver's flags do.

One issuer can be told of by flags, several by a file, an `AuthenticationConfiguration`.
"""

from __future__ import annotations

import argparse
import ssl
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from controlplane.access import oidc
from controlplane.access.authentication import Authentication, Login
from controlplane.access.authentication_config import BadConfiguration, read_configuration
from mizzen.base.settings import Problems

_OTHERS = (
    "oidc_client_id", "oidc_username_prefix", "oidc_groups_claim", "oidc_groups_prefix", "oidc_required_claim",
    "oidc_ca_file",
)  # fmt: skip


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add = parser.add_argument
    add(
        "--authentication-config",
        type=Path,
        help="file with an AuthenticationConfiguration: issuers, who may be nobody",
    )
    add("--oidc-issuer-url", default="", help="issuer whose tokens are believed, https:// (default: none)")
    add("--oidc-client-id", default="", help="the audience that the issuer's tokens must be for")
    add("--oidc-username-claim", default="sub", help="the claim that is the user's name")
    add("--oidc-username-prefix", default="", help="what user names begin with; - for nothing (default: ISSUER#)")
    add("--oidc-groups-claim", default="", help="the claim that lists the user's groups")
    add("--oidc-groups-prefix", default="", help="what the groups' names begin with")
    add("--oidc-required-claim", action="append", default=[], help="KEY=VALUE that tokens must have; may be repeated")
    add("--oidc-ca-file", type=Path, help="authority of the issuer's certificate (default: those of this machine)")
    add("--oidc-signing-algs", default="RS256", help="how tokens may be signed, with commas")


def read(problems: Problems, args: argparse.Namespace, own_issuer: str) -> Authentication:
    """Who is believed, by the flags or by the file. Notes what is wrong."""
    file: Path | None = args.authentication_config
    if file is None:
        login = _of_flags(problems, args)
        return Authentication(logins=() if login is None else (login,))
    if args.oidc_issuer_url or any(getattr(args, name) for name in _OTHERS):
        problems.add("--authentication-config", "authentication-config file and oidc-* flags are mutually exclusive")
    return problems.read("--authentication-config", str(file), partial(of_file, own_issuer)) or Authentication()


def of_file(own_issuer: str, path: str) -> Authentication:
    """What the AuthenticationConfiguration in a file says. Raises ValueError with all that is wrong."""
    try:
        return read_configuration(Path(path).read_text(), own_issuer)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except BadConfiguration as error:
        raise ValueError(f"{path}: {error}") from error


def _of_flags(problems: Problems, args: argparse.Namespace) -> Login | None:
    """The issuer that the flags name, if there is one."""
    issuer = args.oidc_issuer_url
    if not issuer:
        for name in _OTHERS:
            if getattr(args, name):
                problems.add("--oidc-issuer-url", f"is needed with --{name.replace('_', '-')}")
        return None
    problems.read("--oidc-issuer-url", issuer, _url)
    if not args.oidc_client_id:
        problems.add("--oidc-client-id", "is needed with --oidc-issuer-url")
    algorithms = tuple(filter(None, args.oidc_signing_algs.split(",")))
    for algorithm in algorithms:
        if algorithm not in oidc.ALGORITHMS:
            problems.add("--oidc-signing-algs", f"{algorithm!r} must be one of: {', '.join(oidc.ALGORITHMS)}")
    ca_pem = ""
    if args.oidc_ca_file is not None:
        ca_pem = problems.read("--oidc-ca-file", str(args.oidc_ca_file), _authority) or ""
    prefix = oidc.username_prefix(issuer, args.oidc_username_claim, args.oidc_username_prefix)
    groups = oidc.Source(args.oidc_groups_claim, args.oidc_groups_prefix) if args.oidc_groups_claim else oidc.Source()
    rules = oidc.Rules(
        issuer=issuer,
        audiences=(args.oidc_client_id,),
        username=oidc.Source(args.oidc_username_claim, prefix),
        groups=groups,
        required=_required(problems, args.oidc_required_claim),
        algorithms=algorithms,
    )
    return Login(rules, ca_pem=ca_pem)


def _required(problems: Problems, given: list[str]) -> dict[str, str]:
    for text in given:
        if not text.partition("=")[0] or "=" not in text:
            problems.add("--oidc-required-claim", f"{text!r} must be like KEY=VALUE")
    return {name: value for name, _, value in (text.partition("=") for text in given)}


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} must be like https://issuer.example.com, without a query")
    return text


def _authority(text: str) -> str:
    try:
        ssl.create_default_context(cafile=text)
        return Path(text).read_text()
    except OSError as error:  # ssl.SSLError is one, too
        raise ValueError(f"{text}: {error.strerror or error}") from error
