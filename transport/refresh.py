"""The refresh of a session's keys: when, in which steps, and from which record on the new ones count.

The rule: keys serve ``RefreshLimits.age`` seconds or ``size`` bytes, both directions together; idle or busy makes no
difference. Then the Connect handshake runs again inside the session, from Keystore to Keystore, so its Diffie-Hellman
is fresh and both sides' trust is asked again. Its prologue names the session around it, so it is worth nothing
elsewhere. A session whose keys are ``end`` seconds old is over. As in ``transport/link.py`` there is one table and a
pure ``step``; a record that is missing from the table is the peer's fault (Malformed), everything else is ours.

    ===========  =================================  ==============================================================
    record       from whom                          what it does
    ===========  =================================  ==============================================================
    FIRST        the dialler, which alone begins    carries the handshake's first frame
    SECOND       the listener                       carries its second frame; an empty one: "not now, begin again"
    SWITCH       the dialler, once it has the keys  it seals with the new key from here on
    SWITCH_BACK  the listener, in answer            so does the listener: the former keys are out of use
    ===========  =================================  ==============================================================

Each direction switches by itself, at a record, and the pipe keeps the order: so the receiver knows for each frame which
key it is sealed with, and neither side ever waits with its traffic. Who gets a SWITCH has had the new keys since its
SECOND. Every FIRST is answered by exactly one SECOND: a handshake that a dying Keystore has forgotten is begun again,
and no answer can be taken for another's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from springline.errors import InternalFault, Malformed, Misuse
from springline.transport.noise import FIRST_FRAME, SECOND_FRAME, SessionKeys
from springline.transport.records import Refresh, RefreshStep


@dataclass(frozen=True, slots=True)
class RefreshLimits:
    """How long keys serve. The seconds are WireGuard's (its paper, §6.1), for the same reasons.

    :param age: seconds after which they are refreshed: what a stolen key opens is two minutes of a link.
    :param size: bytes after which they are, both directions together: or as much as goes through a fast one.
    :param end: seconds after which the session is over. The difference is time enough for a Keystore to be restarted
        many times, so what is left then is a side that can't or does not want to.
    :param retry: seconds before a refresh that came to nothing is begun again: a restarted Keystore is back sooner,
        and one that is not has little to do with one attempt a second.
    :raises Misuse: they contradict each other.
    """

    age: float = 120.0
    size: int = 1 << 30
    end: float = 180.0
    retry: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.age < self.end or self.size <= 0 or self.retry <= 0:
            raise Misuse("keys are refreshed after some time and some bytes, and before the session ends")


class Phase(Enum):
    """Where a side stands. The first five are the dialler's, the next three the listener's."""

    FRESH = "the keys are good"
    BEGINNING = "our Keystore makes a first frame"
    OFFERED = "the listener has the first frame"
    FINISHING = "our Keystore reads the second frame"
    SWITCHED = "we seal with the new key, the other side not yet"
    READY = "the keys are good as long as the dialler thinks so"
    ANSWERING = "our Keystore reads the first frame and makes a second"
    ANSWERED = "the dialler has the second frame"
    ENDED = "too old, or refused"


# -- events: what happened -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """The clock reached ``state.deadline``."""


@dataclass(frozen=True, slots=True)
class Moved:
    """So many bytes have been sealed and opened with the present keys."""

    size: int


@dataclass(frozen=True, slots=True)
class Came:
    """A record of the peer's."""

    record: Refresh


@dataclass(frozen=True, slots=True)
class Begun:
    """The Keystore's answer to :class:`AskBegin`."""

    handle: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The Keystore's answer to :class:`AskAnswer`."""

    frame: bytes
    keys: SessionKeys


@dataclass(frozen=True, slots=True)
class Finished:
    """The Keystore's answer to :class:`AskFinish`."""

    keys: SessionKeys


@dataclass(frozen=True, slots=True)
class Failed:
    """The Keystore has not answered: it is being restarted. That passes."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The Keystore says no: the peer is not trusted any more, or has not shown who it is. That does not pass."""

    reason: str


Answer = Begun | Answered | Finished | Failed | Denied
Event = Due | Moved | Came | Answer


# -- effects: what to do about it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskBegin:
    """Have the Keystore begin a handshake bound to the session with this hash."""

    within: bytes


