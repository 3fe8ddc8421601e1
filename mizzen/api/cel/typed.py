"""Types of variables for the checks of expressions: message types that say which fields there are.

They serve the compiler alone; what runs are JSON values. Where a type is not one for sure (`intstr`, free JSON, times,
which are texts in JSON) anything goes.
"""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pool

from mizzen.api import codec, schema
from mizzen.api.cel import values
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.structural import Node

_PACKAGE = "typed"
_VALUE = ".google.protobuf.Value"
_SCALARS = {
    "string": 9, "bytes": 9, "Quantity": 9, "bool": 8, "int32": 3, "int64": 3, "double": 1,
    "integer": 3, "number": 1, "boolean": 8,
}  # fmt: skip
_MESSAGE, _ONE, _MANY = 11, 1, 3
_RESOURCE = {"group": "string", "version": "string", "resource": "string"}
_KIND = {"group": "string", "version": "string", "kind": "string"}
_REQUEST: dict[str, Any] = {
    "kind": _KIND, "resource": _RESOURCE, "subResource": "string", "requestKind": _KIND, "requestResource": _RESOURCE,
    "requestSubResource": "string", "name": "string", "namespace": "string", "operation": "string",
    "userInfo": {"username": "string", "uid": "string", "groups": ["string"], "extra": "any"},
    "dryRun": "bool", "options": "any",
}  # fmt: skip


class Types:
    """A pool of message types that grows while kinds are described; `sealed` makes it ready for use."""

    def __init__(self) -> None:
        self.pool = values.with_usual(descriptor_pool.DescriptorPool())
        self._file = values.file_of(_PACKAGE, 1)
        self._file.dependency.append("google/protobuf/struct.proto")
        self._known: dict[str, str] = {}

    def sealed(self) -> Any:
        """The pool."""
        self.pool.Add(self._file)
        return self.pool

    def kind(self, kind: Kind[Any]) -> str:
        """The type's name for objects of a kind."""
        if not isinstance(kind, CustomKind):
            return self._message(codec.message_name(kind.type))
        made = self._new(f"custom{len(self._known)}")
        self._known[made.name] = made.name
        self._field(made, "apiVersion", "string")
        self._field(made, "kind", "string")
        self._field(made, "metadata", self._message("meta_v1.ObjectMeta"))
        for name, node in kind.schema.properties.items():
            if name not in ("apiVersion", "kind", "metadata"):
                self._of_node(made, name, node)
        return _full(made.name)

    def request(self) -> str:
        """The type's name of the variable `request`."""
        return self._plain("AdmissionRequest", _REQUEST)

    def user(self) -> str:
        """The type's name of the variable `user`."""
        return self._plain("UserInfo", _REQUEST["userInfo"])

    def _plain(self, name: str, fields: dict[str, Any]) -> str:
        made = self._new(name)
        for field, inner in fields.items():
            if isinstance(inner, dict):
                self._field(made, field, self._plain(f"{name}_{field}", inner))
            elif isinstance(inner, list):
                self._field(made, field, inner[0], many=True)
            else:
                self._field(made, field, inner)
        return _full(name)

    def _new(self, name: str) -> Any:
        return self._file.message_type.add(name=name)

    def _message(self, name: str) -> str:
        made_name = name.replace(".", "_")
        if name in self._known:
            return _full(made_name)
        self._known[name] = made_name
        described = schema.message(name)
        made = self._new(made_name)
        if described.kind:
            self._field(made, "apiVersion", "string")
            self._field(made, "kind", "string")
        for field in described.fields:
            if field.json_name in [one.name for one in made.field]:
                continue
            below = self._message(field.message) if field.type == "message" else field.type
            if field.cardinality == "map":
                self._map(made, field.json_name, below)
            else:
                self._field(made, field.json_name, below, many=field.cardinality == "list")
        return _full(made_name)

    def _of_node(self, made: Any, name: str, node: Node) -> None:
        if node.type == "array" and node.items is not None:
            below = self._type_of_node(f"{made.name}_{name}", node.items)
            self._field(made, name, below, many=below != "any")
        elif isinstance(node.additional, Node) and not node.properties:
            self._map(made, name, self._type_of_node(f"{made.name}_{name}", node.additional))
        else:
            self._field(made, name, self._type_of_node(f"{made.name}_{name}", node))

    def _type_of_node(self, name: str, node: Node) -> str:
        if node.type != "object":
            free = node.int_or_string or node.nullable or node.source.get("format") in ("date-time", "duration", "byte")
            return "any" if free or node.type not in _SCALARS else node.type
        if not node.properties or node.preserve or node.embedded:
            return "any"
        made = self._new(f"{name}_{len(self._file.message_type)}")
        for inner, below in node.properties.items():
            self._of_node(made, inner, below)
        return _full(made.name)

    def _field(self, made: Any, name: str, type_: str, *, many: bool = False) -> None:
        if not name.isidentifier():
            return
        added = made.field.add(name=name, json_name=name, number=len(made.field) + 1, label=_MANY if many else _ONE)
        _typed(added, type_)

    def _map(self, made: Any, name: str, type_: str) -> None:
        entry = made.nested_type.add(name=f"{name[:1].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _typed(entry.field.add(name="key", number=1, label=_ONE), "string")
        _typed(entry.field.add(name="value", number=2, label=_ONE), type_)
        added = made.field.add(name=name, json_name=name, number=len(made.field) + 1, label=_MANY, type=_MESSAGE)
        added.type_name = f"{_full(made.name)}.{entry.name}"


def _typed(field: Any, type_: str) -> None:
    if type_ in _SCALARS:
        field.type = _SCALARS[type_]
    else:
        field.type = _MESSAGE
        field.type_name = type_ if type_.startswith(".") else _VALUE


def _full(name: str) -> str:
    return f".{_PACKAGE}.{name}"


def of(name: str) -> Any:
    """The language's type of a type's name."""
    return cel.Type(name.removeprefix("."))
