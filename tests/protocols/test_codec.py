"""Every message survives the wire; anything else raises Malformed, at bounded cost."""

from __future__ import annotations

import dataclasses
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args
from uuid import UUID

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.protocols import codec
from springline.protocols import message as m
from springline.protocols.codec import decode_untrusted, encode, load_untrusted

ID = UUID(int=7)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
u64 = st.integers(0, 2**64 - 1)
data = st.binary(max_size=40)
digest = st.binary(min_size=32, max_size=32)
ids = st.uuids()
offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(lambda d: timezone(timedelta(seconds=d.seconds)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.one_of(st.just(UTC), offsets))
entries = st.builds(m.Entry, text, data, u64, moments)
operations = st.one_of(
    st.builds(m.Push, st.lists(entries, max_size=4).map(tuple)),
    st.builds(m.Pull, moments),
    st.builds(m.Conflict, entries, entries),
    st.builds(m.Resolution, entries),
)
changes = st.builds(m.LocationChange, st.sampled_from(m.ChangeKind), text, st.none() | text)
messages = st.one_of(
    st.builds(m.Keepalive),
    st.builds(m.KeepaliveResponse),
    st.builds(m.DatabaseSync, ids, operations, data),
    st.builds(m.FileTransferRequest, ids, text, u64, digest),
    st.builds(m.FileChunk, ids, u64, data, st.booleans()),
    st.builds(m.SpacedropRequest, ids, st.builds(m.FileMetadata, text, u64, st.none() | moments, st.none() | digest)),
    st.builds(m.LocationUpdate, ids, st.lists(changes, max_size=4).map(tuple), moments),
    st.builds(m.IndexerProgress, ids, st.builds(m.IndexingProgress, u64, st.none() | u64, text)),
    st.builds(m.SessionRefresh, digest, st.binary(min_size=64, max_size=64)),
    st.builds(m.Custom, st.from_regex(r"[a-z0-9][a-z0-9._-]{0,47}", fullmatch=True), st.integers(0, 2**32 - 1), data),
)


@given(messages)
def test_what_is_sent_arrives(message: m.DeviceMessage) -> None:
    assert decode_untrusted(encode(message)) == message


def test_every_variant_has_a_tag_and_the_strategy_above() -> None:
    assert set(codec.TAGS.values()) == set(get_args(m.DeviceMessage)) - {m.Unknown}


def test_the_layout() -> None:
    """As ``docs/protocol.rst`` tells it: read by hand, without the decoder under test."""
    assert encode(m.Keepalive()) == bytes.fromhex("83 01 69") + b"Keepalive" + bytes.fromhex("a0")
    sync = m.DatabaseSync(ID, m.Pull(NOW), b"x")
    version, tag, fields = cbor2.loads(encode(sync))
    assert (version, tag) == (1, "DatabaseSync")
    assert fields == {"library_id": ID, "operation": ["Pull", {"after": NOW}], "data": b"x"}
    assert bytes.fromhex("d82550") + ID.bytes in encode(sync)
    assert b"\xc0\x78\x202026-01-02T03:04:05.678901+00:00" in encode(sync)


def test_a_time_is_sent_in_utc() -> None:
    odd = timezone(timedelta(hours=5, seconds=30))
    assert encode(m.Pull(NOW.astimezone(odd))) == encode(m.Pull(NOW))  # type: ignore[arg-type]


# -- newer peers ---------------------------------------------------------------------------------------------------


def pack(*whole: Any) -> bytes:
    return cbor2.dumps(list(whole))


def test_an_unknown_variant_is_kept_as_it_is() -> None:
    wire = pack(1, "Tomorrow", {"b": 1, "a": [None, {"deep": cbor2.CBORTag(37, ID.bytes)}]})
    message = decode_untrusted(wire)
    assert message == m.Unknown("Tomorrow", wire)
    assert encode(message) == wire


def test_unknown_fields_are_ignored_and_of_a_repeated_one_the_last_counts() -> None:
    assert decode_untrusted(pack(1, "Keepalive", {"new": 5})) == m.Keepalive()
    once = encode(m.Custom("notes", 1, b"old"))
    head, fields = once[: once.index(b"\xa3")], once[once.index(b"\xa3") + 1 :]
    twice = head + b"\xa4" + fields + cbor2.dumps("payload") + cbor2.dumps(b"new")
    assert decode_untrusted(twice) == m.Custom("notes", 1, b"new")


def test_fields_with_a_default_may_be_missing() -> None:
    metadata = ["FileMetadata", {"name": "n", "size": 1}]
    message = decode_untrusted(pack(1, "SpacedropRequest", {"transfer_id": ID, "file_metadata": metadata}))
    assert message == m.SpacedropRequest(ID, m.FileMetadata("n", 1))


# -- what is not a message -----------------------------------------------------------------------------------------

FIELDS = {"protocol": "notes", "version": 1, "payload": b""}
WRONG: dict[str, bytes] = {
    "nothing": b"",
    "a number": cbor2.dumps(5),
    "a map": cbor2.dumps({}),
    "two parts": pack(1, "Keepalive"),
    "another version": pack(2, "Keepalive", {}),
    "a version that is a truth value": pack(True, "Keepalive", {}),
    "a tag that is a number": pack(1, 5, {}),
    "a long tag": pack(1, "t" * 65, {}),
    "fields that are a list": pack(1, "Keepalive", []),
    "an unknown tag in another version": pack(9, "Tomorrow", {}),
    "something after it": encode(m.Keepalive()) + b"\x00",
    "a field missing": pack(1, "Custom", {"protocol": "notes", "version": 1}),
    "a field of another kind": pack(1, "Custom", {**FIELDS, "payload": "text"}),
    "a number that is a truth value": pack(1, "Custom", {**FIELDS, "version": True}),
    "a value out of range": pack(1, "Custom", {**FIELDS, "version": 2**32}),
    "a part of the wrong kind": pack(1, "DatabaseSync", {"library_id": ID, "operation": ["Entry", {}]}),
    "a part without a name": pack(1, "DatabaseSync", {"library_id": ID, "operation": [{}]}),
    "a part that is null": pack(1, "SpacedropRequest", {"transfer_id": ID, "file_metadata": None}),
    "a list where a name is due": pack(1, "DatabaseSync", {"library_id": ID, "operation": [[], {}]}),
    "a time that is none": b"\x83\x01\x69Keepalive\xa1\x61x\xc0\x61x",
    "a time in month 99": b"\x83\x01\x69Keepalive\xa1\x61x\xc0" + cbor2.dumps("2026-99-01T00:00:00Z"),
    "a time that is a number": b"\x83\x01\x69Keepalive\xa1\x61x\xc0\x05",
    "a short UUID": b"\x83\x01\x69Keepalive\xa1\x61x\xd8\x25\x41x",
    "text that is not UTF-8": b"\x83\x01\x69Keepalive\xa1\x61\xff\x00",
}


@pytest.mark.parametrize("wire", WRONG.values(), ids=WRONG.keys())
def test_what_is_not_a_message_is_malformed(wire: bytes) -> None:
    with pytest.raises(Malformed):
        decode_untrusted(wire)


@pytest.mark.parametrize("kind", [["long"], "x" * 1_000_000, 5, None, b"created"])
def test_a_bad_choice_is_malformed_and_not_repeated_in_the_error(kind: Any) -> None:
    change = ["LocationChange", {"kind": kind, "path": "a"}]
    with pytest.raises(Malformed) as caught:
        decode_untrusted(pack(1, "LocationUpdate", {"location_id": ID, "changes": [change], "timestamp": NOW}))
    assert len(str(caught.value)) < 200


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_malformed_or_a_message(wire: bytes) -> None:
    try:
        message = decode_untrusted(wire)
    except Malformed:
        return
    assert decode_untrusted(encode(message)) == message


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | text | data | ids | moments,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
names = [*codec.PARTS, *codec.TAGS, *(f.name for kind in codec.PARTS.values() for f in dataclasses.fields(kind))]
shaped = st.recursive(
    plain,
    lambda inner: st.tuples(st.sampled_from(names), st.dictionaries(st.sampled_from(names), inner, max_size=5)).map(
        list
    ),
    max_leaves=6,
)


@given(st.sampled_from([*codec.TAGS, "Tomorrow"]), st.data())
def test_well_formed_nonsense_is_malformed_or_a_message(tag: str, draw: st.DataObject) -> None:
    own = [field.name for field in dataclasses.fields(codec.TAGS[tag])] if tag in codec.TAGS else ["x"]
    fields = draw.draw(st.dictionaries(st.sampled_from(own or ["x"]), shaped, max_size=4))
    wire = cbor2.dumps([1, tag, fields], default=lambda encoder, value: encoder.encode(str(value)), timezone=UTC)
    try:
        message = decode_untrusted(wire)
    except Malformed:
        return
    assert decode_untrusted(encode(message)) == message


@given(messages, st.data())
def test_a_damaged_message_is_malformed_or_another_one(message: m.DeviceMessage, draw: st.DataObject) -> None:
    wire = bytearray(encode(message))
    at = draw.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= draw.draw(st.integers(1, 255))
    try:
        decode_untrusted(bytes(wire))
    except Malformed:
        pass
    with pytest.raises(Malformed):
        decode_untrusted(encode(message)[:at])


# -- bombs ---------------------------------------------------------------------------------------------------------

PREFIX = b"\x83\x01\x68Tomorrow\xa1\x61x"
COLLIDING = b"".join(b"\xd8\x25\x50" + (k * (2**61 - 1)).to_bytes(16, "big") + b"\x00" for k in range(1000))
BOMBS: dict[str, bytes] = {
    "text of 2**63 bytes": b"\x7b\x7f" + b"\xff" * 7,
    "bytes of 2**64 - 1 bytes": b"\x5b" + b"\xff" * 8,
    "array of 2**64 - 1 items": b"\x9b" + b"\xff" * 8,
    "map of 2**63 items": b"\xbb\x80" + b"\x00" * 7,
    "nested arrays": b"\x81" * 100_000 + b"\x00",
    "nested maps": b"\xa1\x61x" * 100_000 + b"\x00",
    "nested tags": b"\xc0" * 100_000 + b"\x00",
    "nested arrays that each claim much": b"\x9a\x00\x01\x00\x00" * 40 + b"\x00" * 100_000,
    "indefinite array": b"\x9f" + b"\x00" * 200 + b"\xff",
    "indefinite text": b"\x7f\x61a\xff",
    "a break alone": b"\xff",
    "a bignum": b"\xc2\x5a\x00\x01\x00\x00" + b"\xff" * 65536,
    "a negative bignum": b"\xc3\x41\x01",
    "a fraction": b"\xc4\x82\x1a\x7f\xff\xff\xff\x01",
    "a bigfloat": b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "a rational": b"\xd8\x1e\x82\x01\x00",
    "a regular expression": b"\xd8\x23" + cbor2.dumps("(a+)+$"),
    "a shared value": b"\xd8\x1c\x81\xd8\x1d\x00",
    "a reference": b"\xd8\x1d\x00",
    "a namespace of strings": b"\xd9\x01\x00\x80",
    "a set": b"\xd9\x01\x02\x80",
    "an address": b"\xd9\x01\x04\x44\x7f\x00\x00\x01",
    "a time of an epoch": b"\xc1\x1b" + b"\xff" * 8,
    "a million empty lists": b"\x9a\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
    "a million empty maps": b"\x9a\x00\x0f\x42\x40" + b"\xa0" * 1_000_000,
    "keys with the same hash": b"\xb9\x03\xe8" + COLLIDING,
    "a key that is a list": b"\xa1\x80\x00",
    "a key that is a number": b"\xa1\x00\x00",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_malformed_before_anything_is_built(bomb: bytes) -> None:
    wire = PREFIX + bomb
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode_untrusted(wire)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000


def test_depth_and_number_are_bounded_where_the_limits_say() -> None:
    assert load_untrusted(b"\x81" * (codec.MOST_DEPTH - 2) + b"\x80") is not None
    with pytest.raises(Malformed):
        load_untrusted(b"\x81" * codec.MOST_DEPTH + b"\x80")
    most = codec.MOST_VALUES - 1
    assert len(load_untrusted(b"\x9a" + most.to_bytes(4, "big") + b"\x00" * most)) == most
    with pytest.raises(Malformed):
        load_untrusted(b"\x9a" + (most + 1).to_bytes(4, "big") + b"\x00" * (most + 1))


def test_the_largest_messages_fit_the_limits() -> None:
    entry = m.Entry("key", b"v", 2**64 - 1, NOW)
    push = m.DatabaseSync(ID, m.Push((entry,) * m.MOST_ITEMS))
    assert decode_untrusted(encode(push)) == push
    change = m.LocationChange(m.ChangeKind.RENAMED, "a", "b")
    update = m.LocationUpdate(ID, (change,) * m.MOST_ITEMS, NOW)
    assert decode_untrusted(encode(update)) == update


def test_size_is_bounded_both_ways() -> None:
    with pytest.raises(Misuse, match="too large"):
        encode(m.Custom("notes", 1, bytes(codec.MOST_BYTES)))
    with pytest.raises(Misuse, match="too large"):
        encode(m.Unknown("Tomorrow", bytes(codec.MOST_BYTES + 1)))
    with pytest.raises(Malformed, match="too large"):
        decode_untrusted(bytes(codec.MOST_BYTES + 1))
    with pytest.raises(Malformed, match="too large"):
        load_untrusted(cbor2.dumps("x" * 10), most=10)
    assert load_untrusted(cbor2.dumps("x" * 9), most=10) == "x" * 9
