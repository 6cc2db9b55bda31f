"""The life of the link to one paired device: one table of legal transitions and a pure ``step``.

The rule: ``step(state, event, now, random) → (state, effects)`` is all there is, free of sockets, clock and randomness.
A pair (phase, event) that is missing from ``TABLE`` is an error in our code, never in the peer's. Every phase but the
two at rest (DISCONNECTED, FAILED) has a deadline, so a lost answer can delay the link but never park it; CONNECTED's is
the watch over what watches the session.

    ======================  ==============================================================================
    phase                   meaning
    ======================  ==============================================================================
    DISCONNECTED            not wanted: the user said so, or nobody has asked yet
    CONNECTING              a dial is in flight; no socket yet
    AUTHENTICATING          a dial is in flight; a socket is up, the handshake is running
    CONNECTED               an authenticated session carries frames
    RECONNECTING            wanted, no session, waiting for the next attempt
    FAILED                  over for good: revoked. Never left.
    ======================  ==============================================================================

Four rules keep two devices out of the known traps:

* *One dial in flight.* An attempt has a number; results of older attempts are stale and change nothing.
* *A newer authenticated session replaces the older one at once*; "already connected" never refuses anybody
  (Syncthing 5224, 9337). Which of two is newer is decided by the session's epoch, a Lamport counter that the responder
  assigns above everything it has seen; both sides know both epochs, so both keep the same session. Equal epochs mean
  that both dialled at the same moment: then the one dialled by the lower device id stays.
* *Who loses against another session lingers*, so that what either side has sent on it in the meantime is answered.
* *A session proves itself*: one that ends within ``SETTLED`` seconds counts as a failure, so a peer that accepts and
  hangs up is met with backoff rather than with a storm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from springline.errors import InternalFault

DIAL_DEADLINE = 15.0
"""Seconds a dial may take in all, the handshake included; the transport's own limits are shorter."""

WATCH = 60.0
"""Seconds between two looks at whether a session is still being probed: ``transport/liveness.py`` is to be quicker."""

SETTLED = 1.0
"""Seconds after which a session counts as a success and resets the backoff."""


class Phase(Enum):
    """The public states of a link; their values are what users see."""

    DISCONNECTED = "Disconnected"
    CONNECTING = "Connecting"
    AUTHENTICATING = "Authenticating"
    CONNECTED = "Connected"
    RECONNECTING = "Reconnecting"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to wait before attempt n after n-1 failures: ``first * factor**(n-1)``, at most ``cap``, full jitter.

    Full jitter (a uniform draw from zero to the bound) spreads devices that lost the same network.
    """

    first: float = 0.1
    factor: float = 2.0
    cap: float = 30.0

    def delay(self, failures: int, random: float) -> float:
        """Seconds to wait.

        :param failures: consecutive failures so far, at least 1.
        :param random: a uniform draw from [0, 1).
        """
        exponent = min(failures - 1, 64)
        return min(self.cap, self.first * self.factor**exponent) * random


@dataclass(frozen=True, slots=True)
class SessionRef:
    """One authenticated session, as the machine sees it.

    :param id: local number, unique in this process.
    :param epoch: the Lamport epoch the responder assigned.
    :param by_lower_id: True if the device with the lower id dialled.
    """

    id: int
    epoch: int
    by_lower_id: bool

    def newer_than(self, other: SessionRef) -> bool:
        """True if both sides are to keep this one of the two."""
        return (self.epoch, self.by_lower_id) > (other.epoch, other.by_lower_id)


# -- events: what happened -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """The link shall be up: at start if auto-connect is on, or when the user asks."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The user does not want the link any more."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The device is not to be trusted any more: revoked, or its trust has expired."""

    reason: str = "revoked"


@dataclass(frozen=True, slots=True)
class SocketUp:
    """The dial of that attempt has a socket; the handshake begins. :param where: for people, or ``""``."""

    attempt: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class DialFailed:
    """The dial of that attempt came to nothing."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Established:
    """A session is authenticated: dialled by us (``attempt``) or by the peer (``attempt`` is None).

    :param where: its other end, for people, or ``""``.
    """

    session: SessionRef
    attempt: int | None
    where: str = ""

    @property
    def how(self) -> str:
        """How it came about, one line."""
        if self.attempt is None:
            return f"it called from {self.where}" if self.where else "it called"
        return f"connected to {self.where}" if self.where else "connected"


