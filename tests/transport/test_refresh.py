"""Tests of ``springline.transport.refresh``: the table, and two machines on a pipe where everything goes wrong."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from springline.errors import InternalFault, Malformed, Misuse
from springline.transport.noise import FIRST_FRAME, SECOND_FRAME, SessionKeys
from springline.transport.records import Refresh, RefreshStep
from springline.transport.refresh import (
    TABLE,
    Answered,
    Ask,
    AskAnswer,
    AskBegin,
    AskFinish,
    Begun,
    Came,
    Denied,
    Due,
    Effect,
    End,
    Event,
    Failed,
    Finished,
    Moved,
    OpenWith,
    Phase,
    Refreshed,
    RefreshLimits,
    RefreshState,
    Send,
    step,
)

LIMITS = RefreshLimits()
HASH = b"h" * 32
FIRST, SECOND = bytes(FIRST_FRAME), bytes(SECOND_FRAME)
NEW = SessionKeys(b"s" * 32, b"r" * 32, b"n" * 32)
DIALLER_PHASES = (Phase.FRESH, Phase.BEGINNING, Phase.OFFERED, Phase.FINISHING, Phase.SWITCHED)
LISTENER_PHASES = (Phase.READY, Phase.ANSWERING, Phase.ANSWERED)


def dialler(phase: Phase = Phase.FRESH) -> RefreshState:
    state = RefreshState.begin(LIMITS, HASH, dialled=True, now=0.0)
    return state if phase is Phase.FRESH else replace(state, phase=phase, due=math.inf, handle=5, keys=NEW)


def listener(phase: Phase = Phase.READY) -> RefreshState:
    state = RefreshState.begin(LIMITS, HASH, dialled=False, now=0.0)
    return state if phase is Phase.READY else replace(state, phase=phase, keys=NEW)


def came(what: RefreshStep, frame: bytes = b"") -> Came:
    return Came(Refresh(what, frame))


def test_the_limits_are_those_of_the_design() -> None:
    assert (LIMITS.age, LIMITS.size, LIMITS.end) == (120.0, 1 << 30, 180.0)
    assert dialler().deadline == 120.0
    assert listener().deadline == 180.0


@pytest.mark.parametrize("wrong", [{"age": 180.0}, {"age": 0.0}, {"size": 0}, {"retry": 0.0}, {"end": 100.0}])
def test_limits_that_contradict_each_other_are_misuse(wrong: dict[str, float]) -> None:
    with pytest.raises(Misuse):
        RefreshLimits(**wrong)  # type: ignore[arg-type]


def test_a_whole_refresh_on_the_diallers_side() -> None:
    state, effects = step(dialler(), Due(), 120.0)
    assert effects == (AskBegin(HASH),)
    state, effects = step(state, Begun(7, FIRST), 121.0)
    assert effects == (Send(Refresh(RefreshStep.FIRST, FIRST)),)
    state, effects = step(state, came(RefreshStep.SECOND, SECOND), 122.0)
    assert effects == (AskFinish(7, SECOND),)
    state, effects = step(state, Finished(NEW), 123.0)
    assert effects == (Send(Refresh(RefreshStep.SWITCH), then_seal_with=NEW.send),)
    assert state.hash == HASH
    state, effects = step(state, came(RefreshStep.SWITCH_BACK), 124.0)
    assert effects == (OpenWith(NEW.receive), Refreshed())
    assert replace(state, handle=0) == RefreshState.begin(LIMITS, NEW.hash, dialled=True, now=124.0)


def test_a_whole_refresh_on_the_listeners_side() -> None:
    state, effects = step(listener(), came(RefreshStep.FIRST, FIRST), 120.0)
    assert effects == (AskAnswer(FIRST, HASH),)
    state, effects = step(state, Answered(SECOND, NEW), 121.0)
    assert effects == (Send(Refresh(RefreshStep.SECOND, SECOND)),)
    state, effects = step(state, came(RefreshStep.SWITCH), 122.0)
    assert effects == (
        OpenWith(NEW.receive),
        Send(Refresh(RefreshStep.SWITCH_BACK), then_seal_with=NEW.send),
        Refreshed(),
    )
    assert state == RefreshState.begin(LIMITS, NEW.hash, dialled=False, now=122.0)


def test_bytes_make_it_due_as_time_does_but_only_for_the_dialler() -> None:
    assert step(dialler(), Moved(LIMITS.size - 1), 1.0) == (dialler(), ())
    assert step(dialler(), Moved(LIMITS.size), 1.0)[1] == (AskBegin(HASH),)
    assert step(listener(), Moved(LIMITS.size), 1.0) == (listener(), ())


def test_traffic_does_not_make_the_keys_younger() -> None:
    state = dialler()
    for second in range(119):
        state, effects = step(state, Moved(1000), float(second))
        assert not effects
    assert state.deadline == 120.0


@pytest.mark.parametrize("phase", [Phase.BEGINNING, Phase.FINISHING])
def test_a_keystore_that_is_restarted_is_asked_again_after_a_while(phase: Phase) -> None:
    state, effects = step(dialler(phase), Failed("it is not running"), 130.0)
    assert (state.phase, state.deadline, state.keys, effects) == (Phase.FRESH, 131.0, state.keys, ())
    assert step(state, Due(), 130.9) == (state, ())
    assert step(state, Moved(2 << 30), 130.9) == (state, ()), "bytes must not make it hurry"
    state, effects = step(state, Due(), 131.0)
    assert effects == (AskBegin(HASH),)
    state, effects = step(state, Due(), 180.0)
    assert effects == (End("the keys were not refreshed for 180 s: it is not running"),)


def test_a_listener_that_can_not_says_so_and_the_dialler_begins_again() -> None:
    state, effects = step(listener(Phase.ANSWERING), Failed("it is not running"), 125.0)
    assert (state.phase, effects) == (Phase.READY, (Send(Refresh(RefreshStep.SECOND)),))
    state, effects = step(dialler(Phase.OFFERED), came(RefreshStep.SECOND), 125.0)
    assert (state.phase, state.deadline, effects) == (Phase.FRESH, 126.0, ())


def test_another_first_frame_replaces_what_was_agreed() -> None:
    state, effects = step(listener(Phase.ANSWERED), came(RefreshStep.FIRST, FIRST), 125.0)
    assert (state.phase, state.keys, effects) == (Phase.ANSWERING, None, (AskAnswer(FIRST, HASH),))
    with pytest.raises(Malformed):
        step(state, came(RefreshStep.SWITCH), 125.0)


@pytest.mark.parametrize("state", [dialler(Phase.BEGINNING), dialler(Phase.FINISHING), listener(Phase.ANSWERING)])
def test_a_keystore_that_says_no_ends_the_session(state: RefreshState) -> None:
    state, effects = step(state, Denied("it is revoked"), 121.0)
    assert (state.phase, state.deadline, state.keys, effects) == (Phase.ENDED, None, None, (End("it is revoked"),))
    assert step(state, Finished(NEW), 121.0) == (state, ())
    assert step(state, came(RefreshStep.FIRST), 121.0) == (state, ())


@pytest.mark.parametrize("phase", [*DIALLER_PHASES, *LISTENER_PHASES])
def test_whatever_it_waits_for_the_end_comes_and_not_before(phase: Phase) -> None:
    state = dialler(phase) if phase in DIALLER_PHASES else listener(phase)
    if phase is not Phase.FRESH:
        assert state.deadline == 180.0
    assert not any(isinstance(effect, End) for effect in step(state, Due(), 179.99)[1])
    state, effects = step(state, Due(), 180.0)
    assert effects == (End("the keys were not refreshed for 180 s"),)
    assert (state.phase, state.keys) == (Phase.ENDED, None)


@pytest.mark.parametrize("what", RefreshStep)
@pytest.mark.parametrize("phase", [*DIALLER_PHASES, *LISTENER_PHASES])
def test_a_step_out_of_turn_is_malformed(phase: Phase, what: RefreshStep) -> None:
    legal = {
        (Phase.OFFERED, RefreshStep.SECOND),
        (Phase.SWITCHED, RefreshStep.SWITCH_BACK),
        (Phase.READY, RefreshStep.FIRST),
        (Phase.ANSWERED, RefreshStep.FIRST),
        (Phase.ANSWERED, RefreshStep.SWITCH),
    }
    assert ((phase, what) in TABLE) == ((phase, what) in legal)
    state = dialler(phase) if phase in DIALLER_PHASES else listener(phase)
    frame = {RefreshStep.FIRST: FIRST, RefreshStep.SECOND: SECOND}.get(what, b"")
    if (phase, what) in legal:
        step(state, came(what, frame), 1.0)
    else:
        with pytest.raises(Malformed, match="out of turn"):
            step(state, came(what, frame), 1.0)


@given(st.integers(0, 1024))
def test_a_step_of_the_wrong_size_is_malformed(size: int) -> None:
    frame = bytes(size)
    for state, what, sizes in (
        (listener(), RefreshStep.FIRST, {FIRST_FRAME}),
        (dialler(Phase.OFFERED), RefreshStep.SECOND, {0, SECOND_FRAME}),
        (listener(Phase.ANSWERED), RefreshStep.SWITCH, {0}),
        (dialler(Phase.SWITCHED), RefreshStep.SWITCH_BACK, {0}),
    ):
        if size in sizes:
            step(state, came(what, frame), 1.0)
        else:
            with pytest.raises(Malformed, match="bytes where"):
                step(state, came(what, frame), 1.0)


def test_an_answer_that_was_not_asked_for_is_our_bug() -> None:
    with pytest.raises(InternalFault):
        step(dialler(), Finished(NEW), 1.0)


def test_no_key_is_shown() -> None:
    shown = repr((dialler(Phase.SWITCHED), Send(Refresh(RefreshStep.SWITCH), b"k" * 32), OpenWith(b"k" * 32)))
    for secret in ("kkkk", "ssss", "rrrr", "nnnn", "hhhh"):
        assert secret not in shown


# -- two machines --------------------------------------------------------------------------------------------------


@dataclass
class Side:
    """A machine, the keys it uses now, what its Keystore is asked, and the frames on their way to it."""

    state: RefreshState
    sealing: bytes
    opening: bytes
    asked: Ask | None = None
    inbox: deque[tuple[bytes, Refresh | None]] = field(default_factory=deque)
    refreshes: int = 0
    ended_at: float | None = None


class TwoMachines(RuleBasedStateMachine):
    """A dialler and a listener, a pipe that loses and swaps nothing but may take its time, Keystores that die.

    A frame is the key it is sealed with, and the record in it or None for whatever else the two have to say.
    """

    @initialize()
    def connect(self) -> None:
        self.now = 0.0
        there, back = b"there".ljust(32), b"back".ljust(32)
        self.sides = [
            Side(RefreshState.begin(LIMITS, HASH, dialled=True, now=0.0), there, back),
            Side(RefreshState.begin(LIMITS, HASH, dialled=False, now=0.0), back, there),
        ]
        self.handshakes = 0
        self.offered: int | None = None  # what the dialler's Keystore still knows
        self.within: dict[bytes, bytes] = {}  # what it is bound to, by first frame
        self.newest = HASH
        self.agreed: dict[bytes, SessionKeys] = {}  # the dialler's half, by second frame

    def feed(self, side: Side, event: Event) -> None:
        since = side.state.since
        side.state, effects = step(side.state, event, self.now)
        for effect in effects:
            self.perform(side, effect, since)

    def perform(self, side: Side, effect: Effect, since: float) -> None:
        match effect:
            case Send(record=record, then_seal_with=key):
                self.send(side, record)
                side.sealing = key or side.sealing
            case OpenWith(key=key):
                self.newest = key[1:].rjust(32, b"#")
                assert key != side.opening
                side.opening = key
            case Refreshed():
                side.refreshes += 1
            case End():
                assert self.now >= since + LIMITS.end, "it ended too early"
                side.ended_at = self.now
            case AskBegin() | AskAnswer() | AskFinish():
                assert side.asked is None, "two questions at a time"
                side.asked = effect

    def send(self, side: Side, record: Refresh | None) -> None:
        other = self.sides[1 - self.sides.index(side)]
        other.inbox.append((side.sealing, record))

    def frame(self, size: int) -> bytes:
        self.handshakes += 1
        return self.handshakes.to_bytes(8, "big").ljust(size, b".")

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), size=st.integers(0, 2 << 30))
    def traffic(self, which: int, size: int) -> None:
        side = self.sides[which]
        if side.ended_at is None:
            self.send(side, None)
            self.feed(side, Moved(size))

    @rule(which=st.integers(0, 1), most=st.integers(1, 5))
    def arrives(self, which: int, most: int) -> None:
        side = self.sides[which]
        for _ in range(min(most, len(side.inbox))):
            key, record = side.inbox.popleft()
            if side.ended_at is not None:
                continue
            assert key == side.opening, "the two disagree about the key of this frame"
            if record is not None:
                self.feed(side, Came(record))

    @rule(seconds=st.floats(0, 60) | st.floats(0, 2))
    def time_goes_by(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [s for s in self.sides if s.state.deadline is not None and s.state.deadline <= end]:
            side = min(due, key=lambda s: s.state.deadline or 0.0)
            self.now = max(self.now, side.state.deadline or 0.0)
            self.feed(side, Due())
        self.now = end

    @precondition(lambda self: any(side.asked for side in self.sides))
    @rule(first=st.booleans())
    def a_keystore_answers(self, first: bool) -> None:
        side = next(side for side in (self.sides if first else self.sides[::-1]) if side.asked)
        question, side.asked = side.asked, None
        match question:
            case AskBegin(within=within):
                assert within == self.newest, "bound to a session that is no more"
                frame = self.frame(FIRST_FRAME)
                self.offered, self.within[frame] = self.handshakes, within
                self.feed(side, Begun(self.handshakes, frame))
            case AskAnswer(frame=first_frame, within=within):
                assert self.within[first_frame] == within, "they bind the handshake to different sessions"
                frame = self.frame(SECOND_FRAME)
                name = frame[:8]
                there, back, whole = (part + name.ljust(31) for part in (b">", b"<", b"#"))
                self.agreed[frame] = SessionKeys(there, back, whole)
                self.feed(side, Answered(frame, SessionKeys(back, there, whole)))
            case AskFinish(handle=handle, frame=frame):
                forgotten = self.offered != handle
                self.feed(side, Failed("forgotten") if forgotten else Finished(self.agreed[frame]))

    @precondition(lambda self: any(side.asked for side in self.sides))
    @rule(first=st.booleans())
    def a_keystore_dies(self, first: bool) -> None:
        side = next(side for side in (self.sides if first else self.sides[::-1]) if side.asked)
        side.asked = None
        if side is self.sides[0]:
            self.offered = None
        self.feed(side, Failed("it died"))

    @rule(fates=st.lists(st.booleans(), max_size=8))
    def it_goes_on_for_a_while(self, fates: list[bool]) -> None:
        """Everything arrives; of the questions some are answered and some are not, then no more are."""
        for answered in fates:
            for which in (0, 1):
                self.arrives(which, 100)
            if any(side.asked for side in self.sides):
                (self.a_keystore_answers if answered else self.a_keystore_dies)(first=True)

    @rule()
    def it_is_time(self) -> None:
        self.time_goes_by(max(0.0, min(side.state.deadline or self.now for side in self.sides) - self.now))

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def everything_has_a_deadline(self) -> None:
        for side in self.sides:
            if side.ended_at is None:
                assert side.state.deadline is not None
                assert side.state.deadline <= side.state.since + LIMITS.end
                assert self.now < side.state.since + LIMITS.end, "it is older than it may be"
            else:
                assert side.state.deadline is None

    @invariant()
    def an_empty_pipe_means_the_same_keys(self) -> None:
        dialler_side, listener_side = self.sides
        if all(side.ended_at is None and not side.inbox for side in self.sides):
            assert dialler_side.sealing == listener_side.opening
            assert listener_side.sealing == dialler_side.opening
            assert dialler_side.state.hash == listener_side.state.hash
            assert dialler_side.refreshes == listener_side.refreshes

    @invariant()
    def keys_are_kept_only_while_they_are_needed(self) -> None:
        for side in self.sides:
            if side.state.keys is not None:
                assert side.state.phase in (Phase.SWITCHED, Phase.ANSWERED)


TestTwoMachines = TwoMachines.TestCase
TestTwoMachines.settings = settings(max_examples=200, stateful_step_count=40)


def test_without_a_keystore_both_end_when_the_time_is_up() -> None:
    for failing in (0, 1):
        pair = TwoMachines()
        pair.connect()
        for _ in range(400):
            pair.time_goes_by(0.5)
            for which in (0, 1):
                pair.arrives(which, 100)
            while any(side.asked for side in pair.sides):
                dies = pair.sides[failing].asked is not None
                (pair.a_keystore_dies if dies else pair.a_keystore_answers)(first=failing == 0)
        assert [side.ended_at for side in pair.sides] == [LIMITS.end, LIMITS.end]


def test_two_machines_left_alone_refresh_every_two_minutes() -> None:
    pair = TwoMachines()
    pair.connect()
    for _ in range(3600):
        pair.time_goes_by(1.0)
        pair.it_goes_on_for_a_while([True] * 8)
    assert [side.refreshes for side in pair.sides] == [30, 30]
    assert [side.ended_at for side in pair.sides] == [None, None]
