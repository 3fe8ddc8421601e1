"""DNS messages by the byte: questions that are read, answers that are kept and sent again."""

from __future__ import annotations

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.network import message
from nodeagent.network.answers import NXDOMAIN, A, Answer, Record
from nodeagent.network.message import Question, read_question

DOMAIN = "cluster.local"


def query(name: str, kind: str = "A", size: int = 0) -> bytes:
    """A query; with a size, by EDNS."""
    made = dnslib.DNSRecord.question(name, kind)
    if size:
        made.add_ar(dnslib.EDNS0(udp_len=size))
    return bytes(made.pack())


def asked(data: bytes) -> Question:
    """The question, which must be one."""
    found = read_question(data)
    assert found is not None
    return found


def addresses(count: int) -> Answer:
    """An answer with so many addresses."""
    return Answer(records=tuple(Record("a.cluster.local", A, f"10.0.0.{number}") for number in range(count)))


@pytest.mark.parametrize(("size", "room"), [(0, 512), (100, 512), (1000, 1000), (4096, 1232)])
def test_reading(size: int, room: int) -> None:
    """Name, type and the room that the client offers, within what fits any path."""
    data = query("Web.Default.svc.cluster.local", "SRV", size)
    found = asked(data)
    assert (found.name, found.kind, found.internet) == ("web.default.svc.cluster.local", 33, True)
    assert (found.edns, found.room) == (bool(size), room)
    assert data[found.end - 4 : found.end] == b"\x00\x21\x00\x01"


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    """Nothing that arrives breaks the reader, and what it takes for a question can be refused."""
    found = read_question(data)
    if found is not None:
        assert found.end <= len(data)
    if message.is_query(data):
        assert message.refusal(data, found, 2)[:2] == data[:2]


@given(st.integers(0, 40))
def test_cut_off_queries(length: int) -> None:
    """A query that ends early is none."""
    data = query("web.default.svc.cluster.local")
    assert read_question(data[:length]) is None


@pytest.mark.parametrize("size", [0, 1232])
@pytest.mark.parametrize("name", ["a.cluster.local", "cluster.local", "7.0.0.10.in-addr.arpa"])
@pytest.mark.parametrize(("rcode", "count"), [(0, 1), (0, 3), (0, 0), (NXDOMAIN, 0)])
def test_what_is_packed_by_hand_is_what_the_library_packs(name: str, rcode: int, count: int, size: int) -> None:
    """Addresses of the name, no such type, no such name."""
    question = asked(query(name, "A", size))
    records = tuple(Record(name, A, f"10.0.0.{number}") for number in range(count))
    answer = Answer(rcode, records)
    (ours, *_) = message.pack(question, answer, DOMAIN)
    # An address of another name beside it makes it the library's.
    other = Answer(rcode, records, extra=(Record("other.cluster.local", A, "10.0.0.9"),))
    theirs = dnslib.DNSRecord.parse(message.pack(question, other, DOMAIN)[0])
    theirs.ar = [one for one in theirs.ar if str(one.rname) != "other.cluster.local."]
    theirs.header.ar = len(theirs.ar)
    assert str(dnslib.DNSRecord.parse(ours)) == str(theirs)
    assert len(ours) <= len(theirs.pack())


def test_answers_take_turns() -> None:
    """Each order starts with another address, and none is lost."""
    data = query("a.cluster.local")
    packed = message.pack(asked(data), addresses(3), DOMAIN)
    orders = [[str(record.rdata) for record in dnslib.DNSRecord.parse(one).rr] for one in packed]
    assert orders == [
        ["10.0.0.0", "10.0.0.1", "10.0.0.2"],
        ["10.0.0.1", "10.0.0.2", "10.0.0.0"],
        ["10.0.0.2", "10.0.0.0", "10.0.0.1"],
    ]


def test_a_kept_answer_fits_every_query() -> None:
    """Id, flag and spelling are the client's, the rest is the kept one's."""
    first, second = query("a.cluster.local"), query("A.Cluster.LOCAL")
    kept = message.pack(asked(first), addresses(1), DOMAIN)[0]
    reply = message.personal(kept, second, asked(second), limited=True)
    parsed = dnslib.DNSRecord.parse(reply)
    assert reply[:2] == second[:2]
    assert b"\x01A\x07Cluster\x05LOCAL" in reply
    assert (parsed.header.rd, parsed.header.aa, parsed.header.ra, str(parsed.rr[0].rdata)) == (1, 1, 1, "10.0.0.0")


@pytest.mark.parametrize("size", [0, 1232])
def test_too_long_for_udp(size: int) -> None:
    """A hint to use TCP instead of a part that would be taken for the whole."""
    data = query("a.cluster.local", size=size)
    kept = message.pack(asked(data), addresses(200), DOMAIN)[0]
    short = dnslib.DNSRecord.parse(message.personal(kept, data, asked(data), limited=True))
    assert (short.header.tc, len(short.rr), len(short.ar)) == (1, 0, int(bool(size)))
    whole = dnslib.DNSRecord.parse(message.personal(kept, data, asked(data), limited=False))
    assert (whole.header.tc, len(whole.rr)) == (0, 200)


def test_absence_has_an_soa() -> None:
    """By it clients know how long to believe it."""
    data = query("x.cluster.local", size=1232)
    parsed = dnslib.DNSRecord.parse(message.pack(asked(data), Answer(NXDOMAIN), DOMAIN)[0])
    assert parsed.header.rcode == dnslib.RCODE.NXDOMAIN
    assert [(record.rtype, record.ttl, record.rdata.times[4]) for record in parsed.auth] == [(6, 5, 5)]
    assert [record.rtype for record in parsed.ar] == [41]


def test_replies_are_matched() -> None:
    """By id and question; a reply is not a query and a query not a reply."""
    data = query("example.org")
    reply = bytes(dnslib.DNSRecord.parse(data).reply().pack())
    assert message.answers_query(reply, data, asked(data))
    assert not message.answers_query(data, data, asked(data))
    assert not message.answers_query(b"xx" + reply[2:], data, asked(data))
    other = bytes(dnslib.DNSRecord.parse(query("example.com")).reply().pack())
    assert not message.answers_query(data[:2] + other[2:], data, asked(data))
    assert read_question(reply) is None


def test_lifetimes() -> None:
    """The shortest of the records, no longer than allowed; of absence what the SOA says; of failure nothing."""
    plain = dnslib.DNSRecord.parse(query("example.org"))
    found = plain.reply()
    found.add_answer(dnslib.RR("example.org", rdata=dnslib.A("1.2.3.4"), ttl=20))
    assert message.lifetime_s(bytes(found.pack()), 30) == 20
    assert message.lifetime_s(bytes(found.pack()), 10) == 10
    absent = plain.reply()
    absent.header.rcode = dnslib.RCODE.NXDOMAIN
    assert message.lifetime_s(bytes(absent.pack()), 30) == 0
    absent.add_auth(dnslib.RR("org", 6, rdata=dnslib.SOA("a.org", "b.org", (1, 2, 3, 4, 7)), ttl=60))
    assert message.lifetime_s(bytes(absent.pack()), 30) == 7
    failed = plain.reply()
    failed.header.rcode = dnslib.RCODE.SERVFAIL
    assert message.lifetime_s(bytes(failed.pack()), 30) == 0
    assert message.lifetime_s(b"nonsense that is long enough", 30) == 0
