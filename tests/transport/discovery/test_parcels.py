"""Only the two who share a secret can lay something down at its place."""

from __future__ import annotations

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.transport.address import Address
from springline.transport.discovery.parcels import PARCEL_SIZE, PLACE_SIZE, make, parse_untrusted, place_of
from springline.transport.discovery.records import RECORD_SIZE, seal
from springline.transport.discovery.tags import begins, finding_secret, spot

SECRET, OTHER = bytes(32), bytes([1]) * 32
secrets_ = st.binary(min_size=32, max_size=32)
records = st.binary(min_size=RECORD_SIZE, max_size=RECORD_SIZE)


@given(secret=secrets_, record=records, number=st.integers(0, 2**64 - 1))
def test_what_is_made_is_read_again(secret: bytes, record: bytes, number: int) -> None:
    parcel = make(secret, record, number)
    assert len(parcel.packed) == PARCEL_SIZE
    assert parse_untrusted(parcel.packed, place_of(secret)) == parcel
    assert (parcel.record, parcel.number, len(parcel.place)) == (record, number, PLACE_SIZE)


@given(at=st.integers(0, PARCEL_SIZE - 1), flip=st.integers(1, 255))
def test_whatever_is_changed_it_is_refused(at: int, flip: int) -> None:
    packed = bytearray(make(SECRET, bytes(RECORD_SIZE), 7).packed)
    packed[at] ^= flip
    with pytest.raises(Malformed):
        parse_untrusted(bytes(packed), place_of(SECRET))


def test_it_is_refused_elsewhere() -> None:
    parcel = make(OTHER, bytes(RECORD_SIZE), 1)
    assert parse_untrusted(parcel.packed).place == place_of(OTHER)
    with pytest.raises(Malformed, match="belongs elsewhere"):
        parse_untrusted(parcel.packed, place_of(SECRET))


@given(st.binary(max_size=2 * PARCEL_SIZE) | st.binary(min_size=PARCEL_SIZE, max_size=PARCEL_SIZE))
def test_bytes_from_outside_are_a_parcel_or_malformed(packed: bytes) -> None:
    with contextlib.suppress(Malformed):
        parse_untrusted(packed)


def test_two_secrets_have_nothing_in_common() -> None:
    one, other = make(SECRET, bytes(RECORD_SIZE), 1), make(OTHER, bytes(RECORD_SIZE), 1)
    assert not {one.key, one.place, one.signature} & {other.key, other.place, other.signature}
    assert OTHER not in other.packed


def test_two_days_of_a_device_have_nothing_in_common_in_the_table() -> None:
    """All that lies there of one device for another, in every period of two days: no six bytes but the time's."""
    secret, own = finding_secret(b"x" * 32), UUID(int=7)
    seen: set[bytes] = set()
    for period in range(24):
        there = spot(secret, own, period)
        record = seal([Address("192.0.2.1", 7400)], there, lambda _: bytes(64), begins(period), 7200.0)
        parcel = make(there.key, record, period)
        for part in (parcel.key, parcel.record, parcel.signature, parcel.place):
            pieces = {part[at : at + 6] for at in range(len(part) - 5)}
            assert not pieces & seen
            seen |= pieces


def test_the_place_in_the_documentation() -> None:
    assert place_of(bytes(range(32))).hex() == "aab31fb887572fdbd3689cb765a9dca1c06b1ff3"
