"""The repository as the house rules see it: its text files, its modules, and which packages are pure."""

from __future__ import annotations

import ast
import configparser
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("mizzen", "controlplane", "nodeagent", "deploy")
GENERATED = ("mizzen/api/types/", "mizzen/wire/gen/")
SKIPPED_SUFFIXES = (".png", ".svg", ".pb", ".tar")


@dataclass(frozen=True)
class Source:
    """One text file, by its path from the root of the repository."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed module."""
        return ast.parse(self.text, self.path)

    @property
    def is_module(self) -> bool:
        """Whether it is Python."""
        return self.path.endswith(".py")

    @property
    def is_product(self) -> bool:
        """Whether it is a module that gets installed."""
        return self.is_module and self.path.split("/")[0] in PRODUCT

    @property
    def is_test(self) -> bool:
        """Whether it belongs to the tests."""
        return self.path.startswith("tests/")

    @property
    def is_pure(self) -> bool:
        """Whether it stands in a package that only decides."""
        return self.is_module and any(
            self.module == name or self.module.startswith(f"{name}.") for name in pure_packages()
        )

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return str(PurePosixPath(self.path).with_suffix("")).replace("/", ".").removesuffix(".__init__")


def repository() -> list[Source]:
    """Every text file that is or will be under version control, generated code excepted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout.decode()
    sources = []
    for path in sorted(set(listed.split("\0")) - {""}):
        if path.startswith(GENERATED) or path.endswith(SKIPPED_SUFFIXES):
            continue
        try:
            sources.append(Source(path, (ROOT / path).read_text()))
        except (FileNotFoundError, UnicodeDecodeError):
            continue  # deleted but not yet committed, or not text
    return sources


def contract(name: str) -> dict[str, list[str]]:
    """The lists of one contract in `.importlinter`."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    return {key: value.split("\n")[1:] for key, value in config[f"importlinter:contract:{name}"].items()}


def pure_packages() -> list[str]:
    """The packages and modules that only decide, as the import contract lists them."""
    return contract("pure")["source_modules"]
