"""When a session is probed and given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.liveness import PATIENCE, SUSPICION, Liveness, Verdict

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