@dataclass(frozen=True, slots=True)
class AskAnswer:
    """Have the Keystore answer the peer's first frame."""

    frame: bytes
    within: bytes


@dataclass(frozen=True, slots=True)
class AskFinish:
    """Have the Keystore finish what it has begun."""

    handle: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send this record, alone in its frame.

    :param then_seal_with: the key (32 bytes) of every later frame, or None if that does not change.
    """

    record: Refresh
    then_seal_with: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OpenWith:
    """Every later frame of the peer's is sealed with this key (32 bytes)."""

    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Both directions use new keys; for observers."""


@dataclass(frozen=True, slots=True)
class End:
    """The session is over."""

    reason: str


Ask = AskBegin | AskAnswer | AskFinish
Effect = Ask | Send | OpenWith | Refreshed | End


# -- state ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RefreshState:
    """Everything the machine remembers. Times are monotonic seconds.

    :param hash: of the handshake that the newest keys in use are from, 32 bytes.
    :param since: when the last refresh was complete, or the session began.
    :param due: when the dialler begins; infinity while it waits for something else, and for a listener.
    :param handle: of the handshake the Keystore has begun.
    :param keys: agreed upon, not yet used in both directions.
    :param trouble: why the latest attempt came to nothing, or ``""``.
    """

    phase: Phase
    limits: RefreshLimits
    hash: bytes = field(repr=False)
    since: float
    due: float = math.inf
    handle: int = 0
    keys: SessionKeys | None = field(default=None, repr=False)
    trouble: str = ""

    @classmethod
    def begin(cls, limits: RefreshLimits, session_hash: bytes, *, dialled: bool, now: float) -> RefreshState:
        """A session just agreed upon. :param session_hash: 32 bytes. :param dialled: whether this side dialled."""
        if dialled:
            return cls(Phase.FRESH, limits, session_hash, now, now + limits.age)
        return cls(Phase.READY, limits, session_hash, now)

    @property
    def end(self) -> float:
        """When the session is over unless the keys are refreshed by then."""
        return self.since + self.limits.end

    @property
    def deadline(self) -> float | None:
        """When :class:`Due` is to be delivered; None once all is over."""
        return None if self.phase is Phase.ENDED else min(self.due, self.end)


@dataclass(slots=True)
class _Turn:
    """One call of ``step``: the state being built, and what to do."""

    state: RefreshState
    now: float
    effects: list[Effect] = field(default_factory=list)

    def enter(self, phase: Phase, due: float = math.inf, **changes: Any) -> None:
        self.state = replace(self.state, phase=phase, due=due, **changes)

    def ask(self, phase: Phase, question: Ask) -> None:
        self.enter(phase, keys=None)
        self.effects.append(question)

    def send(self, step: RefreshStep, frame: bytes = b"", then_seal_with: bytes | None = None) -> None:
        self.effects.append(Send(Refresh(step, frame), then_seal_with))

    def again(self, reason: str) -> None:
        self.enter(Phase.FRESH, self.now + self.state.limits.retry, trouble=reason)

    def agreed(self) -> SessionKeys:
        if self.state.keys is None:
            raise InternalFault("a refresh has no keys to switch to")
        return self.state.keys

    def refreshed(self, phase: Phase, due: float = math.inf) -> None:
        self.enter(phase, due, hash=self.agreed().hash, since=self.now, keys=None, trouble="")
        self.effects.append(Refreshed())

    def over(self, reason: str) -> None:
        self.enter(Phase.ENDED, keys=None, trouble=reason)
        self.effects.append(End(reason))


# -- transitions ---------------------------------------------------------------------------------------------------


def _begin(turn: _Turn, _event: Event) -> None:
    turn.ask(Phase.BEGINNING, AskBegin(turn.state.hash))


def _begin_if_much(turn: _Turn, event: Moved) -> None:
    if event.size >= turn.state.limits.size and not turn.state.trouble:
        _begin(turn, event)


def _begun(turn: _Turn, event: Begun) -> None:
    turn.send(RefreshStep.FIRST, event.frame)
    turn.enter(Phase.OFFERED, handle=event.handle)


def _failed(turn: _Turn, event: Failed) -> None:
    turn.again(event.reason)


def _denied(turn: _Turn, event: Denied) -> None:
    turn.over(event.reason)


def _second(turn: _Turn, event: Came) -> None:
    frame = event.record.frame
    if not frame:
        turn.again("the other side could not answer")
        return
    turn.ask(Phase.FINISHING, AskFinish(turn.state.handle, _sized(frame, SECOND_FRAME)))


def _finished(turn: _Turn, event: Finished) -> None:
    turn.send(RefreshStep.SWITCH, then_seal_with=event.keys.send)
    turn.enter(Phase.SWITCHED, keys=event.keys)


def _switch_back(turn: _Turn, event: Came) -> None:
    _sized(event.record.frame, 0)
    turn.effects.append(OpenWith(turn.agreed().receive))
    turn.refreshed(Phase.FRESH, turn.now + turn.state.limits.age)


def _first(turn: _Turn, event: Came) -> None:
    turn.ask(Phase.ANSWERING, AskAnswer(_sized(event.record.frame, FIRST_FRAME), turn.state.hash))


def _answered(turn: _Turn, event: Answered) -> None:
    turn.send(RefreshStep.SECOND, event.frame)
    turn.enter(Phase.ANSWERED, keys=event.keys)


def _can_not(turn: _Turn, event: Failed) -> None:
    turn.send(RefreshStep.SECOND)
    turn.enter(Phase.READY, trouble=event.reason)


def _switch(turn: _Turn, event: Came) -> None:
    _sized(event.record.frame, 0)
    keys = turn.agreed()
    turn.effects.append(OpenWith(keys.receive))
    turn.send(RefreshStep.SWITCH_BACK, then_seal_with=keys.send)
    turn.refreshed(Phase.READY)


def _sized(frame: bytes, size: int) -> bytes:
    if len(frame) != size:
        raise Malformed(f"a step of a refresh has {len(frame)} bytes where {size} are due")
    return frame


Transition = Callable[[_Turn, Any], None]
P, S = Phase, RefreshStep

TABLE: dict[tuple[Phase, type | RefreshStep], Transition] = {
    (P.FRESH, Due): _begin,
    (P.FRESH, Moved): _begin_if_much,
    (P.BEGINNING, Begun): _begun,
    (P.BEGINNING, Failed): _failed,
    (P.OFFERED, S.SECOND): _second,
    (P.FINISHING, Finished): _finished,
    (P.FINISHING, Failed): _failed,
    (P.SWITCHED, S.SWITCH_BACK): _switch_back,
    (P.READY, S.FIRST): _first,
    (P.ANSWERING, Answered): _answered,
    (P.ANSWERING, Failed): _can_not,
    (P.ANSWERED, S.FIRST): _first,  # the dialler's Keystore has forgotten the one before
    (P.ANSWERED, S.SWITCH): _switch,
    **{(phase, Denied): _denied for phase in (P.BEGINNING, P.FINISHING, P.ANSWERING)},
}


def step(state: RefreshState, event: Event, now: float) -> tuple[RefreshState, tuple[Effect, ...]]:
    """What the session does about ``event``.

    :param now: monotonic seconds.
    :raises Malformed: the peer has sent what it may not now; the session is over.
    :raises InternalFault: the Keystore's answer is to another question.
    """
    turn = _Turn(state, now)
    if state.phase is Phase.ENDED:
        return state, ()
    if now >= state.end:
        trouble = f": {state.trouble}" if state.trouble else ""
        turn.over(f"the keys were not refreshed for {state.limits.end:g} s{trouble}")
        return turn.state, tuple(turn.effects)
    if _changes_nothing(state, event, now):
        return state, ()
    occasion = event.record.step if isinstance(event, Came) else type(event)
    transition = TABLE.get((state.phase, occasion))
    if transition is None and isinstance(event, Came):
        raise Malformed(f"a refresh's {event.record.step.name} out of turn")
    if transition is None:
        raise InternalFault(f"a refresh knows no {type(event).__name__} while {state.phase.name}")
    transition(turn, event)
    return turn.state, tuple(turn.effects)


def _changes_nothing(state: RefreshState, event: Event, now: float) -> bool:
    """True if the event is a timer that has come too early, or traffic where that starts nothing."""
    if isinstance(event, Due):
        return now < state.due
    return isinstance(event, Moved) and state.phase is not Phase.FRESH
