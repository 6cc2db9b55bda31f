"""Refusals summed up: each kind at once, none lost, never many lines."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from springline.actors.tally import MOST, WINDOW, Tally


def test_the_first_at_once_and_the_rest_in_one_line() -> None:
    tally = Tally()
    assert tally.add("no key", "10.0.0.1", 0.0) == "a caller from 10.0.0.1: no key"
    assert tally.add("no key", "10.0.0.2", 1.0) is None
    assert tally.add("revoked", "10.0.0.3", 2.0) == "a caller from 10.0.0.3: revoked"
    assert tally.add("no key", "10.0.0.4", 3.0) is None
    assert tally.due(WINDOW - 0.1) == ()
    assert tally.due(WINDOW) == ("2 more callers, the last from 10.0.0.4: no key",)
    assert tally.due(2 * WINDOW) == ()
    assert tally.add("no key", "10.0.0.1", 2 * WINDOW) is not None


@given(st.lists(st.tuples(st.integers(0, 2 * MOST), st.floats(0, WINDOW / 2)), max_size=200))
def test_every_refusal_counts_and_lines_are_few(calls: list[tuple[int, float]]) -> None:
    tally, now, told, lines = Tally(), 0.0, 0, 0
    for reason, gap in calls:
        now += gap
        summed = tally.due(now)
        at_once = tally.add(f"reason {reason}", "h", now)
        lines += len(summed) + bool(at_once)
        told += sum(int(line.split()[0]) for line in summed) + bool(at_once)
    told += sum(int(line.split()[0]) for line in tally.due(now + WINDOW))
    assert told == len(calls)
    assert lines <= 2 * (MOST + 1) * (1 + now / WINDOW)


def test_reasons_without_end_are_one() -> None:
    tally = Tally()
    lines = [tally.add(f"reason {number}", "h", 0.0) for number in range(1000)]
    assert sum(line is not None for line in lines) == MOST + 1
    (other,) = [line for line in tally.due(WINDOW) if re.match(r"\d{3} more", line)]
    assert "other reasons" in other
