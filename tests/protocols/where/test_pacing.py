"""Looks at what a device tells: at once for who moves, ever more seldom for who keeps on telling."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.protocols.where.pacing import CALM, FIRST, LONGEST, Pace


def test_who_moves_twice_is_looked_at_twice() -> None:
    pace = Pace().look(100.0)
    assert pace.pause == FIRST
    assert pace.look(105.0).pause == 2 * FIRST


def test_after_a_calm_it_is_as_in_the_beginning() -> None:
    pace = Pace().look(0.0).look(1.0).look(3.0)
    assert pace.pause == 4 * FIRST
    assert pace.look(3.0 + CALM + 1).pause == FIRST


@given(st.lists(st.floats(0.0, 2 * CALM), max_size=200))
def test_who_keeps_on_telling_is_looked_at_seldom(waits: list[float]) -> None:
    """Whatever a device waits between two tellings, it gets no more than a burst of looks for each calm."""
    now, pace, looks = 0.0, Pace(), [0.0]
    pace = pace.look(now)
    for wait in waits:
        now += max(wait, pace.pause)
        pace = pace.look(now)
        looks.append(now)
    for began in looks:
        assert sum(began <= look < began + LONGEST for look in looks) <= 6


def test_in_the_long_run_it_is_the_longest_pause() -> None:
    now, pace = 0.0, Pace()
    for _ in range(20):
        pace = pace.look(now)
        now += pace.pause
    assert pace.pause == LONGEST
