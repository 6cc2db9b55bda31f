"""When a finder asks, and when it says anew where it is."""

from __future__ import annotations

from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from springline.transport.discovery.agenda import (
    FIRST,
    LONGEST,
    MOST_ANNOUNCED,
    MOST_EFFORT,
    RENEW,
    TICK,
    Agenda,
    Effort,
    Rounds,
)
from springline.transport.discovery.tags import PERIOD

WALL = 100 * PERIOD
devices = st.sets(st.integers(0, 200).map(lambda number: UUID(int=number)))


def test_at_first_everything_is_due() -> None:
    assert Agenda().must_ask(0.0)
    assert Agenda().must_seal(0.0, WALL)
    assert Agenda().wait(5.0) == 0.0


def test_questions_become_rare_and_begin_anew_when_something_changes() -> None:
    agenda, now, pauses = Agenda(), 0.0, []
    for _ in range(40):
        agenda = agenda.has_asked(now, 1.0)
        pauses.append(agenda.ask_at - now)
        assert not agenda.must_ask(agenda.ask_at - 0.01)
        now = agenda.ask_at
    assert pauses[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert set(pauses[8:]) == {LONGEST}
    again = agenda.afresh(now - 1)
    assert again.must_ask(now)
    assert again.has_asked(now, 1.0).ask_at == now + FIRST


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_too_long_or_none(asked: int, random: float) -> None:
    agenda = Agenda(asked=asked).has_asked(0.0, random)
    assert FIRST / 2 < agenda.ask_at <= LONGEST


def test_records_are_renewed_in_time_on_demand_and_when_the_period_changes() -> None:
    agenda = Agenda().has_sealed(0.0, WALL)
    assert not agenda.must_seal(RENEW - 1, WALL)
    assert agenda.must_seal(RENEW, WALL)
    assert agenda.must_seal(1.0, WALL + PERIOD)
    assert agenda.must_seal(1.0, WALL - 1), "the clock was set back"
    assert agenda.reseal(1.0).must_seal(1.0, WALL)


def test_clocks_are_looked_at_soon_in_any_case() -> None:
    agenda = Agenda().has_sealed(0.0, WALL).has_asked(0.0, 0.5)
    for _ in range(9):
        agenda = agenda.has_asked(0.0, 0.5)
    assert agenda.wait(0.0) == TICK
    assert agenda.wait(agenda.ask_at + 1) == 0.0


@given(st.lists(devices, max_size=6))
def test_all_are_queued_once_and_the_new_ones_first(sets: list[set[UUID]]) -> None:
    rounds = Rounds()
    for sought in sets:
        new = sought - set(rounds.queue)
        rounds = rounds.seek(sought)
        assert sorted(rounds.queue) == sorted(sought)
        assert set(rounds.queue[: len(new)]) == new


@given(devices)
@example({UUID(int=number) for number in range(200)})
def test_everybody_has_a_turn_and_nobody_floods(sought: set[UUID]) -> None:
    rounds, announced = Rounds().seek(sought), set()
    for _ in range(5):
        assert len(rounds.present) <= MOST_ANNOUNCED
        announced |= set(rounds.present)
        rounds = rounds.turn()
    assert announced == sought


def test_only_hard_work_is_a_flood() -> None:
    before = Effort(10.0, 100.0)
    assert not before.is_too_much(10.0 + TICK * MOST_EFFORT, 100.0 + TICK)
    assert before.is_too_much(10.1 + TICK * MOST_EFFORT, 100.0 + TICK)
    assert not before.is_too_much(11.0, 100.1), "a moment says nothing"
