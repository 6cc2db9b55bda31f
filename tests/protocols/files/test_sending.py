"""Tests of ``springline.protocols.files.sending``."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from springline.protocols.files.sending import (
    ANSWER_PATIENCE,
    LONGEST_PAUSE,
    PAUSE,
    STALL,
    Broke,
    Connected,
    Denied,
    Due,
    Effect,
    Event,
    Moved,
    Phase,
    Replied,
    SendFrom,
    Sending,
    SendOffer,
    Streamed,
    step,
)
from springline.protocols.files.wire import AllThere, Have, Offer

SIZE = 100
OFFER = Offer(UUID(int=7), "a.txt", SIZE)
DIGEST, OTHER = b"d" * 32, b"o" * 32


def run(*events: Event, state: Sending | None = None, now: float = 10.0) -> tuple[Sending, list[Effect]]:
    """Feed ``events`` one after another, all at the same time."""
    state = state or Sending(OFFER)
    done: list[Effect] = []
    for event in events:
        state, effects = step(state, event, now)
        done += effects
    return state, done


OFFERED = run(Due())[0]
STREAMING = run(Replied(Have(0)), state=OFFERED)[0]
VERIFYING = run(Streamed(DIGEST), state=STREAMING)[0]
WAITING = run(Broke("the link was lost"), state=STREAMING)[0]
DONE = run(Replied(AllThere(DIGEST, "a.txt")), state=VERIFYING)[0]
FAILED = run(Denied("no room"), state=OFFERED)[0]


def test_a_file_is_sent() -> None:
    all_there = Replied(AllThere(DIGEST, "a (1).txt"))
    state, effects = run(Due(), Replied(Have(0)), Moved(50), Streamed(DIGEST), all_there)
    assert effects == [SendOffer(), SendFrom(0), SendOffer()]
    assert state == Sending(OFFER, Phase.DONE, None, SIZE, 0, DIGEST, "", "a (1).txt")


def test_it_goes_on_where_the_receiver_is() -> None:
    state, effects = run(Moved(60), Broke("the link was lost"), Connected(), Replied(Have(40)), state=STREAMING)
    assert effects == [SendOffer(), SendFrom(40)]
    assert (state.phase, state.moved) == (Phase.STREAMING, 40)


def test_a_lost_result_makes_no_second_copy() -> None:
    state, effects = run(Broke("the link was lost"), Connected(), Replied(AllThere(DIGEST, "a.txt")), state=VERIFYING)
    assert effects == [SendOffer()]
    assert state.phase is Phase.DONE


def test_one_that_is_there_already_is_not_sent() -> None:
    state, effects = run(Replied(AllThere(DIGEST, "a.txt")), state=OFFERED)
    assert (state.phase, state.moved, state.digest, effects) == (Phase.DONE, SIZE, DIGEST, [])


def test_another_file_under_our_id_is_a_failure() -> None:
    state, _ = run(Replied(AllThere(OTHER, "a.txt")), state=VERIFYING)
    assert (state.phase, state.reason) == (Phase.FAILED, "the receiver has another file")


def test_a_receiver_that_has_more_than_there_is_is_a_failure() -> None:
    state, effects = run(Replied(Have(SIZE + 1)), state=OFFERED)
    assert (state.phase, state.deadline, effects) == (Phase.FAILED, None, [])
    assert run(Replied(Have(SIZE)), state=OFFERED)[1] == [SendFrom(SIZE)]


def test_one_that_did_not_arrive_whole_is_offered_again() -> None:
    state, effects = run(Replied(Have(99)), state=VERIFYING)
    assert (state.phase, effects) == (Phase.WAITING, [])
    assert state.deadline is not None
    assert step(state, Due(), state.deadline)[1] == (SendOffer(),)


@pytest.mark.parametrize("state", [OFFERED, STREAMING, VERIFYING, WAITING], ids=lambda state: state.phase.name)
def test_a_new_connection_means_a_new_offer(state: Sending) -> None:
    """A killed connection does not say that its stream has ended; its successor's first word is all we hear."""
    after, effects = step(state, Connected(), 10.0)
    assert effects == (SendOffer(),)
    assert after.phase in (Phase.OFFERING, Phase.VERIFYING)


