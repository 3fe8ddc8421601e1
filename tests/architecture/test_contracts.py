"""The import contracts hold, and each of them bites: a tree of stubs that breaks all of them breaks each by name."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.source import ROOT

BREACHES = {
    "shared": ("mizzen.client.x", "controlplane.server"),
    "api": ("mizzen.api.x", "mizzen.engine"),
    "engine": ("mizzen.engine.x", "mizzen.client"),
    "deploy": ("nodeagent.runtime.x", "deploy"),
    "deploy-apart": ("deploy.x", "nodeagent.runtime"),
    "pure": ("controlplane.scheduling.x", "random"),
    "reconcilers": ("controlplane.reconcilers.replicaset", "controlplane.reconcilers.deployment"),
    "deciders": ("controlplane.reconcilers.x", "controlplane.scheduling"),
    "wire": ("controlplane.plan.x", "mizzen.wire"),
    "server": ("controlplane.server.x", "controlplane.reconcilers"),
    "store": ("controlplane.store.x", "controlplane.server"),
    "drive": ("controlplane.plan.y", "controlplane.drive"),
    "agent-drive": ("nodeagent.runtime.y", "nodeagent.drive"),
    "halves": ("controlplane.plan.z", "nodeagent.runtime"),
    "halves-back": ("nodeagent.runtime.z", "controlplane.store"),
}
"""Contract: the import that breaks it, from which module of which."""


def test_contracts_hold() -> None:
    """`lint-imports` over the repository."""
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_bites(tmp_path: Path) -> None:
    """All breaches at once; the report must name every contract as broken."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    contracts = {
        section.removeprefix("importlinter:contract:"): config[section]["name"]
        for section in config.sections()
        if section.startswith("importlinter:contract:")
    }
    assert set(contracts) == set(BREACHES), "every contract needs a breach in this test"
    stub_packages(tmp_path, config)
    for importer, imported in BREACHES.values():
        (tmp_path / f"{importer.replace('.', '/')}.py").write_text(f"import {imported}\n")

    done = lint(tmp_path)

    report = " ".join(done.stdout.split())
    assert done.returncode != 0, report
    assert not [name for name in contracts.values() if f"{name} BROKEN" not in report], report


def test_the_simulator_may_run_the_agents_lifecycle(tmp_path: Path) -> None:
    """The one exception between the halves is open, and no wider than it says."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    stub_packages(tmp_path, config)
    (tmp_path / "controlplane/plan/world.py").write_text("import nodeagent.lifecycle.pod\n")
    (tmp_path / "nodeagent/lifecycle/pod.py").write_text("")
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout


def stub_packages(place: Path, config: configparser.ConfigParser) -> None:
    """Every package and module of ours that a contract names, empty."""
    for section in config.sections():
        for value in config[section].values():
            for name in value.split():
                if name.split(".")[0] in ("mizzen", "controlplane", "nodeagent", "deploy") and "*" not in name:
                    make_package(place, name)
    for name in ("nodeagent.runtime", "controlplane.plan"):
        make_package(place, name)


def make_package(place: Path, name: str) -> None:
    """A package and those above it."""
    folder = place
    for part in name.split("."):
        folder /= part
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()


def lint(place: Path) -> subprocess.CompletedProcess[str]:
    """Run the repository's contracts over the packages found in `place`."""
    return subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--config",
            ROOT / ".importlinter",
            "--no-cache",
            "--no-logo",
        ],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
