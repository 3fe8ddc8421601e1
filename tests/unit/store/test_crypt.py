"""Sealed Secrets: readable with the right key under the right path, and nowhere else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controlplane.store.crypt import SEALED, Sealer, load_or_create
from controlplane.store.keys import object_key
from controlplane.store.values import Refused

SECRET = object_key("", "secrets", "default", "s")
OTHER = object_key("", "secrets", "default", "t")


def test_secrets_are_sealed_and_opened(tmp_path: Path) -> None:
    sealer = load_or_create(tmp_path / "keys" / "data.key")
    sealed = sealer.seal(SECRET, b"hush")
    assert sealed.startswith(SEALED)
    assert b"\n" not in sealed
    assert sealed != sealer.seal(SECRET, b"hush")
    assert load_or_create(tmp_path / "keys" / "data.key").open(SECRET, sealed) == b"hush"
    assert stat.S_IMODE((tmp_path / "keys" / "data.key").stat().st_mode) == 0o600


def test_other_kinds_and_old_values_stay_readable() -> None:
    sealer = Sealer(b"k" * 32)
    config = object_key("", "configmaps", "default", "c")
    assert sealer.seal(config, b"{}") == b"{}"
    assert sealer.open(SECRET, b"{}") == b"{}"


@pytest.mark.parametrize("case", ["moved", "altered", "cut", "other key"])
def test_what_was_tampered_with_is_refused(case: str) -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal(SECRET, b"hush")
    key, stored, opener = {
        "moved": (OTHER, sealed, sealer),
        "altered": (SECRET, sealed[:-4] + b"AAA=", sealer),
        "cut": (SECRET, sealed[:20], sealer),
        "other key": (SECRET, sealed, Sealer(b"o" * 32)),
    }[case]
    with pytest.raises(Refused, match="cannot decrypt"):
        opener.open(key, stored)


def test_an_unusable_key_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    path.write_bytes(b"c2hvcnQ=")
    with pytest.raises(Refused, match="5 bytes"):
        load_or_create(path)
    with pytest.raises(Refused, match=r"no\.key"):
        load_or_create(path / "no.key")
