"""What the added functions give and take beside JSON: quantities, versions, addresses, questions to the authorizer.

The evaluator knows no types but its own and protobuf messages, so each of these is a message that holds a text.
"""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2, timestamp_pb2

TEXT = 9
_FIELDS: dict[str, tuple[str, ...]] = {
    "kubernetes.Quantity": ("text",),
    "kubernetes.Semver": ("text",),
    "kubernetes.URL": ("text",),
    "kubernetes.NamedFormat": ("text",),
    "net.IP": ("text",),
    "net.CIDR": ("text",),
    "kubernetes.authorization.Authorizer": ("user",),
    "kubernetes.authorization.PathCheck": ("user", "path"),
    "kubernetes.authorization.GroupCheck": ("user", "group"),
    "kubernetes.authorization.ResourceCheck": ("user", "group", "resource", "subresource", "namespace", "name"),
    "kubernetes.authorization.Decision": ("allowed", "reason", "error"),
}


def file_of(package: str, number: int) -> Any:
    """An empty description of a protobuf file."""
    return descriptor_pb2.FileDescriptorProto(name=f"{package}.{number}.proto", package=package, syntax="proto3")


def with_usual(pool: Any) -> Any:
    """A pool of message types with the ones that expressions always have."""
    for known in (struct_pb2, timestamp_pb2, duration_pb2):
        described = descriptor_pb2.FileDescriptorProto()
        known.DESCRIPTOR.CopyToProto(described)
        pool.Add(described)
    files: dict[str, Any] = {}
    for full_name, names in _FIELDS.items():
        package, _, name = full_name.rpartition(".")
        described = files.setdefault(package, file_of(package, 0))
        message = described.message_type.add(name=name)
        for place, field in enumerate(names, 1):
            message.field.add(name=field, number=place, type=TEXT, label=1)
    for described in files.values():
        pool.Add(described)
    return pool


POOL = with_usual(descriptor_pool.DescriptorPool())
_CLASSES = {name: message_factory.GetMessageClass(POOL.FindMessageTypeByName(name)) for name in _FIELDS}


def made(name: str, /, **texts: str) -> Any:
    """A value of one of the types."""
    return _CLASSES[name](**texts)


def type_of(name: str) -> Any:
    """One of the types, as the language knows it."""
    return cel.Type(name)


def name_of(value: Any) -> str:
    """The type's name of a value; empty for what is no message."""
    described = getattr(value, "DESCRIPTOR", None)
    return described.full_name if described is not None else ""
