"""How many pairings may fail, against the plainest count there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.protocols.pairing.failures import MOST, WINDOW, Failures


def test_the_last_one_shuts_the_door_until_the_first_is_forgotten() -> None:
    failures = Failures()
    for number in range(MOST):
        assert failures.shut_for(float(number)) == 0
        failures = failures.add(float(number))
    now = float(MOST - 1)
    assert failures.shut_for(now) == WINDOW - now
    assert failures.shut_for(WINDOW - 0.001) > 0
    assert failures.shut_for(WINDOW) == 0


@given(st.lists(st.floats(0, WINDOW / 3), max_size=40), st.floats(0, 2 * WINDOW))
def test_against_a_count(gaps: list[float], later: float) -> None:
    failures, now, times = Failures(), 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
        failures = failures.add(now)
    now += later
    assert len(failures.times) <= MOST
    recent = [time for time in times if time + WINDOW - now > 0]
    assert (failures.shut_for(now) > 0) == (len(recent) >= MOST)