@dataclass(frozen=True, slots=True)
class SessionLost:
    """That session's socket closed, broke, or was found dead."""

    session_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Something suggests that a dial would succeed now; forget the backoff.

    :param afresh: what is under way may hang in a network that is gone: begin anew.
    """

    reason: str
    afresh: bool = False


@dataclass(frozen=True, slots=True)
class Tuned:
    """The user has chosen another retry policy."""

    retry: Retry


@dataclass(frozen=True, slots=True)
class DeadlineDue:
    """The clock reached ``state.deadline``."""


Event = Wanted | Unwanted | Revoked | SocketUp | DialFailed | Established | SessionLost | Hint | Tuned | DeadlineDue


# -- effects: what to do about it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Ask the transport to dial; report with this attempt number."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CancelDial:
    """The result of this attempt is not wanted any more."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """From now on this session carries the link's frames."""

    session_id: int


@dataclass(frozen=True, slots=True)
class Close:
    """Say goodbye on this session and close it.

    :param linger: it lost against another one and may be alive: let what is under way on it be finished first.
    """

    session_id: int
    reason: str
    linger: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """There is reason to doubt this session: find out at once whether it lives."""

    session_id: int


@dataclass(frozen=True, slots=True)
class Look:
    """Is this session still watched? If not, :class:`SessionLost` is owed."""

    session_id: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The phase changed, or the session under it; for observers."""

    before: Phase
    after: Phase
    reason: str


Effect = Dial | CancelDial | Adopt | Close | Probe | Look | Changed


# -- state ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkState:
    """Everything the machine remembers.

    :param since: when the phase was entered (monotonic seconds, as all times here).
    :param reason: why it was entered, one line.
    :param attempt: number of the latest dial; it is in flight if ``dialling``, and given up at ``dial_until``.
    :param failures: consecutive failures, for the backoff.
    :param deadline: when :class:`DeadlineDue` is to be delivered, or None.
    """

    phase: Phase = Phase.DISCONNECTED
    since: float = 0.0
    reason: str = "not asked to connect yet"
    retry: Retry = Retry()
    session: SessionRef | None = None
    attempt: int = 0
    dialling: bool = False
    dial_until: float = 0.0
    failures: int = 0
    deadline: float | None = None


@dataclass(slots=True)
class _Turn:
    """One call of ``step``: the state being built, and what to do."""

    state: LinkState
    now: float
    random: float
    effects: list[Effect]

    def enter(self, phase: Phase, reason: str, deadline: float | None) -> None:
        before = self.state.phase
        self.state = replace(self.state, phase=phase, since=self.now, reason=reason, deadline=deadline)
        self.effects.append(Changed(before, phase, reason))

    def dial(self, reason: str) -> None:
        attempt = self.state.attempt + 1
        until = self.now + DIAL_DEADLINE
        self.state = replace(self.state, attempt=attempt, dialling=True, dial_until=until)
        self.effects.append(Dial(attempt))
        self.enter(Phase.CONNECTING, reason, until)

    def back_off(self, reason: str) -> None:
        failures = self.state.failures + 1
        self.state = replace(self.state, failures=failures, dialling=False)
        self.enter(Phase.RECONNECTING, reason, self.now + self.state.retry.delay(failures, self.random))

    def landed(self, attempt: int | None) -> None:
        if attempt == self.state.attempt:
            self.state = replace(self.state, dialling=False)

    def drop_dial(self) -> None:
        if self.state.dialling:
            self.effects.append(CancelDial(self.state.attempt))
            self.state = replace(self.state, dialling=False)

    def drop_overdue_dial(self) -> None:
        """One that was still in flight when a session came: whoever owes its result may be gone."""
        if self.now >= self.state.dial_until:
            self.drop_dial()

    def drop_session(self, reason: str, *, linger: bool = False) -> None:
        if self.state.session is not None:
            self.effects.append(Close(self.state.session.id, reason, linger))
            self.state = replace(self.state, session=None)

    def adopt(self, session: SessionRef, reason: str) -> None:
        self.state = replace(self.state, session=session)
        self.effects.append(Adopt(session.id))
        self.enter(Phase.CONNECTED, reason, self.now + WATCH)


# -- transitions ---------------------------------------------------------------------------------------------------


def _connect(turn: _Turn, _event: Event) -> None:
    turn.state = replace(turn.state, failures=0)
    turn.dial("asked to connect")


def _hurry(turn: _Turn, event: Wanted | Hint) -> None:
    turn.state = replace(turn.state, failures=0)
    turn.dial(event.reason if isinstance(event, Hint) else "asked to connect")


def _hint_while_dialling(turn: _Turn, event: Hint) -> None:
    if event.afresh:
        turn.drop_dial()
        _hurry(turn, event)


def _doubt(turn: _Turn, _event: Event) -> None:
    if turn.state.session is not None:
        turn.effects.append(Probe(turn.state.session.id))


def _look(turn: _Turn, _event: Event) -> None:
    turn.drop_overdue_dial()
    turn.state = replace(turn.state, deadline=turn.now + WATCH)
    if turn.state.session is not None:
        turn.effects.append(Look(turn.state.session.id))


def _disconnect(turn: _Turn, _event: Event) -> None:
    turn.drop_dial()
    turn.drop_session("disconnected by the user")
    turn.enter(Phase.DISCONNECTED, "disconnected by the user", None)


def _revoke(turn: _Turn, event: Revoked) -> None:
    turn.drop_dial()
    turn.drop_session(event.reason)
    turn.enter(Phase.FAILED, event.reason, None)


def _socket_up(turn: _Turn, event: SocketUp) -> None:
    where = f" to {event.where}" if event.where else ""
    turn.enter(Phase.AUTHENTICATING, f"the socket{where} is up, the handshake runs", turn.state.deadline)


def _dial_failed(turn: _Turn, event: DialFailed) -> None:
    turn.back_off(event.reason)


def _dial_overdue(turn: _Turn, _event: Event) -> None:
    turn.drop_dial()
    turn.back_off(f"no answer from the transport in {DIAL_DEADLINE:g} s")


def _try_again(turn: _Turn, _event: Event) -> None:
    turn.dial(f"attempt {turn.state.failures + 1}, after {turn.state.reason}")


def _established(turn: _Turn, event: Established) -> None:
    turn.landed(event.attempt)
    turn.adopt(event.session, event.how)


def _established_again(turn: _Turn, event: Established) -> None:
    turn.landed(event.attempt)
    current = turn.state.session
    if current is not None and not event.session.newer_than(current):
        turn.effects.append(Close(event.session.id, "a newer session exists", linger=True))
        return
    turn.drop_session("replaced by a newer session", linger=True)
    turn.adopt(event.session, f"{event.how}, by a newer session")


def _not_wanted(turn: _Turn, event: Established) -> None:
    turn.effects.append(Close(event.session.id, "not wanted"))


def _late_failure(turn: _Turn, _event: Event) -> None:
    turn.state = replace(turn.state, dialling=False)


def _lost(turn: _Turn, event: SessionLost) -> None:
    settled = turn.now - turn.state.since >= SETTLED
    turn.state = replace(turn.state, session=None, failures=0 if settled else turn.state.failures)
    turn.drop_overdue_dial()
    if turn.state.dialling:  # a dial that lost the race for this session may still bring the next one
        turn.enter(Phase.CONNECTING, event.reason, turn.state.dial_until)
    else:
        turn.back_off(event.reason)


def _tuned(turn: _Turn, event: Tuned) -> None:
    turn.state = replace(turn.state, retry=event.retry)


def _tuned_while_waiting(turn: _Turn, event: Tuned) -> None:
    _tuned(turn, event)
    deadline = turn.state.deadline
    if deadline is not None and deadline > turn.now + event.retry.cap:
        turn.enter(Phase.RECONNECTING, turn.state.reason, turn.now + event.retry.cap * turn.random)


def _ignore(_turn: _Turn, _event: Event) -> None:
    pass


Transition = Callable[[_Turn, Any], None]
P = Phase

TABLE: dict[tuple[Phase, type], Transition] = {
    (P.DISCONNECTED, Wanted): _connect,
    (P.DISCONNECTED, Unwanted): _ignore,
    (P.DISCONNECTED, Hint): _ignore,
    (P.DISCONNECTED, Established): _not_wanted,
    (P.CONNECTING, Wanted): _ignore,
    (P.CONNECTING, Hint): _hint_while_dialling,
    (P.CONNECTING, SocketUp): _socket_up,
    (P.CONNECTING, DialFailed): _dial_failed,
    (P.CONNECTING, DeadlineDue): _dial_overdue,
    (P.CONNECTING, Established): _established,
    (P.AUTHENTICATING, Wanted): _ignore,
    (P.AUTHENTICATING, Hint): _hint_while_dialling,
    (P.AUTHENTICATING, SocketUp): _ignore,
    (P.AUTHENTICATING, DialFailed): _dial_failed,
    (P.AUTHENTICATING, DeadlineDue): _dial_overdue,
    (P.AUTHENTICATING, Established): _established,
    (P.CONNECTED, Wanted): _ignore,
    (P.CONNECTED, Hint): _doubt,
    (P.CONNECTED, DeadlineDue): _look,
    (P.CONNECTED, SocketUp): _ignore,
    (P.CONNECTED, DialFailed): _late_failure,
    (P.CONNECTED, Established): _established_again,
    (P.CONNECTED, SessionLost): _lost,
    (P.RECONNECTING, Wanted): _hurry,
    (P.RECONNECTING, Hint): _hurry,
    (P.RECONNECTING, DeadlineDue): _try_again,
    (P.RECONNECTING, Established): _established,
    (P.FAILED, Wanted): _ignore,
    (P.FAILED, Unwanted): _ignore,
    (P.FAILED, Revoked): _ignore,
    (P.FAILED, Hint): _ignore,
    (P.FAILED, Established): _not_wanted,
    **{(phase, Unwanted): _disconnect for phase in (P.CONNECTING, P.AUTHENTICATING, P.CONNECTED, P.RECONNECTING)},
    **{(phase, Revoked): _revoke for phase in Phase if phase is not P.FAILED},
    **{(phase, Tuned): _tuned for phase in Phase if phase is not P.RECONNECTING},
    (P.RECONNECTING, Tuned): _tuned_while_waiting,
}


def is_stale(state: LinkState, event: Event, now: float) -> bool:
    """True if the event is about a dial, session or deadline that the machine has already left behind."""
    match event:
        case SocketUp(attempt=attempt) | DialFailed(attempt=attempt):
            return not (state.dialling and attempt == state.attempt)
        case SessionLost(session_id=session_id):
            return state.session is None or state.session.id != session_id
        case DeadlineDue():
            return state.deadline is None or now < state.deadline
        case _:
            return False


def step(state: LinkState, event: Event, now: float, random: float = 1.0) -> tuple[LinkState, tuple[Effect, ...]]:
    """What the link does about ``event``.

    :param now: monotonic seconds.
    :param random: a uniform draw from [0, 1) for the jitter of the next delay.
    :raises InternalFault: the table does not know this event in this phase.
    """
    if is_stale(state, event, now):
        return state, ()
    transition = TABLE.get((state.phase, type(event)))
    if transition is None:
        raise InternalFault(f"the link knows no {type(event).__name__} while {state.phase.value}")
    turn = _Turn(state, now, random, [])
    transition(turn, event)
    return turn.state, tuple(turn.effects)
