"""A group of commits as one etcd transaction, and the outcomes read back from the answer.

Each commit becomes a nested transaction: its comparisons, its changes, and for the case that a comparison fails, reads
of all its keys. etcd compares all nested transactions against the state before the whole, so a group must not hold a
key that one commit writes and another one mentions; `batch` sees to that.

The request is encoded by hand: the message classes take four times as long, and this is the hottest code of the
control plane. A test holds the result against them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from controlplane.store.crypt import Sealer
from controlplane.store.values import Committed, Conflict, Op, Put, Record, Refused, Remove
from controlplane.store.versions import expected_revision, number, pack, unpack, version_at

_OVERHEAD = 96
_ROUND = 16384

_SIZES = [bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7)) for n in range(_ROUND)]


class Pending:
    """A commit on its way: what to do, by when, who waits for it, and the mark by which to recognise it.

    `tried_from` is 0 until an attempt was made whose answer did not come; then it is a revision from before it.
    """

    __slots__ = ("deadline", "future", "mark", "ops", "size", "tried_from")

    def __init__(
        self, ops: tuple[Op, ...], mark: bytes, deadline: float, future: asyncio.Future[Committed | Conflict]
    ) -> None:
        """Take a checked commit; `deadline` is in the loop's time. Raises ValueError for a key that is no Unicode."""
        self.ops = ops
        self.mark = mark
        self.deadline = deadline
        self.future = future
        self.tried_from = 0
        size = 0
        for op in ops:
            size += 3 * len(op.key.encode()) + _OVERHEAD + (len(op.value) if type(op) is Put else 0)
        self.size = size


def encode(group: Sequence[Pending], sealer: Sealer | None) -> bytes:
    """Return the transaction request of a group, ready to send."""
    parts: list[bytes] = []
    position = 0
    for pending in group:
        compares = changes = reads = b""
        for op in pending.ops:
            raw = op.key.encode()
            key = b"\x0a" + _size(len(raw)) + raw  # field 1: the key of PutRequest, RangeRequest, DeleteRangeRequest
            compare = b"\x10\x02\x1a%b\x30%b" % (key[1:], _size(expected_revision(op.expect)))  # target MOD equals
            compares += b"\x0a%b%b" % (_size(len(compare)), compare)
            reads += b"\x1a%b\x0a%b%b" % (_size(len(key) + 1 + len(_size(len(key)))), _size(len(key)), key)
            if type(op) is Put:
                value = op.value if sealer is None else sealer.seal(op.key, op.value)
                stored = pack(value, position, pending.mark)
                position += 1
                put = b"%b\x12%b%b" % (key, _size(len(stored)), stored)
                changes += _operation(b"\x12", put)
            elif type(op) is Remove:
                changes += _operation(b"\x1a", key)
        nested = compares + changes + reads
        parts.append(_operation(b"\x22", nested))
    return b"".join(parts)


def outcomes(group: Sequence[Pending], answer: Any, sealer: Sealer | None) -> list[Committed | Conflict | Refused]:
    """Return what became of each commit of a group; `Refused`: it conflicts with what cannot be decrypted."""
    nested = [response.response_txn for response in answer.responses]
    happened = [txn.succeeded for txn in nested]
    versions = number([pending.ops for pending in group], happened, answer.header.revision)
    return [
        Committed(numbers) if ok else _conflict(pending.ops, txn, sealer)
        for pending, txn, ok, numbers in zip(group, nested, happened, versions, strict=True)
    ]


def record(item: Any, sealer: Sealer | None) -> Record:
    """Return the record of an etcd key-value. Raises `Refused` when it cannot be decrypted."""
    key = item.key.decode()
    value, position = unpack(item.value)
    if sealer is not None:
        value = sealer.open(key, value)
    return Record(key, value, version_at(item.mod_revision, position))


def _conflict(ops: tuple[Op, ...], txn: Any, sealer: Sealer | None) -> Conflict | Refused:
    for op, response in zip(ops, txn.responses, strict=True):
        found = response.response_range.kvs
        if (found[0].mod_revision if found else 0) != expected_revision(op.expect):
            try:
                return Conflict(op.key, record(found[0], sealer) if found else None)
            except Refused as error:
                return error
    raise AssertionError(f"etcd refused a commit although every comparison holds: {ops}")


def _operation(kind: bytes, body: bytes) -> bytes:
    """Wrap a request into a RequestOp of the field `kind`, and that into the `success` field of a transaction."""
    size = _size(len(body))
    return b"\x12%b%b%b%b" % (_size(1 + len(size) + len(body)), kind, size, body)


def _size(number_: int) -> bytes:
    """Return a number as protobuf writes it."""
    if number_ < _ROUND:
        return _SIZES[number_]
    out = bytearray()
    while number_ > 127:
        out.append(number_ & 127 | 128)
        number_ >>= 7
    out.append(number_)
    return bytes(out)
