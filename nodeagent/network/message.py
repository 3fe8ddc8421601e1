"""DNS messages: a question out of its bytes, and an answer into bytes that can be sent again and again. Pure.

Reading a question is done by hand, because it is on the path of every query, and so is packing what nearly all ask for:
addresses of the very name, or that there are none. All other answers are left to dnslib. What is packed is kept; it
differs from one query to the next only in the first bytes: the id, one flag
and the spelling of the name, which must come back exactly as it was sent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import dnslib

from nodeagent.network import answers
from nodeagent.network.answers import Answer, Record

TTL_S = 5
"""How long clients may keep an answer about the cluster, and its absence."""
FORMERR, NOTIMP = 1, 4

_POINTER = 0xC000
"""Stands for a name that is written earlier in the message, with its offset in the lower bits."""
_HEADER = struct.Struct("!HHHHHH")
_QUESTION_END = struct.Struct("!HH")
_RECORD = struct.Struct("!HHHIH")
_SOA_TIMES = struct.Struct("!IIIII")
_OPT = struct.Struct("!BHHIH")
_OPT_TYPE = 41
_ANSWER, _OPCODES, _AUTHORITATIVE, _TRUNCATED = 0x80, 0x78, 0x04, 0x02
_RECURSIVE = 0x80
_PLAIN_SIZE = 512
_OWN_SIZE = 1232
"""What fits one packet on any path; larger answers go over TCP."""
_LABEL_MAX = 63
_NAME_MAX = 255
_ROTATIONS = 8


@dataclass(frozen=True, slots=True)
class Question:
    """The one question of a query."""

    name: str
    """Lower case, without the final dot."""
    kind: int
    internet: bool
    end: int
    """How many bytes the header and the question take."""
    edns: bool
    room: int
    """How many bytes an answer over UDP may have."""


def read_question(query: bytes) -> Question | None:
    """What is asked; None when the bytes are no query with exactly one question."""
    if len(query) < _HEADER.size or query[2] & (_ANSWER | _OPCODES):
        return None
    _, _, questions, _, _, additional = _HEADER.unpack_from(query)
    named = _read_name(query, _HEADER.size) if questions == 1 else None
    if named is None or named[1] + _QUESTION_END.size > len(query):
        return None
    name, end = named
    kind, network = _QUESTION_END.unpack_from(query, end)
    end += _QUESTION_END.size
    edns, room = _read_edns(query, end) if additional else (False, _PLAIN_SIZE)
    return Question(name, kind, network == dnslib.CLASS.IN, end, edns, room)


def question_of(name: str, kind: int) -> bytes:
    """A query of our own; its id is 0."""
    header = dnslib.DNSHeader(id=0, rd=1)
    packed = dnslib.DNSRecord(header, q=dnslib.DNSQuestion(name, kind))
    packed.add_ar(dnslib.EDNS0(udp_len=_OWN_SIZE))
    return bytes(packed.pack())


def pack(question: Question, answer: Answer, domain: str) -> tuple[bytes, ...]:
    """The answer in the orders it is to be sent in by turns, so that clients spread over several addresses."""
    records = answer.records
    turns = min(len(records), _ROTATIONS) if len({record.kind for record in records}) == 1 else 1
    return tuple(_packed(question, (*records[turn:], *records[:turn]), answer, domain) for turn in range(max(turns, 1)))


def merge(question: Question, records: Sequence[Record], reply: bytes) -> bytes:
    """An answer made of our records and those of another server's reply; raises dnslib.DNSError for a broken reply."""
    other = dnslib.DNSRecord.parse(reply)
    message = _blank(question, other.header.rcode, authoritative=False)
    message.add_answer(*(_as_rr(record, "") for record in records), *other.rr)
    return _finished(message, question)


def personal(packed: bytes, query: bytes, question: Question, *, limited: bool) -> bytes:
    """A kept answer, addressed to this query; cut down to a hint to ask over TCP when it is too long for UDP."""
    head = query[:2] + bytes((packed[2] | query[2] & 1, packed[3]))
    if not limited or len(packed) <= question.room:
        return head + packed[4:12] + query[12 : question.end] + packed[question.end :]
    head = head[:2] + bytes((head[2] | _TRUNCATED, head[3]))
    counts = struct.pack("!HHHH", 1, 0, 0, int(question.edns))
    options = _OPT.pack(0, _OPT_TYPE, _OWN_SIZE, 0, 0) if question.edns else b""
    return head + counts + query[12 : question.end] + options


def refusal(query: bytes, question: Question | None, rcode: int) -> bytes:
    """An answer that says no more than why there is none."""
    flags = bytes((_ANSWER | query[2] & (_OPCODES | 1), _RECURSIVE | rcode))
    echoed = query[12 : question.end] if question is not None else b""
    return query[:2] + flags + struct.pack("!HHHH", int(question is not None), 0, 0, 0) + echoed


def is_query(data: bytes) -> bool:
    """Whether the bytes want an answer at all: answering answers would make loops."""
    return len(data) >= _HEADER.size and not data[2] & _ANSWER


def is_truncated(reply: bytes) -> bool:
    """Whether a reply says that it must be asked for again over TCP."""
    return bool(reply[2] & _TRUNCATED)


def answers_query(reply: bytes, query: bytes, question: Question) -> bool:
    """Whether another server's reply belongs to the query: the same id and the same question."""
    if len(reply) < question.end or reply[:2] != query[:2] or not reply[2] & _ANSWER:
        return False
    return reply[12 : question.end].lower() == query[12 : question.end].lower()


