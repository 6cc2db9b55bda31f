"""What is remembered of sessions: bounded, compressed, and no bomb."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Damaged, Newer
from springline.store import history
from springline.store.history import LONGEST, MOST_BYTES, MOST_REASON, MOST_SESSIONS, History, Session
from springline.tests.store.cast import HERE, NOW

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
sessions = st.builds(
    Session,
    moments,
    moments,
    st.text(max_size=MOST_REASON),
    st.booleans(),
    st.text(max_size=50),
    st.integers(0, 1 << 60),
    st.integers(0, 1 << 60),
    st.just(1),
)
ONCE = Session(NOW, NOW + timedelta(hours=1), "closed by the other side", True, HERE, 10, 20)


def compressed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@given(st.lists(sessions, max_size=20))
def test_what_is_encoded_is_decoded(some: list[Session]) -> None:
    made = History(tuple(some))
    assert history.decode(made.encode()) == made
    assert history.checked(made.encode()) == made.encode()


@given(st.lists(st.lists(sessions, max_size=3), max_size=5), st.integers(0, 400))
def test_it_is_the_latest_whatever_is_added(more: list[list[Session]], before: int) -> None:
    known = [replace(ONCE, sent=number) for number in range(before)]
    made = History().add(*known)
    for some in more:
        made = made.add(*some)
        known += some
    assert len(made.sessions) <= MOST_SESSIONS
    assert sum(session.count for session in made.sessions) <= len(known)
    if not any(later.repeats(earlier) for earlier, later in pairwise(known)):
        assert made.sessions == tuple(known[-MOST_SESSIONS:])


def test_brief_ones_that_end_alike_are_counted() -> None:
    brief = [Session(NOW, NOW + timedelta(seconds=n), "not wanted", True, HERE, 1, n) for n in range(4)]
    made = History().add(ONCE).add(*brief[:2]).add(*brief[2:])
    assert made.sessions == (ONCE, replace(brief[3], received=4, sent=6, count=4))
    for other in (ONCE, replace(brief[0], reason="lost"), replace(brief[0], dialled=False)):
        assert History().add(brief[0], other, brief[0]).sessions == (brief[0], other, brief[0])


@given(st.lists(sessions, max_size=10), moments)
def test_pruning_forgets_the_old_and_them_alone(some: list[Session], now: datetime) -> None:
    made = History(tuple(some))
    pruned = made.pruned(now)
    assert pruned.sessions == tuple(s for s in some if s.ended >= now - LONGEST)
    assert pruned.pruned(now) is pruned


def test_a_full_one_is_small_and_fits() -> None:
    many = (
        replace(ONCE, began=NOW + timedelta(seconds=n * 77), reason=f"{n} " + "é" * MOST_REASON, received=n**5)
        for n in range(MOST_SESSIONS)
    )
    made = History().add(*many)
    assert len(made.encode()) < 20_000
    assert len(zstandard.ZstdDecompressor().decompress(made.encode())) < MOST_BYTES
    assert len(history.decode(made.encode()).sessions) == MOST_SESSIONS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"version": 1}',
        b'{"version": 1, "sessions": [{}]}',
        b'{"version": 1, "sessions": [1]}',
        b'{"version": 1, "sessions": 1}',
        b'{"sessions": []}',
        b"[" * 5000,
        b"\xff",
    ],
)
def test_what_is_no_history(content: bytes) -> None:
    for data in (content, compressed(content)):
        with pytest.raises(Damaged):
            history.decode(data)


@pytest.mark.parametrize(("field", "value"), [("sent", -1), ("received", "1"), ("began", "then"), ("ended", 5)])
def test_a_session_that_makes_no_sense(field: str, value: object) -> None:
    fields = json.loads(zstandard.ZstdDecompressor().decompress(History((ONCE,)).encode()))
    fields["sessions"][0][field] = value
    with pytest.raises(Damaged):
        history.decode(compressed(json.dumps(fields).encode()))


def test_a_newer_one_is_refused() -> None:
    with pytest.raises(Newer):
        history.decode(compressed(b'{"version": 99}'))


@given(st.data())
def test_a_damaged_one_is_one_error_or_still_a_history(data: st.DataObject) -> None:
    blob = bytearray(History((ONCE, ONCE)).encode())
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(blob)))
    try:
        assert isinstance(history.decode(bytes(blob[:cut])), History)
    except Damaged:
        pass


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    bomb = compressed(bytes(1 << 28))
    assert len(bomb) < 50_000
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    ).compress(bytes(1 << 20) * 130)
    tracemalloc.start()
    try:
        for hostile in (bomb, wide):
            with pytest.raises(Damaged):
                history.decode(hostile)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
