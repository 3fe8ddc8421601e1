"""Everything in `proto/` says what it is: `kubectl explain` and the generated structs show it to people."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from tests.architecture.source import ROOT

protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed: pip install -e '.[dev]'")

FILE_PARTS = (
    ("message", 4, "message_type"),
    ("enum", 5, "enum_type"),
    ("service", 6, "service"),
    ("extension", 7, "extension"),
)
MESSAGE_PARTS = (("field", 2, "field"), ("message", 3, "nested_type"), ("enum", 4, "enum_type"))
PARTS = {
    "message": (*MESSAGE_PARTS, ("oneof", 8, "oneof_decl")),
    "enum": (("enum value", 2, "value"),),
    "service": (("rpc", 2, "method"),),
}
"""What stands in what: the word for it, its number in `descriptor.proto` (places are paths of these), its attribute."""


def test_everything_has_a_comment(tmp_path: Path) -> None:
    """Write a `//` comment above what is listed: what it is, its unit, what an absent value means."""
    files = sorted((ROOT / "proto").rglob("*.proto"))
    bare = uncommented(ROOT / "proto", files, tmp_path / "descriptors.pb")
    if bare:
        pytest.fail("\n".join(f"{line}: put a comment above it" for line in bare), pytrace=False)


def test_what_has_no_comment_is_found(tmp_path: Path) -> None:
    """One of each without a comment; what is commented, generated or only explained behind is not listed."""
    sample = tmp_path / "sample.proto"
    sample.write_text(
        """\
// The file.
syntax = "proto3";

import "google/protobuf/descriptor.proto";

message Bare {
  string bare = 1;  // Behind the field, where nobody prints it.
  // Said.
  map<string, string> said = 2;

  // Not about what follows.

  optional string presence = 3;
  oneof choice {
    string chosen = 4;
  }
  message Inner {}
}

// Said.
enum Colour {
  RED = 0;
  // Said.
  BLUE = 1;
}

// Said.
service Painter {
  rpc Paint(Bare) returns (Bare);
}

//
message Empty {}

extend google.protobuf.FieldOptions {
  string unit = 50001;
}
"""
    )
    assert uncommented(tmp_path, [sample], tmp_path / "descriptors.pb") == [
        "sample.proto: message Bare",
        "sample.proto: field Bare.bare",
        "sample.proto: field Bare.presence",
        "sample.proto: field Bare.chosen",
        "sample.proto: message Bare.Inner",
        "sample.proto: oneof Bare.choice",
        "sample.proto: message Empty",
        "sample.proto: enum value Colour.RED",
        "sample.proto: rpc Painter.Paint",
        "sample.proto: extension unit",
    ]


def uncommented(folder: Path, files: list[Path], descriptors: Path) -> list[str]:
    """Everything in the files that has no comment right above it, file by file."""
    names = [str(file.relative_to(folder)) for file in files]
    include = resources.files("grpc_tools") / "_proto"
    flags = [f"-I{folder}", f"-I{include}", f"--descriptor_set_out={descriptors}", "--include_source_info"]
    assert names, f"no .proto files below {folder}"
    assert protoc.main(["protoc", *flags, *names]) == 0, "protoc refuses the files; see its messages above"
    parsed = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    return [f"{file.name}: {what}" for file in parsed.file for what in _bare(file)]


def _bare(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    places = file.source_code_info.location
    said = {tuple(place.path) for place in places if place.leading_comments.strip()}
    written = {tuple(place.path) for place in places}
    for what, path, name in _parts(FILE_PARTS, file, (), ""):
        if path in written and path not in said:
            yield f"{what} {name}"


def _parts(
    parts: tuple[tuple[str, int, str], ...], owner: object, path: tuple[int, ...], prefix: str
) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Everything within `owner`, with its place. What protoc adds itself, such as the entries of a map, has none."""
    for what, number, attribute in parts:
        for i, part in enumerate(getattr(owner, attribute)):
            place, name = (*path, number, i), f"{prefix}{part.name}"
            yield what, place, name
            yield from _parts(PARTS.get(what, ()), part, place, f"{name}.")
