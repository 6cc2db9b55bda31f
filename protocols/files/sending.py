"""Sending one file, as a pure machine: offer, stream, verify; and from the top after whatever breaks.

    OFFERING ──have──▶ STREAMING ──ended well──▶ VERIFYING ──all there──▶ DONE
       ▲  ▲                │ broke                   │ not there
       │  └── WAITING ◀────┴─────────────────────────┘
       └────────┘ connected again, or the pause is over

The rule: the transfer's id stays the same, so the receiver knows what it has; an offer may be repeated at any time and
does no harm. A break costs a pause and another offer; a refusal ends it. Every phase but DONE and FAILED has a
deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from springline.protocols.files.wire import AllThere, Have, Offer

PAUSE = 0.2
"""Seconds before the next offer, doubling per break without progress up to ``LONGEST_PAUSE``."""

LONGEST_PAUSE = 10.0
ANSWER_PATIENCE = 200.0
"""Seconds an offer may stay unanswered: longer than its receiver's user may take to approve it and its handler to
answer. A receiver that dies is noticed by the link."""

STALL = 60.0
"""Seconds a stream may stay without progress."""


class Phase(Enum):
    """Where a transfer is."""

    WAITING = "waiting to try again"
    OFFERING = "offering"
    STREAMING = "sending"
    VERIFYING = "asking whether it arrived"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sending:
    """One transfer. Times are monotonic seconds.

    :param moved: bytes known to be on their way. :param breaks: since the last progress.
    :param digest: BLAKE3 of the file, once all of it was read.
    :param reason: why it waits or has failed. :param name: under which the receiver has put it.
    """

    offer: Offer
    phase: Phase = Phase.WAITING
    deadline: float | None = 0.0
    moved: int = 0
    breaks: int = 0
    digest: bytes = b""
    reason: str = ""
    name: str = ""


# events


@dataclass(frozen=True, slots=True)
class Replied:
    """The receiver has answered an offer."""

    reply: Have | AllThere


@dataclass(frozen=True, slots=True)
class Broke:
    """Something on the way failed; trying again may help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The receiver refused, or the file can't be sent; trying again does not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The stream has got on."""

    done: int


@dataclass(frozen=True, slots=True)
class Streamed:
    """The stream ended well: the receiver has all bytes, with that digest."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Connected:
    """The device is connected (again). A process that was killed cannot say that its stream has ended; this does."""


@dataclass(frozen=True, slots=True)
class Due:
    """The clock may have reached the deadline."""


Event = Replied | Broke | Denied | Moved | Streamed | Connected | Due


# effects


@dataclass(frozen=True, slots=True)
class SendOffer:
    """Ask the receiver what it has."""


@dataclass(frozen=True, slots=True)
class SendFrom:
    """Open a stream with the rest of the file."""

    offset: int


Effect = SendOffer | SendFrom


def step(state: Sending, event: Event, now: float) -> tuple[Sending, tuple[Effect, ...]]:
    """What to do about ``event``; one that is not due in this phase changes nothing."""
    if state.phase in (Phase.DONE, Phase.FAILED):
        return state, ()
    match event:
        case Due():
            return _due(state, now)
        case Connected():  # a new session: whatever was under way on the former one is gone
            return _offer(state, now, Phase.VERIFYING if state.phase is Phase.VERIFYING else Phase.OFFERING)
        case Replied(reply=AllThere() as reply) if state.phase in (Phase.OFFERING, Phase.VERIFYING):
            return _all_there(state, reply)
        case Replied(reply=Have(offset=offset)) if state.phase is Phase.VERIFYING:
            return _wait(state, f"the receiver has only {offset} bytes", now)
        case Replied(reply=Have(offset=offset)) if state.phase is Phase.OFFERING:
            return _stream(state, offset, now)
        case Moved(done=done) if state.phase is Phase.STREAMING:
            return replace(state, moved=done, breaks=0, deadline=now + STALL), ()
        case Streamed(digest=digest) if state.phase is Phase.STREAMING:
            asking = replace(state, digest=digest, moved=state.offer.size)
            return _offer(asking, now, Phase.VERIFYING)
        case Broke(reason=reason) if state.phase is not Phase.WAITING:
            return _wait(state, reason, now)
        case Denied(reason=reason):
            return replace(state, phase=Phase.FAILED, reason=reason, deadline=None), ()
        case _:
            return state, ()


def _due(state: Sending, now: float) -> tuple[Sending, tuple[Effect, ...]]:
    if state.deadline is None or now < state.deadline:
        return state, ()
    if state.phase is Phase.WAITING:
        return _offer(state, now)
    return _wait(state, "no progress in time", now)


def _offer(state: Sending, now: float, phase: Phase = Phase.OFFERING) -> tuple[Sending, tuple[Effect, ...]]:
    return replace(state, phase=phase, deadline=now + ANSWER_PATIENCE), (SendOffer(),)


def _stream(state: Sending, offset: int, now: float) -> tuple[Sending, tuple[Effect, ...]]:
    if offset > state.offer.size:
        return replace(state, phase=Phase.FAILED, reason="the receiver has more than there is", deadline=None), ()
    return replace(state, phase=Phase.STREAMING, moved=offset, deadline=now + STALL), (SendFrom(offset),)


def _wait(state: Sending, reason: str, now: float) -> tuple[Sending, tuple[Effect, ...]]:
    pause = min(LONGEST_PAUSE, PAUSE * 2.0 ** min(state.breaks, 16))
    waiting = replace(state, phase=Phase.WAITING, reason=reason, breaks=state.breaks + 1, deadline=now + pause)
    return waiting, ()


def _all_there(state: Sending, reply: AllThere) -> tuple[Sending, tuple[Effect, ...]]:
    if state.digest and state.digest != reply.blake3:
        return replace(state, phase=Phase.FAILED, reason="the receiver has another file", deadline=None), ()
    done = replace(state, phase=Phase.DONE, digest=reply.blake3, name=reply.name, moved=state.offer.size, deadline=None)
    return done, ()
