"""How many pairings may fail before the door stays shut for a while. Pure; the time is an argument.

Each invitation has its own few attempts; this is the node's limit, over all of them and over the ones it joins. Who
fails here knew the words, or tries words that nobody answers to: neither happens ten times in five minutes to somebody
who only mistypes.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST = 10
"""Failed pairings within :data:`WINDOW`; with the last of them the door is shut."""

WINDOW = 300.0
"""Seconds a failure counts."""


@dataclass(frozen=True, slots=True)
class Failures:
    """:param times: when the latest have happened, in seconds, oldest first; at most :data:`MOST`."""

    times: tuple[float, ...] = ()

    def add(self, now: float) -> Failures:
        """One more."""
        return Failures((*self.times, now)[-MOST:])

    def shut_for(self, now: float) -> float:
        """Seconds until a pairing may be tried again; 0 if it may be now."""
        if len(self.times) < MOST:
            return 0.0
        return max(0.0, self.times[0] + WINDOW - now)
