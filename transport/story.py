"""Why a link is as it is: for each of its transitions the cause, what was seen, what comes next, and when.

The rule: nothing here decides anything. :func:`tell` reads an event of ``transport/link.py`` and the states before and
after it, and says in words what a person wants to know who asks "why is it not connected?". A :class:`Story` keeps the
latest ``MOST_ENTRIES`` of them; failures that repeat each other are one entry with a count, so that a device that is
away for a week leaves room for how it went.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from springline.transport import link
from springline.transport.link import LinkState, Phase

MOST_ENTRIES = 64
"""Entries kept of one link."""


class Cause(Enum):
    """What kind of thing happened; values are what users read."""

    BEGAN = "the keeper of the links has started"
    ASKED = "you want it connected"
    UNWANTED = "you disconnected it"
    TRUST = "it is not trusted any more"
    REACHED = "the device was reached"
    CALLED = "the device called"
    UNREACHED = "no way to the device worked"
    LOST = "the session ended"
    HINT = "something has changed"
    TIME = "it was time"
    PROCESS = "its process ended"


class Next(Enum):
    """What the link does by itself from here; values are what users read."""

    DIALS = "waits for an address to answer"
    SHAKES_HANDS = "waits for the handshake"
    RETRIES = "dials again"
    WATCHES = "probes it when it falls silent"
    RESTARTS = "starts its process"
    WAITS = "waits until you connect it"
    NOTHING = "nothing, until it is paired again"


@dataclass(frozen=True, slots=True)
class Entry:
    """One transition.

    :param at: when it happened, wall-clock seconds; the latest time if it happened ``count`` times.
    :param since: when it happened first.
    :param evidence: what was seen, and from where; nothing if it was only time, or the user.
    :param next_at: when ``next`` happens at the latest, wall-clock seconds, or None if it waits for something else.
    """

    at: float
    since: float
    before: str
    after: str
    cause: Cause
    evidence: str
    next: Next
    next_at: float | None = None
    count: int = 1

    def repeats(self, other: Entry) -> bool:
        """True if both tell the same, at different times."""
        mine = (self.before, self.after, self.cause, self.evidence)
        return mine == (other.before, other.after, other.cause, other.evidence)


_CAUSES: dict[type, Cause] = {
    link.Wanted: Cause.ASKED,
    link.Unwanted: Cause.UNWANTED,
    link.Revoked: Cause.TRUST,
    link.SocketUp: Cause.REACHED,
    link.DialFailed: Cause.UNREACHED,
    link.SessionLost: Cause.LOST,
    link.Hint: Cause.HINT,
    link.Tuned: Cause.ASKED,
    link.DeadlineDue: Cause.TIME,
}
_NEXT: dict[Phase, Next] = {
    Phase.DISCONNECTED: Next.WAITS,
    Phase.CONNECTING: Next.DIALS,
    Phase.AUTHENTICATING: Next.SHAKES_HANDS,
    Phase.CONNECTED: Next.WATCHES,
    Phase.RECONNECTING: Next.RETRIES,
    Phase.FAILED: Next.NOTHING,
}


def tell(event: link.Event, before: LinkState, after: LinkState, now: float, wall: float) -> Entry:
    """What a step of the link means to its user.

    :param now: the link's monotonic seconds. :param wall: wall-clock seconds at the same moment.
    """
    due = None if after.deadline is None or after.phase is Phase.CONNECTED else wall + (after.deadline - now)
    cause = _cause(event, before)
    evidence = "" if cause in (Cause.TIME, Cause.ASKED, Cause.UNWANTED) else after.reason
    return Entry(wall, wall, before.phase.value, after.phase.value, cause, evidence, _NEXT[after.phase], due)


def begun(wall: float, *, again: bool) -> Entry:
    """The first line of a story: whoever keeps it has started.

    :param wall: wall-clock seconds. :param again: it was killed before; what it knew is gone.
    """
    rest = Phase.DISCONNECTED.value
    evidence = "again: what was before is in 'springline history'" if again else ""
    return Entry(wall, wall, rest, rest, Cause.BEGAN, evidence, Next.RESTARTS)


def process_ended(before: str, detail: str, wall: float) -> Entry:
    """The process that held the link has ended; it is forked again, and then dials at once.

    :param before: the public state it was in. :param wall: wall-clock seconds.
    """
    after = Phase.RECONNECTING.value
    return Entry(wall, wall, before, after, Cause.PROCESS, detail, Next.RESTARTS)


def _cause(event: link.Event, before: LinkState) -> Cause:
    if isinstance(event, link.Established):
        return Cause.CALLED if event.attempt is None else Cause.REACHED
    if isinstance(event, link.DeadlineDue) and before.dialling:
        return Cause.UNREACHED
    return _CAUSES[type(event)]


@dataclass(frozen=True, slots=True)
class Story:
    """The latest transitions of one link, oldest first."""

    entries: tuple[Entry, ...] = ()

    def add(self, entry: Entry) -> Story:
        """With one more; what happens in cycles — dial, fail, wait — is counted instead of repeated."""
        entries = self.entries
        for back in range(1, min(4, len(entries)) + 1):  # a cycle has up to four steps
            if entries[-back].repeats(entry):
                known = entries[-back]
                counted = replace(entry, since=known.since, count=known.count + 1)
                return Story((*entries[:-back], *entries[len(entries) - back + 1 :], counted))
        return Story((*entries, entry)[-MOST_ENTRIES:])
