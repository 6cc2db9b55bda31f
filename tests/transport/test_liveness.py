"""When a session is probed and given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.liveness import LEAST, PATIENCE, SUSPICION, Liveness, Verdict

KEEPALIVE = 25.0


def fresh() -> Liveness:
    return Liveness(KEEPALIVE, heard_at=0.0)


def test_silence_brings_a_probe_after_the_keepalive_and_the_end_after_patience() -> None:
    state, verdict = fresh().check(KEEPALIVE)
    assert verdict is Verdict.PROBE
    state, verdict = state.check(KEEPALIVE + PATIENCE - 0.01)
    assert verdict is Verdict.FINE
    assert state.check(KEEPALIVE + PATIENCE)[1] is Verdict.DEAD


def test_an_answer_spares_the_session() -> None:
    state, _ = fresh().check(KEEPALIVE)
    state = state.heard(KEEPALIVE + 1)
    assert state.check(KEEPALIVE + PATIENCE)[1] is Verdict.FINE


def test_a_dead_path_is_noticed_sooner_when_active() -> None:
    state = fresh().spoke(1.0)
    state, verdict = state.check(1.0 + SUSPICION)
    assert verdict is Verdict.PROBE
    assert state.check(1.0 + SUSPICION + PATIENCE)[1] is Verdict.DEAD
    assert SUSPICION + PATIENCE <= 10


def test_speaking_more_does_not_put_the_probe_off() -> None:
    state = fresh().spoke(1.0).spoke(3.9)
    assert state.deadline == 1.0 + SUSPICION


def test_a_suspicion_probes_at_once() -> None:
    assert fresh().suspect(2.0).check(2.0)[1] is Verdict.PROBE


def test_a_doubted_session_has_only_as_long_as_its_round_trips_suggest() -> None:
    near, far = fresh().measured(0.001), fresh().measured(0.6)
    assert near.suspect(2.0).check(2.0)[0].deadline == 2.0 + LEAST
    assert LEAST < far.suspect(2.0).check(2.0)[0].deadline - 2.0 <= PATIENCE
    assert fresh().suspect(2.0).check(2.0)[0].deadline == 2.0 + PATIENCE  # nothing is known of it


def test_a_doubt_shortens_a_probe_that_is_under_way_and_never_lengthens_it() -> None:
    probed, _ = fresh().measured(0.001).check(KEEPALIVE)
    assert probed.deadline == KEEPALIVE + PATIENCE
    doubted = probed.suspect(KEEPALIVE + 1)
    assert doubted.deadline == KEEPALIVE + 1 + LEAST
    assert doubted.suspect(KEEPALIVE + 1.5).deadline == doubted.deadline


def test_an_answer_that_is_overdue_by_the_round_trips_is_missed_sooner() -> None:
    assert fresh().measured(0.001).spoke(1.0).deadline == 1.0 + LEAST
    assert fresh().measured(60.0).spoke(1.0).deadline == 1.0 + SUSPICION


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_the_round_trip_stays_within_what_was_measured(samples: list[float]) -> None:
    state = fresh()
    for seconds in samples:
        state = state.measured(seconds)
    assert state.round_trip is not None
    assert min(samples) - 1e-6 <= state.round_trip.mean <= max(samples) + 1e-6
    assert state.heard(1.0).round_trip == state.round_trip


@given(st.lists(st.tuples(st.sampled_from(["heard", "spoke", "suspect"]), st.floats(0, 10)), max_size=30))
def test_whatever_happens_there_is_a_deadline_that_leads_on(steps: list[tuple[str, float]]) -> None:
    state, now = fresh(), 0.0
    for what, pause in steps:
        now += pause
        state = getattr(state, what)(now)
    verdicts = []
    for _ in range(2):
        now = max(now, state.deadline)
        state, verdict = state.check(now)
        verdicts.append(verdict)
    assert Verdict.DEAD in verdicts or verdicts[0] is Verdict.PROBE
