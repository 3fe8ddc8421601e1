"""Levels of pod security, in their versions: what a namespace's labels ask for, and what a pod violates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from controlplane.admission import security_baseline, security_restricted
from controlplane.admission.security_violations import Check, Violation
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta

PREFIX = "pod-security.kubernetes.io/"
ENFORCE, AUDIT, WARN = "enforce", "audit", "warn"
PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)
"""From the one that allows everything to the strictest."""
LATEST = "latest"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")
_NEWEST = 36
"""Later versions of the standard are not known and taken for this one."""


class Level(NamedTuple):
    """A level in a version."""

    name: str = PRIVILEGED
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def minor(self) -> int:
        """The minor version of Kubernetes 1 whose standard is meant."""
        match = _VERSION.fullmatch(self.version)
        return _NEWEST if match is None else min(int(match[1]), _NEWEST)


class Policy(NamedTuple):
    """What a namespace asks for."""

    enforce: Level = Level()
    audit: Level = Level()
    warn: Level = Level()


def policy_of(labels: Mapping[str, str]) -> tuple[Policy, tuple[FieldError, ...]]:
    """What labels ask for and what is wrong with them.

    A level that is not known enforces the strictest and warns of nothing; a version that is not known is the latest.
    """
    errors: list[FieldError] = []
    return Policy(*(_level(labels, mode, errors) for mode in (ENFORCE, AUDIT, WARN))), tuple(errors)


def _level(labels: Mapping[str, str], mode: str, errors: list[FieldError]) -> Level:
    key = PREFIX + mode
    name = labels.get(key, PRIVILEGED)
    if name not in LEVELS:
        errors.append(FieldError.invalid(f"metadata.labels[{key}]", name, f"must be one of {', '.join(LEVELS)}"))
        name = RESTRICTED if mode == ENFORCE else PRIVILEGED
    key = f"{key}-version"
    version = labels.get(key, LATEST)
    if version != LATEST and _VERSION.fullmatch(version) is None:
        errors.append(FieldError.invalid(f"metadata.labels[{key}]", version, 'must be "latest" or "v1.x"'))
        version = LATEST
    return Level(name, version)


def violations(level: Level, metadata: meta.ObjectMeta, spec: core.PodSpec) -> tuple[Violation, ...]:
    """What a pod, or a template for pods, violates of a level."""
    if level.name == PRIVILEGED:
        return ()
    found = (check(metadata, spec) for check in _checks(level.name, level.minor))
    return tuple(violation for violation in found if violation is not None)


def reasons(found: tuple[Violation, ...]) -> str:
    """The violations in short."""
    return ", ".join(violation.reason for violation in found)


def details(found: tuple[Violation, ...]) -> str:
    """The violations with all that is known."""
    return ", ".join(f"{violation.reason} ({violation.detail})" for violation in found)


@cache
def _checks(name: str, minor: int) -> tuple[Check, ...]:
    weak = _in_version(security_baseline.CHECKS, minor)
    if name == BASELINE:
        return tuple(weak.values())
    strict = _in_version(security_restricted.CHECKS, minor)
    replaced = {security_restricted.STANDS_IN_FOR.get(name) for name in strict}
    return (*(check for name, check in weak.items() if name not in replaced), *strict.values())


def _in_version(checks: Mapping[str, tuple[tuple[int, Check], ...]], minor: int) -> dict[str, Check]:
    found: dict[str, Check] = {}
    for name, versions in checks.items():
        for since, check in versions:
            if since <= minor:
                found[name] = check
    return found
