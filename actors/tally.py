"""Callers that are not let in, for the audit trail: each kind of refusal at once, then summed up.

The rule: the first refusal for a reason is one line, at once; those of the same reason in the minute after it are one
more line. So every refusal counts in the trail, and a stranger who calls a thousand times a second can't fill a disk.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 60.0
"""Seconds over which repeated refusals are summed up."""

MOST = 32
"""Reasons told apart at a time; whatever is beyond is summed up as one."""

_OTHER = "for other reasons"


@dataclass(slots=True)
class _Count:
    until: float
    more: int = 0
    host: str = ""


class Tally:
    """Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def add(self, reason: str, host: str, now: float) -> str | None:
        """One more. → the line to write now, if one is due."""
        if reason not in self._counts and len(self._counts) >= MOST:
            reason = _OTHER
        count = self._counts.get(reason)
        if count is None:
            self._counts[reason] = _Count(now + WINDOW)
            return f"a caller from {host}: {reason}"
        count.more += 1
        count.host = host
        return None

    def due(self, now: float) -> tuple[str, ...]:
        """The lines for what has been summed up long enough; these reasons begin anew."""
        over = [reason for reason, count in self._counts.items() if count.until <= now]
        counts = [(reason, self._counts.pop(reason)) for reason in over]
        return tuple(f"{c.more} more callers, the last from {c.host}: {reason}" for reason, c in counts if c.more)
