"""Is the other side still there? When to probe a session, and when to give it up.

The rule: only bytes that were heard are evidence. Silence is normal while nobody speaks, so after ``keepalive`` seconds
of it a probe is sent; silence after *we* have spoken is suspicious, so then the probe goes out after ``SUSPICION``
seconds. A probe that brings nothing back within ``PATIENCE`` ends the session. Anything heard counts as the answer,
which spares probes while data flows.

So a dead path is noticed after ``SUSPICION + PATIENCE`` (8 s) when active, ``keepalive + PATIENCE`` (30 s) when idle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

SUSPICION = 3.0
"""Seconds of silence after something that wants an answer was sent, before a probe."""

PATIENCE = 5.0
"""Seconds a probe has to bring something back."""


class Verdict(Enum):
    """What to do now."""

    FINE = "nothing"
    PROBE = "send a ping"
    DEAD = "give the session up"


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is known about one session. Times are monotonic seconds.

    :param keepalive: seconds of silence before a probe when idle.
    :param heard_at: when the last bytes came in.
    :param spoke_at: when something that wants an answer was sent first since then, or None.
    :param probed_at: when a probe was sent that nothing has answered yet, or None.
    """

    keepalive: float
    heard_at: float
    spoke_at: float | None = None
    probed_at: float | None = None

    def heard(self, now: float) -> Liveness:
        """Bytes came in: all is well."""
        return Liveness(self.keepalive, now)

    def spoke(self, now: float) -> Liveness:
        """Something that wants an answer was sent."""
        return self if self.spoke_at is not None else replace(self, spoke_at=now)

    def suspect(self, now: float) -> Liveness:
        """Something happened that makes a probe due at once: a network change, a wake from sleep, a hint."""
        return self if self.probed_at is not None else replace(self, spoke_at=now - SUSPICION)

    @property
    def deadline(self) -> float:
        """When to ask :meth:`check` next."""
        if self.probed_at is not None:
            return self.probed_at + PATIENCE
        idle = self.heard_at + self.keepalive
        return idle if self.spoke_at is None else min(idle, self.spoke_at + SUSPICION)

    def check(self, now: float) -> tuple[Liveness, Verdict]:
        """What is due at ``now``."""
        if now < self.deadline:
            return self, Verdict.FINE
        if self.probed_at is not None:
            return self, Verdict.DEAD
        return replace(self, probed_at=now), Verdict.PROBE
