"""Who is asking: a certificate speaks for somebody only in its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from controlplane.server import pki
from controlplane.server.authn import NOBODY, authenticate, no_tokens
from mizzen.api.errors import Unauthorized

NOW = 1_767_225_600_000
DAY = 86_400_000


def test_a_certificate_speaks_in_its_time(tmp_path: Path) -> None:
    subject = pki.Subject("ann", ("people",))
    made = pki.Pki.open(tmp_path, NOW).pair("ann", subject, NOW).certificate
    der = made.public_bytes(serialization.Encoding.DER)
    user = authenticate(der, "", no_tokens, NOW)
    assert (user.name, user.groups) == ("ann", ("people", "system:authenticated"))
    with pytest.raises(Unauthorized, match='of "ann" expired at 2027-01-01T00:00:00Z; get a new one'):
        authenticate(der, "", no_tokens, NOW + 366 * DAY)
    with pytest.raises(Unauthorized, match="is not valid before 2025-12-31T23:55:00Z; check the clocks"):
        authenticate(der, "", no_tokens, NOW - DAY)


def test_nobody_and_unknown_tokens() -> None:
    assert authenticate(None, "", no_tokens, NOW) == NOBODY
    with pytest.raises(Unauthorized):
        authenticate(None, "Bearer abc", no_tokens, NOW)
