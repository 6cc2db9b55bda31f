"""Walks through everything the link machine can do, and notes each move: what a drawing or a table of it shows.

The rule: the moves are not written down here, they are what ``transport/link.py`` does. The walk begins with a new link
and gives it, in each state that can be reached, every event that can happen there. Two states are taken for the same
where the machine does not tell them apart: of numbers, times and epochs only which is greater matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from springline.transport import link
from springline.transport.link import LinkState, Phase, Retry, SessionRef

KNOWN = SessionRef(1, epoch=5, by_lower_id=False)
NEWER = SessionRef(2, epoch=9, by_lower_id=False)
OLDER = SessionRef(2, epoch=1, by_lower_id=False)

HASTY = Retry(cap=1.0)

MOST_FAILURES = 16
"""More than it takes for the pause to reach its cap."""


@dataclass(frozen=True, slots=True)
class Move:
    """One thing the machine does.

    :param note: which of several events of the kind, where that makes a difference; or ``""``.
    :param does: in words and in order. :param perhaps: those of them that are not always to be done.
    """

    before: Phase
    event: type
    note: str
    after: Phase
    does: tuple[str, ...]
    perhaps: frozenset[str]


Found = dict[tuple[Phase, type], dict[str, set[tuple[Phase, tuple[str, ...]]]]]


@dataclass(frozen=True, slots=True)
class Survey:
    """All of it. :param longest: seconds until the deadline of each phase, at most; a phase at rest has none."""

    moves: tuple[Move, ...]
    longest: dict[Phase, float]


def survey() -> Survey:
    """Walk. :raises InternalFault: something that can happen is not in the table."""
    first = LinkState()
    seen, waiting = {first}, [first]
    found: Found = {}
    longest: dict[Phase, float] = {}
    while waiting:
        state = waiting.pop()
        for event, note, now in _events(state):
            after, effects = link.step(state, event, now, random=1.0)
            does = tuple(_word(effect) for effect in effects if not isinstance(effect, link.Changed))
            if not does and after.phase is state.phase and (after.deadline or 0.0) < (state.deadline or 0.0):
                does = ("wait no longer than that",)
            found.setdefault((state.phase, type(event)), {}).setdefault(note, set()).add((after.phase, does))
            if after.deadline is not None:
                longest[after.phase] = max(longest.get(after.phase, 0.0), after.deadline - now)
            plain = _plain(after, now)
            if plain not in seen:
                seen.add(plain)
                waiting.append(plain)
    return Survey(tuple(_moves(found)), longest)


def _moves(found: Found) -> Iterator[Move]:
    """In the order of the table; notes that make no difference are dropped."""
    for phase, event in sorted(found, key=lambda key: (list(Phase).index(key[0]), list(link.TABLE).index(key))):
        by_note = found[phase, event]
        results = list(by_note.values())
        plain = all(result == results[0] for result in results)
        for note, result in list(by_note.items())[: 1 if plain else None]:
            for after in sorted({after for after, _ in result}, key=list(Phase).index):
                ways = [does for there, does in result if there is after]
                longest = max(ways, key=len)
                perhaps = frozenset(word for word in longest if not all(word in does for does in ways))
                yield Move(phase, event, "" if plain else note, after, longest, perhaps)


def _word(effect: link.Effect) -> str:
    match effect:
        case link.Dial():
            return "dial"
        case link.CancelDial():
            return "call off the dial"
        case link.Adopt():
            return "use it"
        case link.Close(linger=True, session_id=KNOWN.id):
            return "close the former a second later"
        case link.Close(linger=True):
            return "close it a second later"
        case link.Close():
            return "close the session"
        case link.Probe():
            return "probe it"
        case link.Look():
            return "see that it is watched"
        case _:
            return type(effect).__name__


def _events(state: LinkState) -> Iterator[tuple[link.Event, str, float]]:
    """What can happen in a state, which of its kind it is, and when. What is stale changes nothing and is left out."""
    attempts = (None, state.attempt) if state.dialling else (None,)
    sessions = ((NEWER, "newer"), (OLDER, "older")) if state.session is not None else ((KNOWN, "the first"),)
    events: list[tuple[link.Event, str, float]] = [
        (link.Wanted(), "", 0.0),
        (link.Unwanted(), "", 0.0),
        (link.Revoked(), "", 0.0),
        (link.SocketUp(state.attempt), "", 0.0),
        (link.DialFailed(state.attempt, "no way"), "", 0.0),
        (link.Hint("found"), "the device was found", 0.0),
        (link.Hint("changed", afresh=True), "the network changed", 0.0),
        (link.Tuned(HASTY), "", 0.0),
        (link.DeadlineDue(), "", state.deadline or 0.0),
        *((link.Established(session, attempt), note, 0.0) for session, note in sessions for attempt in attempts),
    ]
    if state.session is not None:
        for now in (0.0, link.SETTLED):
            flies = state.dialling and now < state.dial_until  # one that is overdue brings nothing any more
            note = "a dial is in flight" if flies else "no dial is in flight"
            events.append((link.SessionLost(state.session.id, "lost"), note, now))
    return ((event, note, now) for event, note, now in events if not link.is_stale(state, event, now))


def _plain(state: LinkState, now: float) -> LinkState:
    """The state with nothing left in it that the machine does not look at."""
    return replace(
        state,
        since=0.0,
        reason="",
        retry=Retry(),
        attempt=1,
        session=None if state.session is None else KNOWN,
        failures=min(state.failures, MOST_FAILURES),
        deadline=None if state.deadline is None else state.deadline - now,
        dial_until=max(0.0, state.dial_until - now) if state.dialling else 0.0,
    )
