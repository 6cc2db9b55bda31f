"""Whose turn it is, and when."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from springline.transport.discovery.rota import NEVER, Rota

PAUSES = (2.0, 4.0, 8.0)


def take(rota: Rota[str], now: float) -> str | None:
    turn = rota.take(now)
    return None if turn is None else turn[0]


def test_who_is_new_has_a_turn_at_once_and_then_at_growing_intervals() -> None:
    rota: Rota[str] = Rota(PAUSES)
    rota.keep({"a"}, 100.0)
    now, pauses = 100.0, []
    for taken in range(5):
        assert rota.take(now) == ("a", taken)
        rota.done("a", now, 0.5)
        pauses.append(rota.wait(now))
        assert rota.take(now + pauses[-1] - 0.1) is None
        now += pauses[-1]
    assert pauses == [2.0, 4.0, 8.0, 8.0, 8.0]


def test_those_who_began_together_do_not_stay_together() -> None:
    rota: Rota[str] = Rota((100.0,))
    rota.keep({"a"}, 0.0)
    pauses = []
    for random in (0.0, 0.999):
        rota.hurry(0.0)
        rota.take(0.0)
        rota.done("a", 0.0, random)
        pauses.append(rota.wait(0.0))
    assert pauses[0] == 75.0
    assert 124.0 < pauses[1] < 125.0


def test_nobody_has_two_turns_at_a_time() -> None:
    rota: Rota[str] = Rota(PAUSES)
    rota.keep({"a"}, 0.0)
    assert take(rota, 0.0) == "a"
    rota.hurry(1.0)
    assert take(rota, 1.0) is None
    assert rota.wait(1.0) == NEVER
    rota.done("a", 2.0, 0.5)
    assert take(rota, 2.0) == "a"  # what has changed meanwhile is not lost


def test_who_is_gone_has_none_and_comes_anew() -> None:
    rota: Rota[str] = Rota(PAUSES)
    rota.keep({"a", "b"}, 0.0)
    assert take(rota, 0.0) in ("a", "b")
    rota.keep((), 1.0)
    rota.done("a", 1.0, 0.5)
    assert (take(rota, 99.0), len(rota)) == (None, 0)
    rota.keep({"a"}, 100.0)
    assert rota.take(100.0) == ("a", 0)


def test_another_pause_if_it_is_said() -> None:
    rota: Rota[str] = Rota(PAUSES)
    rota.keep({"a"}, 0.0)
    rota.take(0.0)
    rota.done("a", 0.0, 0.5, 50.0)
    assert rota.wait(0.0) == 50.0


class Turns(RuleBasedStateMachine):
    """Whatever happens, everybody who is kept waits for a turn or has one."""

    @initialize()
    def begin(self) -> None:
        self.rota: Rota[int] = Rota(PAUSES)
        self.now, self.kept, self.busy = 0.0, set[int](), set[int]()

    @rule(everybody=st.sets(st.integers(0, 4)))
    def keep(self, everybody: set[int]) -> None:
        self.rota.keep(everybody, self.now)
        self.kept, self.busy = everybody, self.busy & everybody

    @rule()
    def hurry(self) -> None:
        self.rota.hurry(self.now)

    @rule()
    def take(self) -> None:
        turn = self.rota.take(self.now)
        if turn is not None:
            assert turn[0] in self.kept - self.busy
            self.busy.add(turn[0])

    @rule(who=st.integers(0, 4), random=st.floats(0, 0.99))
    def done(self, who: int, random: float) -> None:
        self.rota.done(who, self.now, random)
        self.busy.discard(who)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert len(self.rota) == len(self.kept)
        due = self.rota.wait(self.now)
        assert due <= PAUSES[-1] * 1.25 if self.kept - self.busy else due == NEVER


TestTurns = Turns.TestCase
