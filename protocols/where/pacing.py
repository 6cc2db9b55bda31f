"""How often what a device tells is looked at. Pure; the time is an argument.

The rule: a device that moves is believed at once, and so is one that moves again a few seconds later; whoever keeps on
telling is looked at less and less.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 1.0, 5.0
"""Seconds from one look to the next, at least: doubled with each, up to the second figure."""

CALM = 60.0
"""Seconds without a look after which it is as in the beginning."""


@dataclass(frozen=True, slots=True)
class Pace:
    """:param looked_at: when, in monotonic seconds, or None. :param pause: seconds that follow."""

    looked_at: float | None = None
    pause: float = 0.0

    def look(self, now: float) -> Pace:
        """One more look."""
        calm = self.looked_at is None or now - self.looked_at > CALM
        return Pace(now, FIRST if calm else min(LONGEST, max(FIRST, self.pause * 2)))
