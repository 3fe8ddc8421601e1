"""Frames and header blocks of SPDY/3.1: the format's own table, what kubectl really sends, and what nobody may send."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.server.spdy_frames import (
    CONTROL_MAX_BYTES,
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Headers,
    Ping,
    Reason,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from controlplane.server.spdy_headers import (
    DICTIONARY,
    HEADERS_MAX_BYTES,
    HeaderError,
    HeaderPacker,
    HeaderUnpacker,
    SpdyError,
)

PLAIN: list[tuple[Frame, str]] = [
    (RstStream(5, Reason.CANCEL), "80030003 00000008 00000005 00000005"),
    (Settings(((7, 0x10000), (4, 100))), "80030004 00000014 00000002 00000007 00010000 00000004 00000064"),
    (Ping(3), "80030006 00000004 00000003"),
    (GoAway(7, 1), "80030007 00000008 00000007 00000001"),
    (WindowUpdate(5, 0x8000), "80030009 00000008 00000005 00008000"),
    (Data(3, b"one\n"), "00000003 00000004 6f6e650a"),
    (Data(3, b"", fin=True), "00000003 01000000"),
    (Data(0x7FFFFFFF, b"x", fin=True), "7fffffff 01000001 78"),
]
"""Frames without headers, and their bytes by the specification."""

KUBECTL_OPENS = bytes.fromhex(
    "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff"
    "800300010000001900000003000000000000c22ac5565c92925f5a02000000ffff"
    "800300010000001500000005000000000000c229975a5404000000ffff"
)
KUBECTL_LEAVES = bytes.fromhex(
    "80030003000000080000000300000005800300030000000800000005000000058003000300000008000000010000000580030007"
    "000000080000000000000000"
)
"""What kubectl 1.29 writes around `exec POD -- COMMAND`."""


def read(data: bytes, reader: FrameReader | None = None) -> list[Frame]:
    return list((reader or FrameReader()).feed(data))


def control(kind: int, body: bytes, *, flags: int = 0, version: int = 3, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | size) + body


def test_the_dictionary_is_that_of_the_protocol() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@pytest.mark.parametrize(("frame", "text"), PLAIN, ids=lambda value: type(value).__name__)
def test_frames_without_headers(frame: Frame, text: str) -> None:
    data = bytes.fromhex(text)
    assert FrameWriter().encode(frame) == data
    assert read(data) == [frame]


def test_frames_with_headers() -> None:
    reader, writer = FrameReader(), FrameWriter()
    syn = SynStream(1, {"streamtype": "data", "port": "80"}, fin=True, unidirectional=True)
    data = writer.encode(syn)
    assert data[:4] == bytes.fromhex("80030001")
    assert data[4] == 3
    assert data[8:18] == bytes.fromhex("00000001 00000000 0000")
    assert data[20:24] == bytes.fromhex("e3c6a7c2")  # zlib names the dictionary
    assert read(data, reader) == [syn]
    for frame in (SynReply(1, {}), Headers(1, {"a": "b\x00c"}, fin=True), SynReply(3, {"x": ""}, fin=True)):
        assert read(writer.encode(frame), reader) == [frame]


def test_what_kubectl_sends() -> None:
    reader = FrameReader()
    streams = [SynStream(1, {"streamtype": "error"}), SynStream(3, {"streamtype": "stdout"})]
    assert read(KUBECTL_OPENS, reader) == [*streams, SynStream(5, {"streamtype": "stderr"})]
    resets = [RstStream(stream_id, Reason.CANCEL) for stream_id in (3, 5, 1)]
    assert read(KUBECTL_LEAVES, reader) == [*resets, GoAway(0, 0)]


def test_long_data_is_passed_on_as_it_comes() -> None:
    reader = FrameReader()
    head = struct.pack(">II", 3, 1 << 24 | 10)
    assert read(head, reader) == []
    assert read(b"0123", reader) == [Data(3, b"0123")]
    rest = b"456789" + FrameWriter().encode(Ping(1))
    assert read(rest, reader) == [Data(3, b"456789", fin=True), Ping(1)]


def test_unknown_frames_are_skipped() -> None:
    unknown = control(5, b"") + control(10, b"credential") + control(200, b"x", flags=255)
    assert read(unknown + FrameWriter().encode(Ping(1))) == [Ping(1)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (control(6, b"\0\0\0\1", version=2), "version 2"),
        (control(6, b"\0"), "too short"),
        (control(1, b"\0\0\0\1"), "too short"),
        (control(3, b"\0\0\0\1"), "too short"),
        (control(3, b"\0\0\0\0\0\0\0\5"), "stream 0"),
        (control(4, b"\0\0\0\2" + bytes(8)), "2 settings"),
        (control(4, b"\xff\xff\xff\xff"), "settings in 4 bytes"),
        (control(1, b"", length=CONTROL_MAX_BYTES + 1), "are allowed"),
        (control(2, b"\0\0\0\1no zlib"), "not zlib"),
        (struct.pack(">II", 0, 1) + b"x", "stream 0"),
    ],
)
def test_what_is_no_frame(data: bytes, message: str) -> None:
    with pytest.raises(SpdyError, match=message):
        read(data)


def block(*texts: bytes, count: int | None = None) -> bytes:
    """An unpacked header block of these texts."""
    number = len(texts) // 2 if count is None else count
    return struct.pack(">I", number) + b"".join(struct.pack(">I", len(text)) + text for text in texts)


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too early"),
        (block(b"a", b"b", count=2), "too early"),
        (block(b"a", b"b") + b"x", "1 bytes too many"),
        (block(b"", b"b"), "empty or repeated"),
        (block(b"a", b"b", b"A", b"c"), "empty or repeated"),
        (struct.pack(">III", 1, 1 << 31, 0), "too early"),
        (block(b"a", bytes(HEADERS_MAX_BYTES)), "longer than"),
        (block(b"a", bytes(100 * HEADERS_MAX_BYTES)), "longer than"),
    ],
)
def test_what_is_no_header_block(data: bytes, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        HeaderUnpacker().unpack(packed(data))


def test_names_are_lower_case_on_the_wire_and_here() -> None:
    assert HeaderUnpacker().unpack(HeaderPacker().pack({"StreamType": "Error"})) == {"streamtype": "Error"}
    assert HeaderUnpacker().unpack(packed(block(b"Port", b"80"))) == {"port": "80"}


_IDS = st.integers(1, (1 << 31) - 1)
_NUMBERS = st.integers(0, (1 << 32) - 1)
_TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=20)
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-:", min_size=1, max_size=20)
_HEADERS = st.dictionaries(_NAMES, _TEXT, max_size=5)
_FRAMES = st.one_of(
    st.builds(SynStream, _IDS, _HEADERS, st.booleans(), st.booleans()),
    st.builds(SynReply, _IDS, _HEADERS, st.booleans()),
    st.builds(Headers, _IDS, _HEADERS, st.booleans()),
    st.builds(RstStream, _IDS, _NUMBERS),
    st.builds(Settings, st.lists(st.tuples(st.integers(0, 0xFFFFFF), _NUMBERS), max_size=4).map(tuple)),
    st.builds(Ping, _NUMBERS),
    st.builds(GoAway, st.integers(0, (1 << 31) - 1), _NUMBERS),
    st.builds(WindowUpdate, st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 31) - 1)),
    st.builds(Data, _IDS, st.binary(max_size=100), st.booleans()),
)


def joined(frames: list[Frame]) -> list[Frame]:
    """The frames, with the pieces of each data frame put together."""
    whole: list[Frame] = []
    part: Data | None = None
    for frame in frames:
        if isinstance(frame, Data) and part is not None and frame.stream_id == part.stream_id and not part.fin:
            whole.pop()
            frame = Data(frame.stream_id, part.data + frame.data, frame.fin)
        part = frame if isinstance(frame, Data) else None
        whole.append(frame)
    return whole


@settings(max_examples=150, deadline=None)
@given(st.lists(_FRAMES, max_size=12), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_what_is_written_is_read_in_whatever_pieces(frames: list[Frame], sizes: list[int]) -> None:
    writer, reader = FrameWriter(), FrameReader()
    data = b"".join(writer.encode(frame) for frame in frames)
    got: list[Frame] = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        got += reader.feed(data[:size])
        data, turn = data[size:], turn + 1
    assert joined(got) == joined(frames)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    with suppress(SpdyError):
        read(noise)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_frame_is_read_or_refused(data: st.DataObject) -> None:
    good = bytearray(FrameWriter().encode(data.draw(_FRAMES)))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(SpdyError):
        read(bytes(good))
