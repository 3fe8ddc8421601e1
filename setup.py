"""Generates the code that comes from the `.proto` files before setuptools looks for packages; all else: pyproject.toml.

Generated files are not kept in version control, so whoever builds a wheel or installs from a checkout needs
grpcio-tools, which pyproject.toml asks for. Where it is missing but the files are there already, they are used.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent


def generate() -> None:
    """Run proto/generate.py, or make do with what an earlier run left."""
    if find_spec("grpc_tools") is not None:
        subprocess.run([sys.executable, HERE / "proto" / "generate.py"], check=True)
    elif not (HERE / "mizzen" / "api" / "types").is_dir():
        raise SystemExit("mizzen/api/types is generated and grpcio-tools is not installed: pip install grpcio-tools")


generate()
setup()
