"""Who is looked out for: what is believed, what is told again, and what a flood costs."""

from __future__ import annotations

import os
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from springline.errors import Malformed
from springline.transport.address import Address
from springline.transport.discovery import tags, watch
from springline.transport.discovery.records import RECORD_SIZE, seal
from springline.transport.discovery.tags import Spot, around, finding_secret, period_at, spot
from springline.transport.discovery.watch import BURST, PACE, TELL_AGAIN, Sighting, Wanted, Watch

WALL = 1_800_000_000.0
RED, BLUE = UUID(int=1), UUID(int=2)
KEY = SigningKey(b"1" * 32)
SECRET = finding_secret(b"s" * 32)
HERE = spot(SECRET, RED, period_at(WALL))
HOME, AWAY = (Address("10.0.0.1", 7400),), (Address("10.0.0.2", 7400),)


def verify(signature: bytes, statement: bytes) -> None:
    try:
        KEY.verify_key.verify(statement, signature)
    except BadSignatureError:
        raise Malformed("not theirs") from None


def said(where: tuple[Address, ...] = HOME, at: float = WALL, there: Spot = HERE, key: SigningKey = KEY) -> bytes:
    return seal(where, there, lambda statement: key.sign(statement).signature, at, 600.0)


def watching() -> Watch[UUID]:
    made: Watch[UUID] = Watch()
    made.look_out(RED, (Wanted(RED, spot(SECRET, RED, period), verify) for period in around(WALL)))
    return made


def test_who_is_sought_is_heard_and_nobody_else() -> None:
    watch = watching()
    assert watch.hear(os.urandom(16), said(), 0.0, WALL) is None
    assert watch.hear(spot(SECRET, BLUE, HERE.period).tag, said(), 0.0, WALL) is None
    assert watch.sighted == watch.refused == 0
    assert watch.hear(HERE.tag, said(), 0.0, WALL) == Sighting(RED, HOME, WALL)
    assert watch.sighted == 1


def test_a_clock_that_is_off_finds_it_under_the_next_tag() -> None:
    there = spot(SECRET, RED, HERE.period + 1)
    at = tags.begins(HERE.period + 1)
    assert watching().hear(there.tag, said(at=at, there=there), 0.0, WALL) == Sighting(RED, HOME, at)


def test_what_is_heard_again_is_told_again_but_seldom() -> None:
    watch, record = watching(), said()
    first = watch.hear(HERE.tag, record, 100.0, WALL)
    assert watch.hear(HERE.tag, record, 100.0 + TELL_AGAIN - 0.1, WALL) is None
    assert watch.hear(HERE.tag, record, 100.0 + TELL_AGAIN, WALL) == first
    assert watch.hear(HERE.tag, record, 100.0 + TELL_AGAIN + 1, WALL) is None
    assert watch.refused == 0


def test_only_news_is_told_at_once() -> None:
    watch = watching()
    watch.hear(HERE.tag, said(), 0.0, WALL)
    assert watch.hear(HERE.tag, said(AWAY, WALL - 1), 0.1, WALL) is None, "older, replayed"
    assert watch.hear(HERE.tag, said(AWAY), 0.2, WALL) is None, "of the same moment"
    assert watch.hear(HERE.tag, said(AWAY, WALL + 1), 0.3, WALL) == Sighting(RED, AWAY, WALL + 1)


def test_a_clock_that_was_ahead_and_is_set_right_does_not_silence_its_device() -> None:
    watch, ahead = watching(), said(AWAY, WALL + 3600)
    assert watch.hear(HERE.tag, ahead, 0.0, WALL) == Sighting(RED, AWAY, WALL + 3600)
    assert watch.hear(HERE.tag, said(at=WALL + 1), 1.0, WALL + 1) == Sighting(RED, HOME, WALL + 1)
    assert watch.hear(HERE.tag, said(AWAY), 2.0, WALL + 2) is None, "older, replayed"


def test_what_is_forged_foreign_or_too_large_is_refused_and_changes_nothing() -> None:
    watch = watching()
    forged = said(key=SigningKey(b"2" * 32))
    for record in (forged, os.urandom(RECORD_SIZE), said() + b"x", b"", said(at=WALL - 20_000.0), said(at=WALL + 9e3)):
        assert watch.hear(HERE.tag, record, 0.0, WALL) is None
    assert watch.sighted == 0
    assert watch.hear(HERE.tag, said(), 0.0, WALL) == Sighting(RED, HOME, WALL)


def test_who_is_forgotten_is_not_heard_and_new_tags_replace_the_old() -> None:
    watch = watching()
    watch.hear(HERE.tag, said(), 0.0, WALL)
    later = spot(SECRET, RED, HERE.period + 2)
    watch.look_out(RED, (Wanted(RED, later, verify),))
    assert list(watch.tags) == [later.tag]
    assert watch.hear(HERE.tag, said(at=WALL + 1), 1.0, WALL) is None
    assert watch.sighted == 1, "what is known stays"
    watch.forget(RED)
    watch.forget(BLUE)
    assert not watch.tags
    assert watch.sighted == 0


def test_a_device_that_says_something_new_all_the_time_is_heard_at_a_bounded_pace() -> None:
    watch, heard, seconds = watching(), 0, 100
    for step in range(seconds * 10):
        now = step / 10
        heard += watch.hear(HERE.tag, said(at=WALL + now), now, WALL + now) is not None
    assert BURST + seconds * PACE - 1 <= heard <= BURST + seconds * PACE


def test_a_flood_of_strangers_leaves_nothing_and_opens_no_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    monkeypatch.setattr(watch, "open_untrusted", lambda record, *_: opened.append(record))
    one = watching()
    size = len(one.tags)
    for _ in range(100_000):
        one.hear(os.urandom(16), b"r" * RECORD_SIZE, 0.0, WALL)
    assert len(one.tags) == size
    assert not opened


@given(st.binary(max_size=300), st.sampled_from([HERE.tag, b"", b"x" * 16]), st.floats(0, 1e6), st.floats(0, 1e12))
def test_bytes_from_outside_raise_nothing(record: bytes, tag: bytes, now: float, wall: float) -> None:
    assert watching().hear(tag, record, now, wall) is None


def test_an_invitation_is_heard_without_a_signature() -> None:
    there = tags.meeting(b"w" * 32)
    watch: Watch[bytes] = Watch()
    watch.look_out(b"words", (Wanted(b"words", there, None),))
    assert watch.hear(there.tag, seal(HOME, there, None, WALL, 300.0), 0.0, 0.0) == Sighting(b"words", HOME, WALL)