@pytest.mark.parametrize(
    ("state", "patience"), [(OFFERED, ANSWER_PATIENCE), (STREAMING, STALL), (VERIFYING, ANSWER_PATIENCE)]
)
def test_silence_ends_in_another_offer(state: Sending, patience: float) -> None:
    assert step(state, Due(), 10.0 + patience - 0.01) == (state, ())
    waiting, effects = step(state, Due(), 10.0 + patience)
    assert (waiting.phase, waiting.reason, effects) == (Phase.WAITING, "no progress in time", ())
    assert step(waiting, Due(), 10.0 + patience + PAUSE)[1] == (SendOffer(),)


def test_progress_postpones_the_stall() -> None:
    state, _ = step(STREAMING, Moved(5), 50.0)
    assert state.deadline == 50.0 + STALL


def test_pauses_double_up_to_a_limit_and_progress_ends_that() -> None:
    state, pauses = OFFERED, []
    for _ in range(10):
        state, _ = run(Broke("x"), state=state)
        pauses.append((state.deadline or 0.0) - 10.0)
        state, _ = run(Connected(), state=state)
    assert pauses == pytest.approx([min(LONGEST_PAUSE, PAUSE * 2**n) for n in range(10)])
    state, _ = run(Replied(Have(0)), Moved(1), Broke("x"), state=state)
    assert state.deadline == pytest.approx(10.0 + PAUSE)


def test_an_endless_row_of_breaks_is_no_overflow() -> None:
    state, _ = run(Broke("x"), state=replace(OFFERED, breaks=10**9))
    assert state.deadline == pytest.approx(10.0 + LONGEST_PAUSE)


EVENTS: list[Event] = [
    Replied(Have(0)),
    Replied(AllThere(DIGEST, "a.txt")),
    Broke("x"),
    Denied("x"),
    Moved(5),
    Streamed(DIGEST),
    Connected(),
    Due(),
]


@pytest.mark.parametrize("event", EVENTS, ids=repr)
@pytest.mark.parametrize("state", [DONE, FAILED], ids=lambda state: state.phase.name)
def test_what_has_ended_stays_as_it_is(state: Sending, event: Event) -> None:
    assert step(state, event, 1e9) == (state, ())


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (WAITING, Replied(Have(5))),
        (WAITING, Replied(AllThere(DIGEST, "a.txt"))),
        (WAITING, Moved(5)),
        (WAITING, Streamed(DIGEST)),
        (WAITING, Broke("again")),
        (OFFERED, Moved(5)),
        (OFFERED, Streamed(DIGEST)),
        (STREAMING, Replied(Have(5))),
        (STREAMING, Replied(AllThere(DIGEST, "a.txt"))),
        (VERIFYING, Moved(5)),
        (VERIFYING, Streamed(OTHER)),
    ],
)
def test_what_comes_too_late_changes_nothing(state: Sending, event: Event) -> None:
    assert step(state, event, 10.0) == (state, ())


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: it is never stuck, and once all goes well it gets through."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.now = Sending(OFFER), 0.0

    def feed(self, event: Event) -> tuple[Effect, ...]:
        before = self.state.phase
        self.state, effects = step(self.state, event, self.now)
        assert len(effects) <= 1
        if any(isinstance(effect, SendFrom) for effect in effects):
            assert (before, self.state.phase) == (Phase.OFFERING, Phase.STREAMING)
        return effects

    @rule(event=st.sampled_from([event for event in EVENTS if not isinstance(event, Denied)]))
    def something_happens(self, event: Event) -> None:
        self.feed(event)

    @rule(offset=st.integers(0, SIZE))
    def the_receiver_answers(self, offset: int) -> None:
        self.feed(Replied(Have(offset)))

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Due())

    @rule()
    def all_goes_well(self) -> None:
        have = 0
        for _ in range(12):
            if self.state.phase is Phase.STREAMING:
                have = SIZE
                effects = self.feed(Streamed(DIGEST))
            else:
                self.now = self.state.deadline or self.now
                effects = self.feed(Due())
            if SendOffer() in effects:
                reply = AllThere(DIGEST, "a.txt") if have == SIZE else Have(have)
                self.feed(Replied(reply))
        assert self.state.phase is Phase.DONE

    @invariant()
    def it_is_over_or_has_a_deadline(self) -> None:
        over = self.state.phase in (Phase.DONE, Phase.FAILED)
        assert (self.state.deadline is None) == over


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(stateful_step_count=30)
