"""Manifests from files, folders and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from mizzen.api import codec, custom, kinds, reading
from mizzen.api.custom import CustomKind
from mizzen.api.errors import ApiError
from mizzen.api.kinds import Kind
from mizzen.cli.names import Others

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(ValueError):
    """A manifest can't be used; names the file, the document and what to do."""


def load(paths: Sequence[Path], namespace: str, others: Others) -> list[Any]:
    """The objects in the files, in order; those without a namespace get `namespace`. Raises ManifestError."""
    found = [_object(document, where, namespace, others) for path in paths for document, where in _documents(path)]
    if paths and not found:
        raise ManifestError(f"there are no objects in {', '.join(map(str, paths))}")
    return found


def _documents(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    if str(path) == "-":
        yield from _parse(sys.stdin.read(), "standard input")
        return
    if path.is_dir():
        for file in sorted(p for p in path.iterdir() if p.suffix in SUFFIXES):
            yield from _documents(file)
        return
    try:
        text = path.read_text()
    except OSError as error:
        raise ManifestError(f"the path {str(path)!r} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"the path {str(path)!r} is not text: {error.reason} at byte {error.start}") from error
    yield from _parse(text, str(path))


def _parse(text: str, source: str) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        documents = list(yaml.load_all(text, Loader))
    except yaml.YAMLError as error:
        raise ManifestError(f"{source}: not YAML: {error}") from error
    for number, document in enumerate(documents, 1):
        where = f"{source}, document {number}"
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ManifestError(f"{where}: expected an object with apiVersion and kind")
        items = document.get("items")
        if str(document.get("kind")).endswith("List") and isinstance(items, list):
            yield from _listed(items, where)
        else:
            yield document, where


def _listed(items: list[Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise ManifestError(f"{where}, item {number}: expected an object with apiVersion and kind")
        yield item, f"{where}, item {number}"


def _object(document: dict[str, Any], where: str, namespace: str, others: Others) -> Any:
    api_version, name = document.get("apiVersion"), document.get("kind")
    if not api_version or not name:
        raise ManifestError(f"{where}: apiVersion and kind must be set")
    wanted = (str(api_version), str(name))
    kind: Kind[Any] | None = kinds.BY_KIND.get(wanted)
    if kind is None:
        kind = next((one for one in others() if (one.api_version, one.kind) == wanted), None)
    if kind is None:
        raise ManifestError(f'{where}: no matches for kind "{name}" in version "{api_version}"')
    if kind.namespaced:
        metadata = document.setdefault("metadata", {})
        if isinstance(metadata, dict) and not metadata.get("namespace"):
            metadata["namespace"] = namespace
    try:
        if isinstance(kind, CustomKind):
            return custom.from_value(kind, document)[0]
        obj, _ = codec.decode_dict(document, kind, validation="Strict")
    except ApiError as error:
        raise ManifestError(f"{where}: {error.message}") from error
    except reading.Mismatch as error:
        raise ManifestError(f"{where}: {error}") from error
    return obj
