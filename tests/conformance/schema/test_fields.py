"""Every field of the API, as upstream lists them: its number, its name in JSON, how it merges, its default."""

from __future__ import annotations

import csv
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mizzen.wire.gen.mizzen import options_pb2
from mizzen.wire.gen.mizzen.api import scalars_pb2
from tests.conformance.schema.test_roundtrip import MODULES

ANY = "?"
PACKAGES = ["meta_v1", *sorted({*MODULES.values()})]


def rows(upstream: Path, module: str) -> list[dict[str, str]]:
    """Upstream's fields of one package."""
    group, version = module.split("_")
    package = "apimachinery.pkg.apis.meta.v1" if group == "meta" else f"api.{group}.{version}"
    with (upstream / "fields.tsv").open(newline="") as file:
        found = [row for row in csv.DictReader(file, delimiter="\t") if row["package"] == package]
    for row in found:
        if row["default"].startswith("ref(") or row["default"] == '""':
            row["default"] = ANY  # a constant by its name in Go, or nothing in other words
    return [row for row in found if row["json_name"] != "-"]


def messages(module: str) -> dict[str, Descriptor]:
    """Our messages of one package, and those that are values to us."""
    group, version = module.split("_")
    stubs = import_module(f"mizzen.wire.gen.mizzen.api.{group}.{version}.{group}_pb2")
    return {**scalars_pb2.DESCRIPTOR.message_types_by_name, **stubs.DESCRIPTOR.message_types_by_name}


def said(field: FieldDescriptor) -> dict[str, str]:
    """What a field of ours says, in upstream's columns."""
    options = field.GetOptions().Extensions
    return {
        "number": str(field.number),
        "list_type": options[options_pb2.list_type],
        "list_map_keys": ",".join(options[options_pb2.map_keys]),
        "patch_strategy": options[options_pb2.patch_strategy],
        "patch_merge_key": options[options_pb2.merge_key],
        "default": options[options_pb2.default_json],
    }


@pytest.mark.parametrize("module", PACKAGES)
def test_every_field(upstream: Path, module: str) -> None:
    ours = messages(module)
    differences = []
    for row in rows(upstream, module):
        message = ours.get(row["message"])
        name = row["json_name"] or row["field"]
        field = next((field for field in message.fields if field.json_name == name), None) if message else None
        if field is None:
            differences.append(f"{row['message']}.{name} is missing")
            continue
        found = said(field)
        differences += [
            f"{row['message']}.{name}: {column} is {found[column]!r}, not {row[column]!r}"
            for column in found
            if row[column] not in (found[column], ANY)
        ]
    assert differences == []
