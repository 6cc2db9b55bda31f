"""Tests of ``springline.transport.records``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.transport.records import (
    DATA_OVERHEAD,
    MOST_HEADER,
    MOST_REFRESH,
    MOST_TEXT,
    Ack,
    Code,
    Credit,
    Data,
    Fin,
    GoAway,
    Kind,
    Message,
    Open,
    Ping,
    Pong,
    Priority,
    Purpose,
    Record,
    Refresh,
    RefreshStep,
    Reset,
    parse_untrusted,
    put_data_head,
)

U8, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 32, 64))
NAMES = st.text("abcxyz019.-_", min_size=1, max_size=64)
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=MOST_TEXT // 4)
PRIORITIES = st.sampled_from(Priority)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(Message, U64, st.sampled_from(Purpose), PRIORITIES, NAMES, st.binary(max_size=100), st.booleans()),
    st.builds(Ack, U64, U8, TEXTS),
    st.builds(Open, U32, PRIORITIES, NAMES, st.binary(max_size=MOST_HEADER)),
    st.builds(Data, U32, st.binary(min_size=1, max_size=100)),
    st.builds(Credit, U32, st.integers(1, 2**32 - 1)),
    st.builds(Fin, U32, U64, st.just(b"") | st.binary(min_size=32, max_size=32)),
    st.builds(Reset, U32, U8, TEXTS),
    st.builds(Ping, U64),
    st.builds(Pong, U64),
    st.builds(Refresh, st.sampled_from(RefreshStep), st.binary(max_size=MOST_REFRESH)),
    st.builds(GoAway, U8, TEXTS),
)


def parse(plaintext: bytes) -> list[Record]:
    return parse_untrusted(memoryview(plaintext))


def raw(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(2, "big") + body


@given(st.lists(RECORDS, max_size=10))
def test_records_come_back(records: list[Record]) -> None:
    assert parse(b"".join(record.encode() for record in records)) == records


@given(st.binary(max_size=300) | st.builds(raw, st.integers(0, 12), st.binary(max_size=60)))
@example(raw(Kind.ACK, bytes(9) + b"\xff"))
def test_arbitrary_bytes_are_records_or_malformed(data: bytes) -> None:
    try:
        records = parse(data)
    except Malformed:
        return
    assert parse(b"".join(record.encode() for record in records)) == records


@given(RECORDS, st.data())
def test_a_record_cut_short_is_malformed_or_another_text(record: Record, data: Any) -> None:
    whole = record.encode()
    with pytest.raises(Malformed):
        parse(whole[: data.draw(st.integers(1, len(whole) - 1))])


def test_the_bytes_of_each_kind() -> None:
    # docs/protocol.rst shows these.
    message = Message(1, Purpose.REQUEST, Priority.INTERACTIVE, "echo", b"hi", more=True)
    expected: list[tuple[Record, str]] = [
        (message, "010011 0000000000000001 81 01 04 6563686f 6869"),
        (Ack(2, Code.REFUSED, "no"), "02000b 0000000000000002 03 6e6f"),
        (Open(4, Priority.BULK, "files", b"h"), "03000c 00000004 03 05 66696c6573 68"),
        (Data(4, b"abc"), "040007 00000004 616263"),
        (Credit(4, 65536), "050008 00000004 00010000"),
        (Fin(4, 3), "06000c 00000004 0000000000000003"),
        (Reset(5, Code.CANCELLED), "070005 00000005 04"),
        (Ping(9), "080008 0000000000000009"),
        (Pong(9), "090008 0000000000000009"),
        (Refresh(RefreshStep.SECOND, b"abc"), "0a0004 02 616263"),
        (GoAway(Code.REVOKED), "0b0001 09"),
    ]
    for record, text in expected:
        assert record.encode().hex() == text.replace(" ", ""), record


def test_data_is_not_copied() -> None:
    frame = bytearray(DATA_OVERHEAD) + b"payload"
    put_data_head(memoryview(frame), 6, 7)
    assert bytes(frame) == Data(6, b"payload").encode()
    (record,) = parse_untrusted(memoryview(frame))
    assert isinstance(record, Data)
    frame[-1:] = b"D"
    assert record.data == b"payloaD"


def test_unknown_kinds_are_skipped_if_optional() -> None:
    assert parse(raw(128, b"whatever") + Ping(1).encode() + raw(255, b"")) == [Ping(1)]
    for kind in (0, 12, 127):
        with pytest.raises(Malformed, match="unknown kind"):
            parse(raw(kind, b""))


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x08\x00",
        raw(Kind.PING, bytes(7)),
        raw(Kind.PING, bytes(9)),
        raw(Kind.PONG, b""),
        raw(Kind.DATA, bytes(3)),
        raw(Kind.DATA, bytes(4)),
        raw(Kind.CREDIT, bytes(8)),
        raw(Kind.FIN, bytes(13)),
        raw(Kind.RESET, bytes(4)),
        raw(Kind.REFRESH, b""),
        raw(Kind.REFRESH, b"\x00"),
        raw(Kind.REFRESH, b"\x05"),
        raw(Kind.REFRESH, b"\x01" + bytes(MOST_REFRESH + 1)),
        raw(Kind.GOAWAY, b""),
        raw(Kind.ACK, bytes(9) + b"\xc3"),
        raw(Kind.ACK, bytes(9) + b"x" * (MOST_TEXT + 1)),
        raw(Kind.OPEN, bytes(6)),
        raw(Kind.OPEN, bytes(4) + b"\x04\x01x"),
        raw(Kind.OPEN, bytes(4) + b"\x00\x01X"),
        raw(Kind.OPEN, bytes(4) + b"\x00\x02x"),
        raw(Kind.OPEN, bytes(4) + b"\x00\x01x" + bytes(MOST_HEADER + 1)),
        raw(Kind.OPEN, bytes(4) + b"\x00\x41" + b"x" * 65),
        raw(Kind.MESSAGE, bytes(8) + b"\x03\x00\x01x"),
        raw(Kind.MESSAGE, bytes(8) + b"\x00\x04\x01x"),
        raw(Kind.MESSAGE, bytes(10)),
    ],
)
def test_what_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


@pytest.mark.parametrize(
    "record",
    [
        Ping(-1),
        Ping(2**64),
        Credit(1, 2**32),
        Credit(1, 0),
        Data(1, b""),
        Data(1, bytes(65536)),
        Fin(1, 0, b"short"),
        Reset(1, 256),
        Refresh(RefreshStep.FIRST, bytes(MOST_REFRESH + 1)),
        Open(1, Priority.BULK, "", b""),
        Open(1, Priority.BULK, "ä", b""),
        Open(1, Priority.BULK, "\udc80", b""),
        Open(1, Priority.BULK, "a/b", b""),
        Open(1, Priority.BULK, "x" * 65, b""),
        Open(1, Priority.BULK, "x", bytes(MOST_HEADER + 1)),
        Open(2**32, Priority.BULK, "x", b""),
    ],
)
def test_what_cannot_be_built(record: Record) -> None:
    with pytest.raises(Misuse):
        record.encode()


@given(st.text(max_size=1000))
@example("é" * MOST_TEXT)
@example("x" + "é" * MOST_TEXT)
def test_any_text_can_be_sent_and_arrives_printable(text: str) -> None:
    (record,) = parse(Reset(1, Code.FAILED, text).encode())
    assert isinstance(record, Reset)
    assert record.text.isprintable()
    assert len(record.text.encode()) <= MOST_TEXT
    if text.isprintable() and len(text.encode()) <= MOST_TEXT:
        assert record.text == text
