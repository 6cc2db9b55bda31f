"""How much one device may write into the audit trail by what it does, before it is summed up. Pure.

The rule: the first :data:`FREE` entries of a kind about a device are written as they are; what follows within the hour
is counted, and told in one entry when the hour is over. So everything counts, and a device that connects or sends a
thousand times a minute can't push out of the trail what others have done.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

FREE = 60
"""Entries of a kind about a device in one window."""

WINDOW = 3600.0
"""Seconds."""

Key = tuple[str, UUID | None]


@dataclass(frozen=True, slots=True)
class Sum:
    """``more`` entries of that kind about that device were not written; the last of them said ``last``."""

    kind: str
    device: UUID | None
    more: int
    last: str


@dataclass(slots=True)
class _Count:
    until: float
    written: int = 0
    more: int = 0
    last: str = ""


class Quota:
    """Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._counts: dict[Key, _Count] = {}

    def take(self, kind: str, device: UUID | None, detail: str, now: float) -> bool:
        """One more; whether it is to be written. Call :meth:`due` before."""
        count = self._counts.setdefault((kind, device), _Count(now + WINDOW))
        if count.written < FREE:
            count.written += 1
            return True
        count.more += 1
        count.last = detail
        return False

    def due(self, now: float) -> tuple[Sum, ...]:
        """What has been summed up for long enough; these begin anew. Windows end in the order they began."""
        sums = []
        for key, count in list(self._counts.items()):
            if count.until > now:
                break
            del self._counts[key]
            if count.more:
                sums.append(Sum(*key, count.more, count.last))
        return tuple(sums)
