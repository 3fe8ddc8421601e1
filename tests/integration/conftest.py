"""One running cluster for all tests of clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.whole_cluster import running_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an administrator of a running cluster, whose machines are in memory."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as kubeconfig:
        yield kubeconfig