def lifetime_s(reply: bytes, most_s: int) -> int:
    """How long another server's reply may be kept; 0 when it says so or is broken."""
    try:
        message = dnslib.DNSRecord.parse(reply)
    except dnslib.DNSError:
        return 0
    if message.header.rcode not in (answers.NOERROR, answers.NXDOMAIN):
        return 0
    ends: list[int] = [record.ttl for record in message.rr]
    if not ends:
        ends = [min(record.ttl, record.rdata.times[4]) for record in message.auth if record.rtype == answers.SOA]
    return min(most_s, *ends) if ends else 0


def _read_name(query: bytes, offset: int) -> tuple[str, int] | None:
    labels: list[str] = []
    start = offset
    while offset < len(query) and offset - start < _NAME_MAX:
        length = query[offset]
        offset += 1
        if length == 0:
            return ".".join(labels).lower(), offset
        if length > _LABEL_MAX:
            return None
        labels.append(query[offset : offset + length].decode("latin-1"))
        offset += length
    return None


def _read_edns(query: bytes, offset: int) -> tuple[bool, int]:
    if offset + _OPT.size > len(query):
        return False, _PLAIN_SIZE
    name, kind, size, _, _ = _OPT.unpack_from(query, offset)
    if name != 0 or kind != _OPT_TYPE:
        return False, _PLAIN_SIZE
    return True, max(_PLAIN_SIZE, min(size, _OWN_SIZE))


def _packed(question: Question, records: Sequence[Record], answer: Answer, domain: str) -> bytes:
    own = all(record.kind == answers.A and record.name == question.name for record in records)
    if own and not answer.extra:
        return _packed_by_hand(question, records, answer.rcode, domain)
    message = _blank(question, answer.rcode, authoritative=True)
    message.add_answer(*(_as_rr(record, domain) for record in records))
    message.add_ar(*(_as_rr(record, domain) for record in answer.extra))
    if not records:
        message.add_auth(_as_rr(Record(domain, answers.SOA, ""), domain))
    return _finished(message, question)


def _packed_by_hand(question: Question, records: Sequence[Record], rcode: int, domain: str) -> bytes:
    """Addresses of the name that was asked for, or the domain's SOA where there are none (RFC 1035, RFC 2308)."""
    name = _written(question.name)
    flags = _ANSWER << 8 | _AUTHORITATIVE << 8 | _RECURSIVE | rcode
    head = _HEADER.pack(0, flags, 1, len(records), int(not records), int(question.edns))
    asked = name + _QUESTION_END.pack(question.kind, dnslib.CLASS.IN)
    about = _RECORD.pack(_POINTER | _HEADER.size, answers.A, dnslib.CLASS.IN, TTL_S, 4)
    found = b"".join(about + bytes(map(int, record.data.split("."))) for record in records)
    authority = b"" if records else _authority(name, domain, _HEADER.size + len(asked))
    options = _OPT.pack(0, _OPT_TYPE, _OWN_SIZE, 0, 0) if question.edns else b""
    return head + asked + found + authority + options


def _authority(name: bytes, domain: str, offset: int) -> bytes:
    """The domain's SOA at an offset of a message, with pointers to where the domain stands already."""
    apex = _written(domain)
    if name.endswith(apex):
        place = _HEADER.size + len(name) - len(apex)
        owner = struct.pack("!H", _POINTER | place)
    else:
        place, owner = offset, apex
    behind = struct.pack("!H", _POINTER | place)
    data = b"\2ns\3dns" + behind + b"\nhostmaster" + behind + _SOA_TIMES.pack(1, 7200, 1800, 86400, TTL_S)
    # The first two bytes of a record stand for its name, which is written otherwise here.
    return owner + _RECORD.pack(0, answers.SOA, dnslib.CLASS.IN, TTL_S, len(data))[2:] + data


def _written(name: str) -> bytes:
    labels = (label.encode("latin-1") for label in name.split(".")) if name else ()
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _blank(question: Question, rcode: int, *, authoritative: bool) -> dnslib.DNSRecord:
    header = dnslib.DNSHeader(id=0, qr=1, aa=int(authoritative), ra=1, rd=0, rcode=rcode)
    return dnslib.DNSRecord(header, q=dnslib.DNSQuestion(question.name, question.kind))


def _finished(message: dnslib.DNSRecord, question: Question) -> bytes:
    if question.edns:
        message.add_ar(dnslib.EDNS0(udp_len=_OWN_SIZE))
    return bytes(message.pack())


def _as_rr(record: Record, domain: str) -> dnslib.RR:
    match record.kind:
        case answers.A:
            data = dnslib.A(record.data)
        case answers.NS:
            data = dnslib.NS(record.data)
        case answers.CNAME:
            data = dnslib.CNAME(record.data)
        case answers.PTR:
            data = dnslib.PTR(record.data)
        case answers.TXT:
            data = dnslib.TXT(record.data)
        case answers.SRV:
            data = dnslib.SRV(0, 100, record.port, record.data)
        case _:
            # The serial is fixed: nobody transfers the zone.
            data = dnslib.SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", (1, 7200, 1800, 86400, TTL_S))
    return dnslib.RR(record.name, record.kind, ttl=TTL_S, rdata=data)
