"""Is the other side still there? When to probe a session, and when to give it up.

The rule: bytes that were heard are the evidence. Silence is normal while nobody speaks, so after ``keepalive`` seconds
of it a probe is sent; silence after *we* have spoken is suspicious, so then the probe goes out as soon as an answer is
overdue by the round trips measured so far. Anything heard counts as the answer, which spares probes while data flows.

A probe has ``PATIENCE`` seconds, time enough for TCP to repair three losses in a row. When something has happened to
the network there is reason for doubt, so a few measured round trips must do: a session given up wrongly costs one
handshake, one kept wrongly costs the user's patience.

One thing besides counts for the path: a probe that waits behind our own data on a slow line is no matter of silence as
long as the other side's machine acknowledges more and more of that. Once the probe has got through, the answer may take
a moment, and no longer.

So a dead path is noticed after at most ``SUSPICION + PATIENCE`` (8 s) when active, ``keepalive + PATIENCE`` (less than
30 s, see ``pulse.EARLY``) when idle, and about one second after the machine wakes or its network changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

SUSPICION = 3.0
"""Seconds of silence at most, after something that wants an answer was sent, before a probe."""

PATIENCE = 5.0
"""Seconds a probe has at most to bring something back."""

LEAST = 1.0
"""Seconds that silence has at least before it means anything: a busy machine may be slower than its network."""


class Verdict(Enum):
    """What to do now."""

    FINE = "nothing"
    PROBE = "send a ping"
    DEAD = "give the session up"


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """How long an answer takes, smoothed (RFC 6298 §2). All in seconds."""

    mean: float
    spread: float

    @property
    def overdue(self) -> float:
        """After so many seconds an answer is late: twice RFC 6298's retransmission time-out."""
        return 2 * (self.mean + 4 * self.spread)


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is known about one session. Times are monotonic seconds.

    :param keepalive: seconds of silence before a probe when idle.
    :param heard_at: when the last bytes came in.
    :param spoke_at: when something that wants an answer was sent first since then, or None.
    :param doubted: something has happened to the network since then.
    :param ends_at: when the session is given up, if nothing is heard: a probe is under way; or None.
    :param round_trip: what was measured, or None.
    """

    keepalive: float
    heard_at: float
    spoke_at: float | None = None
    doubted: bool = False
    ends_at: float | None = None
    round_trip: RoundTrip | None = None

    def heard(self, now: float) -> Liveness:
        """Bytes came in: all is well."""
        return Liveness(self.keepalive, now, round_trip=self.round_trip)

    def spoke(self, now: float) -> Liveness:
        """Something that wants an answer was sent."""
        return self if self.spoke_at is not None else replace(self, spoke_at=now)

    def measured(self, seconds: float) -> Liveness:
        """A probe was answered after that time."""
        known = self.round_trip
        if known is None:
            return replace(self, round_trip=RoundTrip(seconds, seconds / 2))
        spread = 0.75 * known.spread + 0.25 * abs(known.mean - seconds)
        return replace(self, round_trip=RoundTrip(0.875 * known.mean + 0.125 * seconds, spread))

    def suspect(self, now: float) -> Liveness:
        """Something happened that casts doubt on the session: the network changed, the machine woke, a hint.

        A probe is due at once; one that is under way has no more than a doubted one's time left.
        """
        if self.ends_at is None:
            return replace(self, doubted=True)
        return replace(self, doubted=True, ends_at=min(self.ends_at, now + self._brief(PATIENCE)))

    def stuck(self, now: float, *, delivered: bool) -> Liveness:
        """The probe was waiting behind our own data, which moves. :param delivered: now it has got through."""
        return replace(self, ends_at=now + (self._brief(PATIENCE) if delivered else PATIENCE))

    def _brief(self, most: float) -> float:
        """Seconds that an answer may take, going by what was measured."""
        return most if self.round_trip is None else min(most, max(LEAST, self.round_trip.overdue))

    @property
    def deadline(self) -> float:
        """When to ask :meth:`check` next."""
        if self.ends_at is not None:
            return self.ends_at
        if self.doubted:
            return self.heard_at
        idle = self.heard_at + self.keepalive
        return idle if self.spoke_at is None else min(idle, self.spoke_at + self._brief(SUSPICION))

    def check(self, now: float) -> tuple[Liveness, Verdict]:
        """What is due at ``now``."""
        if now < self.deadline:
            return self, Verdict.FINE
        if self.ends_at is not None:
            return self, Verdict.DEAD
        patience = self._brief(PATIENCE) if self.doubted else PATIENCE
        return replace(self, ends_at=now + patience), Verdict.PROBE
