"""Generated code is fresh: what lies in the tree is what the `.proto` files give today."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import GENERATED, ROOT

pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: pip install -e '.[dev]'")


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    """Generate once more beside the tree and compare file by file."""
    generator = ROOT / "proto" / "generate.py"
    subprocess.run([sys.executable, generator, "--target", tmp_path], check=True, timeout=120)
    for folder in GENERATED:
        fresh, present = files(tmp_path / folder), files(ROOT / folder)
        stale = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
        assert fresh, f"the generator writes nothing to {folder}"
        assert not stale, f"stale in {folder}: {', '.join(stale)}; run `make proto`"


def test_the_table_of_the_api_is_fresh() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.BEGIN + generate.table() + generate.END in generate.PAGE.read_text(), "stale; run `make docs`"


def files(folder: Path) -> dict[str, bytes]:
    """The generated files below a folder by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".py", ".pyi")
    }
