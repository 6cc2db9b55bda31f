"""The link machine: the table by cases, and its invariants under any sequence of events."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springline.errors import InternalFault
from springline.transport.link import (
    DIAL_DEADLINE,
    SETTLED,
    TABLE,
    WATCH,
    Adopt,
    CancelDial,
    Close,
    DeadlineDue,
    Dial,
    DialFailed,
    Effect,
    Established,
    Event,
    Hint,
    LinkState,
    Look,
    Phase,
    Probe,
    Retry,
    Revoked,
    SessionLost,
    SessionRef,
    SocketUp,
    Tuned,
    Unwanted,
    Wanted,
    step,
)

OURS = SessionRef(1, epoch=10, by_lower_id=True)
THEIRS = SessionRef(2, epoch=10, by_lower_id=False)
NEWER = SessionRef(3, epoch=11, by_lower_id=False)


def play(*events: Event, state: LinkState | None = None, now: float = 0.0) -> tuple[LinkState, list[Effect]]:
    """Run events one after another at the same moment; the effects of the last one."""
    state = state or LinkState()
    effects: tuple[Effect, ...] = ()
    for event in events:
        state, effects = step(state, event, now, random=1.0)
    return state, list(effects)


def has(effects: list[Effect], wanted: Effect) -> bool:
    return wanted in effects


def test_wanted_dials_at_once() -> None:
    state, effects = play(Wanted())
    assert state.phase is Phase.CONNECTING
    assert has(effects, Dial(1))
    assert state.deadline == DIAL_DEADLINE


def test_a_dial_becomes_authenticating_then_connected() -> None:
    state, _ = play(Wanted(), SocketUp(1))
    assert state.phase is Phase.AUTHENTICATING
    state, effects = play(Established(OURS, 1), state=state)
    assert state.phase is Phase.CONNECTED
    assert not state.dialling
    assert has(effects, Adopt(1))


def test_failures_back_off_exponentially_up_to_the_cap() -> None:
    state, _ = play(Wanted())
    delays = []
    now = 0.0
    for _ in range(12):
        state, _ = step(state, DialFailed(state.attempt, "refused"), now, random=1.0)
        assert state.deadline is not None
        delays.append(state.deadline - now)
        now = state.deadline
        state, effects = step(state, DeadlineDue(), now)
        assert Dial(state.attempt) in effects
    assert delays[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert delays[-1] == 30.0


def test_a_hint_forgets_the_backoff() -> None:
    state, _ = play(Wanted(), DialFailed(1, "x"), DeadlineDue())
    state, _ = step(state, DeadlineDue(), 1.0)
    state, _ = step(state, DialFailed(2, "x"), 1.0)
    state, effects = step(state, Hint("network changed"), 1.01)
    assert state.phase is Phase.CONNECTING
    assert state.failures == 0
    assert Dial(3) in effects


def test_a_dial_in_a_network_that_is_gone_begins_anew() -> None:
    for so_far in ((Wanted(),), (Wanted(), SocketUp(1))):
        state, _ = play(*so_far)
        assert play(Hint("found by mDNS"), state=state) == (state, [])
        state, effects = play(Hint("the network changed", afresh=True), state=state)
        assert effects[:2] == [CancelDial(1), Dial(2)]
        assert state.phase is Phase.CONNECTING


def test_a_hint_casts_doubt_on_an_open_session() -> None:
    state, effects = play(Wanted(), Established(OURS, 1), Hint("the network changed"))
    assert state.phase is Phase.CONNECTED
    assert effects == [Probe(1)]


def test_a_session_is_watched_for_ever() -> None:
    state, _ = play(Wanted(), Established(OURS, 1))
    for turn in range(1, 4):
        assert state.deadline == turn * WATCH
        state, effects = step(state, DeadlineDue(), turn * WATCH)
        assert effects == (Look(1),)
    assert state.phase is Phase.CONNECTED


def test_a_newer_session_replaces_the_older_at_once() -> None:
    state, effects = play(Wanted(), Established(OURS, 1), Established(NEWER, None))
    assert state.session == NEWER
    assert [type(e) for e in effects if isinstance(e, (Close, Adopt))] == [Close, Adopt]


def test_an_older_session_that_comes_late_is_closed() -> None:
    state, effects = play(Wanted(), Established(NEWER, 1), Established(OURS, None))
    assert state.session == NEWER
    assert isinstance(effects[0], Close)
    assert effects[0].session_id == OURS.id


@pytest.mark.parametrize("first_here", [True, False])
def test_in_glare_both_sides_keep_the_one_dialled_by_the_lower_id(first_here: bool) -> None:
    order = [Established(OURS, 1), Established(THEIRS, None)]
    state, _ = play(Wanted(), *(order if first_here else reversed(order)))
    assert state.session == OURS


def test_a_session_that_ends_quickly_counts_as_a_failure() -> None:
    state, _ = play(Wanted(), DialFailed(1, "x"))
    state, _ = step(state, DeadlineDue(), 1.0)
    state, _ = step(state, Established(OURS, 2), 1.0)
    quick, _ = step(state, SessionLost(1, "closed"), 1.0 + SETTLED / 2)
    settled, _ = step(state, SessionLost(1, "closed"), 1.0 + SETTLED)
    assert quick.failures == 2
    assert settled.failures == 1


def test_an_unwanted_link_refuses_the_peer() -> None:
    state, effects = play(Wanted(), Unwanted(), Established(THEIRS, None))
    assert state.phase is Phase.DISCONNECTED
    assert effects == [Close(2, "not wanted")]


def test_disconnecting_cancels_the_dial_and_closes_the_session() -> None:
    _, effects = play(Wanted(), Unwanted())
    assert CancelDial(1) in effects
    _, effects = play(Wanted(), Established(OURS, 1), Unwanted())
    assert Close(1, "disconnected by the user") in effects


def test_revoked_is_never_left() -> None:
    state, _ = play(Wanted(), Established(OURS, 1), Revoked())
    for event in (Wanted(), Unwanted(), Hint("x"), Established(NEWER, None), Revoked(), DeadlineDue()):
        state, effects = step(state, event, 1.0)
        assert state.phase is Phase.FAILED
        assert not any(isinstance(effect, (Dial, Adopt)) for effect in effects)


def test_results_of_an_old_dial_change_nothing() -> None:
    state, _ = play(Wanted(), Unwanted(), Wanted())
    for event in (DialFailed(1, "late"), SocketUp(1)):
        assert step(state, event, 0.0) == (state, ())


def test_an_event_missing_from_the_table_is_our_bug() -> None:
    assert (Phase.DISCONNECTED, SocketUp) not in TABLE
    with pytest.raises(InternalFault, match="Disconnected"):
        step(LinkState(dialling=True, attempt=1), SocketUp(1), 0.0)


def test_a_dial_whose_result_never_comes_holds_up_nothing() -> None:
    """The peer's session came first; the dial's result was lost with a killed transport."""
    called, _ = play(Wanted(), Established(THEIRS, None))
    assert called.dialling
    soon, _ = step(called, SessionLost(THEIRS.id, "reset"), 1.0)
    assert (soon.phase, soon.deadline) == (Phase.CONNECTING, DIAL_DEADLINE)  # it may still come
    late, effects = step(called, SessionLost(THEIRS.id, "reset"), DIAL_DEADLINE)
    assert late.phase is Phase.RECONNECTING
    assert CancelDial(1) in effects
    looked, effects = step(called, DeadlineDue(), WATCH)
    assert not looked.dialling
    assert effects == (CancelDial(1), Look(THEIRS.id))


def test_the_public_states_are_six() -> None:
    names = {"Connecting", "Authenticating", "Connected", "Reconnecting", "Disconnected", "Failed"}
    assert {phase.value for phase in Phase} == names


def test_jitter_is_full() -> None:
    assert Retry().delay(3, random=0.0) == 0.0
    assert Retry().delay(3, random=0.5) == pytest.approx(0.2)
    assert Retry().delay(10_000, random=1.0) == 30.0


def test_another_policy_counts_from_now_on() -> None:
    patient = Retry(first=600.0, cap=3600.0)
    state, _ = play(Tuned(patient), Wanted(), DialFailed(1, "x"))
    assert state.deadline == 600.0
    state, _ = play(Tuned(Retry(cap=5.0)), state=state)
    assert state.phase is Phase.RECONNECTING
    assert state.deadline == 5.0
    assert state.reason == "x"
    assert play(Tuned(patient), state=state)[0].deadline == 5.0  # a retry that is due soon is not put off


class Links(RuleBasedStateMachine):
    """Any events in any order, with the shell's promises kept: time runs, deadlines fire, ids are unique."""

    def __init__(self) -> None:
        super().__init__()
        self.state = LinkState()
        self.now = 0.0
        self.next_id = 1
        self.live: set[int] = set()
        self.dials: set[int] = set()
        self.epoch = 1

    def feed(self, event: Event) -> None:
        before = self.state
        self.state, effects = step(self.state, event, self.now, random=0.5)
        for effect in effects:
            match effect:
                case Dial(attempt=attempt):
                    assert not self.dials, "two dials in flight"
                    self.dials.add(attempt)
                case CancelDial(attempt=attempt):
                    self.dials.discard(attempt)
                case Close(session_id=session_id):
                    self.live.remove(session_id)
                case Adopt(session_id=session_id) | Probe(session_id=session_id) | Look(session_id=session_id):
                    assert session_id in self.live
        if before.phase is Phase.FAILED:
            assert self.state.phase is Phase.FAILED

    @rule(
        event=st.sampled_from(
            [Wanted(), Unwanted(), Hint("x"), Hint("x", afresh=True), Tuned(Retry(first=20.0)), Tuned(Retry(cap=0.5))]
        )
    )
    def user(self, event: Event) -> None:
        self.feed(event)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.state.deadline is not None and self.now >= self.state.deadline:
            self.feed(DeadlineDue())

    @precondition(lambda self: self.dials)
    @rule(fails=st.booleans(), newer=st.integers(-1, 1))
    def dial_ends(self, fails: bool, newer: int) -> None:
        attempt = self.dials.pop()
        if fails:
            self.feed(DialFailed(attempt, "refused"))
        else:
            self.establish(attempt, newer)

    @rule(newer=st.integers(-1, 1))
    def peer_dials(self, newer: int) -> None:
        self.establish(None, newer)

    def establish(self, attempt: int | None, newer: int) -> None:
        self.epoch = max(1, self.epoch + newer)
        session = SessionRef(self.next_id, self.epoch, attempt is None)
        self.next_id += 1
        self.live.add(session.id)
        before = self.state.session
        self.feed(Established(session, attempt))
        if before is not None and session.newer_than(before):
            assert self.state.session == session

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def session_breaks(self, data: st.DataObject) -> None:
        broken = data.draw(st.sampled_from(sorted(self.live)))
        self.live.discard(broken)
        self.feed(SessionLost(broken, "reset"))

    @rule(rarely=st.integers(0, 9))
    def revoke(self, rarely: int) -> None:
        if rarely == 0:
            self.feed(Revoked())

    @invariant()
    def waiting_has_a_deadline(self) -> None:
        at_rest = self.state.phase in (Phase.DISCONNECTED, Phase.FAILED)
        assert (self.state.deadline is None) == at_rest

    @invariant()
    def a_retry_is_never_further_away_than_the_user_allows(self) -> None:
        if self.state.phase is Phase.RECONNECTING and self.state.deadline is not None:
            assert self.state.deadline - self.now <= self.state.retry.cap

    @invariant()
    def a_dial_is_waited_for_as_long_as_it_may_take_and_no_longer(self) -> None:
        if self.state.phase in (Phase.CONNECTING, Phase.AUTHENTICATING):
            assert self.state.deadline == self.state.dial_until <= self.now + DIAL_DEADLINE

    @invariant()
    def connected_means_a_session(self) -> None:
        assert (self.state.phase is Phase.CONNECTED) == (self.state.session is not None)

    @invariant()
    def no_session_leaks(self) -> None:
        kept = {self.state.session.id} if self.state.session else set()
        assert self.live == kept

    @invariant()
    def the_machine_knows_its_dials(self) -> None:
        if self.state.phase in (Phase.CONNECTING, Phase.AUTHENTICATING):
            assert self.state.dialling


TestLinks = Links.TestCase
