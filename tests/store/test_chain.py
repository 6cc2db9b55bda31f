"""Sealed lines in a row, and every way to tamper with them."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Damaged, Newer
from springline.store.chain import (
    DAMAGED,
    GENESIS,
    MOST_DETAIL,
    MOST_KIND,
    MOST_LINE,
    Checker,
    Entry,
    Head,
    Lines,
    Verdict,
    decode_head,
    digest,
)
from springline.tests.store.cast import NOW, ONE

KEY = bytes(range(32))
LINES = Lines(KEY)
LENGTH = 6


def entry(seq: int, detail: str = "") -> Entry:
    return Entry(seq, NOW, "connected", ONE, detail or f"detail {seq}")


def row(*entries: Entry, before: bytes = GENESIS) -> list[bytes]:
    lines = []
    for one in entries:
        lines.append(LINES.seal(one, before))
        before = digest(lines[-1])
    return lines


WHOLE = row(*map(entry, range(1, LENGTH + 1)))
HEAD = Head(LENGTH, digest(WHOLE[-1]), 1)


def check(lines: list[bytes], head: Head | None = HEAD) -> Verdict:
    checker = Checker(LINES, head)
    for line in lines:
        checker.take(line)
    return checker.verdict()


def test_a_whole_row_is_sound() -> None:
    assert check(WHOLE) == Verdict(LENGTH)
    assert check(WHOLE).sound
    assert check([], None) == Verdict(0)
    ahead = [*WHOLE, *row(entry(LENGTH + 1), before=HEAD.digest)]
    assert check(ahead) == Verdict(LENGTH + 1)


@given(
    st.builds(
        Entry,
        st.integers(1, 1 << 53),
        st.datetimes(timezones=st.sampled_from([UTC, UTC])),
        st.text(max_size=MOST_KIND),
        st.none() | st.uuids(),
        st.text(st.characters(), max_size=MOST_DETAIL),
    ),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_sealed_is_opened_and_shows_nothing(one: Entry, before: bytes) -> None:
    line = LINES.seal(one, before)
    link = LINES.open(line)
    assert (link.entry, link.before) == (one, before)
    assert b"\n" not in line
    assert len(line) < MOST_LINE
    raw = base64.b64decode(line)
    for secret in (one.kind, one.detail, one.device and one.device.hex):
        assert not secret or len(secret) < 4 or secret.encode("utf-8", "surrogatepass") not in raw


def test_what_is_too_long_is_cut() -> None:
    found = LINES.open(LINES.seal(replace(entry(1), kind="k" * 1000, detail="\U0001f600" * 5000), GENESIS)).entry
    assert found.kind == "k" * (MOST_KIND - 1) + "…"
    assert found.detail == "\U0001f600" * (MOST_DETAIL - 1) + "…"


@given(st.binary(max_size=300))
def test_other_lines_are_damaged(data: bytes) -> None:
    for line in (data, base64.b64encode(data), base64.b64encode(b"\x01" + data)):
        with pytest.raises(Damaged):
            LINES.open(line)


def test_another_stores_line_is_damaged() -> None:
    with pytest.raises(Damaged):
        Lines(bytes(32)).open(WHOLE[0])


@pytest.mark.parametrize("place", range(LENGTH))
def test_every_flipped_bit_is_found_and_placed(place: int) -> None:
    line = WHOLE[place]
    for at in range(len(line)):
        for bit in range(8):
            flipped = line[:at] + bytes([line[at] ^ 1 << bit]) + line[at + 1 :]
            if b"\n" in flipped:
                continue  # that makes two of it
            verdict = check([*WHOLE[:place], flipped, *WHOLE[place + 1 :]])
            assert verdict.entries == LENGTH - (1 if place == LENGTH - 1 else 2)
            where = f"after entry {place}" if place else "at the beginning"
            assert verdict.broken == f"the line {where} was altered, or is none of this trail's"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([0, 1, 3, 4, 5], "entry 3 is missing"),
        ([0, 4, 5], "entries 2 to 4 are missing"),
        ([2, 3, 4, 5], "entries 1 to 2 are missing at the beginning"),
        ([0, 1, 2, 3, 4], "entry 6 is missing at the end"),
        ([], "entries 1 to 6 are missing at the end"),
        ([0, 2, 1, 3, 4, 5], "entry 2 is missing"),
        ([1, 0, 2, 3, 4, 5], "entry 1 is missing at the beginning"),
        ([0, 1, 1, 2, 3, 4, 5], "entry 2 stands where entry 3 belongs"),
        ([0, 1, 2, 3, 4, 5, 5], "entry 6 stands where entry 7 belongs"),
        ([0, 1, 2, 3, 4, 5, 0], "entry 1 stands where entry 7 belongs"),
    ],
)
def test_what_is_missing_doubled_or_moved_is_named(lines: list[int], told: str) -> None:
    assert check([WHOLE[number] for number in lines]).broken == told


@given(st.lists(st.sampled_from(range(LENGTH)), max_size=LENGTH + 2))
def test_only_the_whole_row_is_sound(lines: list[int]) -> None:
    assert check([WHOLE[number] for number in lines]).sound == (lines == list(range(LENGTH)))


def test_a_line_of_another_history_is_found_though_its_number_fits() -> None:
    other = row(*map(entry, range(1, LENGTH + 1)))
    assert check([*WHOLE[:2], other[2], *WHOLE[3:]]).broken == "entry 3 does not follow the line before it"
    assert check(other).broken == "entry 6 is not the one that was written last"
    assert check([*WHOLE[:5], other[5]]).broken == "entry 6 is not the one that was written last"


def test_a_missing_head_is_told_and_so_is_a_marked_place() -> None:
    assert "the head is missing" in check(WHOLE, None).broken
    marked = row(entry(1), Entry(2, NOW, DAMAGED, None, "the end was gone"), entry(3))
    assert check(marked, Head(3, digest(marked[-1]), 1)) == Verdict(3, "entry 2 says: the end was gone")


def test_bytes_that_end_without_a_line_feed_are_told() -> None:
    checker = Checker(LINES, HEAD)
    for line in WHOLE:
        checker.take(line)
    checker.take_cut()
    assert checker.verdict().broken == "the line after entry 6 was cut, or is none of this trail's"


def test_what_was_dropped_may_be_gone_and_may_still_be_there() -> None:
    head = replace(HEAD, first=3)
    for gone in (0, 1, 2):
        assert check(WHOLE[gone:], head) == Verdict(LENGTH - gone)
    assert check(WHOLE[3:], head).broken == "entry 3 is missing at the beginning"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"version": 1, "seq": 1, "digest": "zz", "first": 1}', b"\xff", b"[" * 5000, b"null"]
)
def test_what_is_no_head(data: bytes) -> None:
    with pytest.raises(Damaged):
        decode_head(data)


def test_a_head_is_what_it_was() -> None:
    assert decode_head(HEAD.encode()) == HEAD
    with pytest.raises(Newer):
        decode_head(HEAD.encode().replace(b'"version": 1', b'"version": 2'))
