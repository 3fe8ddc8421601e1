"""The schema of the API types as data: what codecs, patches, defaults, pruning and OpenAPI read.

The tables come from the `.proto` files through the generator. A message is named by module and class
(`core_v1.Pod`). Fields stand as they do in JSON: the fields of an inlined message are its parent's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Cardinality = Literal["one", "list", "map"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field as JSON shows it."""

    attr: str
    """The attribute of the struct."""
    json_name: str
    proto_path: tuple[str, ...]
    """The field's name on the wire; behind the names of the inlined messages that it stands in there."""
    type: str
    """`string`, `bool`, `int32`, `int64`, `double`, `bytes`, `message`, or a scalar such as `Time` or `Quantity`."""
    message: str
    """The message's name where `type` is `message`, or a scalar that may hold one."""
    cardinality: Cardinality
    pointer: bool
    """Absent and empty mean different things."""
    always: bool
    """Printed even when empty."""
    list_type: str
    map_keys: tuple[str, ...]
    patch_strategy: tuple[str, ...]
    merge_key: str
    default_json: str
    doc: str
    map_type: str
    """How a map, or this use of a message, is applied: `atomic`, `granular`; empty for what is usual."""


@dataclass(frozen=True)
class MessageSchema:
    """One message: its fields in the order of the proto file."""

    name: str
    kind: bool
    """The JSON carries `apiVersion` and `kind`."""
    doc: str
    fields: tuple[Field, ...]
    struct_type: str = ""
    """`atomic` for what server-side apply sets as a whole."""

    @cached_property
    def by_json_name(self) -> dict[str, Field]:
        """The fields by their JSON names."""
        return {field.json_name: field for field in self.fields}


def message(name: str) -> MessageSchema:
    """The schema of a message such as `core_v1.Pod`; raises KeyError for a name that does not exist."""
    return messages()[name]


def messages() -> dict[str, MessageSchema]:
    """Every message by name."""
    # Here, not at the top: the generated tables are written in this module's terms.
    from mizzen.api.types.tables import MESSAGES

    return MESSAGES
