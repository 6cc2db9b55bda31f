"""The relationship key: how it is kept, and how two devices come to share it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult

from springline.errors import Damaged, InternalFault, Newer
from springline.store import migrate
from springline.store.sessions import (
    MOST_PENDING,
    EncryptedSessionKeys,
    decode,
    key_id,
    recovery_key,
    relationship_key,
)
from springline.tests.store.cast import LATER, NOW, identity, info, key

times = st.datetimes(timezones=st.just(UTC))


@given(st.binary(min_size=32, max_size=32), times, st.none() | times)
def test_keys_come_back(secret: bytes, created: datetime, expires: datetime | None) -> None:
    kept = EncryptedSessionKeys(secret, created, expires)
    assert decode(kept.encode()) == kept


keys = st.binary(min_size=32, max_size=32)


@given(keys, keys | st.just(b""), st.lists(keys, max_size=4), keys, st.booleans(), st.booleans())
def test_a_rotation_under_way_comes_back(
    present: bytes, previous: bytes, pending: list[bytes], recovery: bytes, stale: bool, renewed: bool
) -> None:
    kept = EncryptedSessionKeys(present, NOW, None, previous, tuple(pending), recovery, stale, renewed)
    assert decode(kept.encode()) == kept
    for each in (present, previous, *pending, recovery):
        assert not each or kept.accepted(key_id(each)) == each
    assert kept.accepted(bytes(8)) is None
    former = {*filter(None, (previous,)), *(pending if renewed else ())}
    assert {kept.to_dial(turn) for turn in range(6)} == ({recovery} if stale else {present} | former)


def test_the_recovery_key_is_the_first_keys_and_outlives_rotation() -> None:
    first = EncryptedSessionKeys(key(1), NOW)
    assert first.recovery == recovery_key(key(1)) != key(1)
    rotated = first.adopt(key(2), LATER).prepare(key(3)).learn(key_id(key(3)), LATER, leads=False)
    assert (rotated.relationship_key, rotated.recovery) == (key(3), first.recovery)
    assert first.renew(key(9), LATER).recovery == first.recovery


def test_a_follower_keeps_few_keys_that_nobody_took_up() -> None:
    kept = EncryptedSessionKeys(key(1), NOW)
    for number in range(2, 30):
        kept = kept.prepare(key(number))
    assert kept.pending == tuple(key(number) for number in range(30 - MOST_PENDING, 30))
    assert kept.prepare(key(29)) == kept


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(InternalFault):
        EncryptedSessionKeys(b"short", NOW)
    fields = json.loads(EncryptedSessionKeys(key(1), NOW, LATER).encode())
    with pytest.raises(Damaged):
        decode(json.dumps({**fields, "relationship_key": "c2hvcnQ="}).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"version": []}', b'{"version": 1}'])
def test_anything_else_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match=r"session_keys|relationship key"):
        decode(data)


def test_a_newer_version_is_told_apart_from_damage() -> None:
    with pytest.raises(Newer):
        decode(b'{"version": %d}' % (migrate.newest("session_keys") + 1))


def test_the_key_does_not_show() -> None:
    assert "KKK" not in repr(EncryptedSessionKeys(b"K" * 32, NOW))


def test_both_sides_derive_the_same_key_and_every_part_counts() -> None:
    blue, red = identity(1), identity(2)
    mine = crypto_scalarmult(blue.static_private, info(2).static_key)
    theirs = crypto_scalarmult(red.static_private, info(1).static_key)
    said = {blue.device_id: key(8), red.device_id: key(9)}
    made = relationship_key(mine, key(7), said)
    assert made == relationship_key(theirs, key(7), dict(reversed(said.items())))
    others = {
        relationship_key(key(1), key(7), said),
        relationship_key(mine, key(6), said),
        relationship_key(mine, key(7), {blue.device_id: key(9), red.device_id: key(8)}),
        relationship_key(mine, key(7), {**said, red.device_id: key(5)}),
        relationship_key(mine, key(7), {UUID(int=number): said[device] for number, device in enumerate(sorted(said))}),
    }
    assert len(others) == 5
    assert made not in others


def test_a_relationship_has_two_sides() -> None:
    with pytest.raises(InternalFault):
        relationship_key(key(1), key(2), {info(1).device_id: key(3)})
