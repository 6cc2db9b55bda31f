"""Which session of two devices is the newer one: a Lamport counter for each pair of them.

The rule: the dialler says the highest number it knows, the responder assigns one above everything either has seen, and
the dialler takes it over. So a session begun after another is known to one of the two sides has a higher number than
that. A life of the Keystore begins above what a former one has assigned, because its numbers begin at the wall clock's
milliseconds: unless the clock was set back and the other side has forgotten, too. Then the older session is found dead
by its probe instead of being replaced at once.
"""

from __future__ import annotations

from uuid import UUID


class Epochs:
    """What one device has seen. :param began_at: wall-clock seconds at which this life began."""

    def __init__(self, began_at: float) -> None:
        self._floor = int(began_at * 1000)
        self._seen: dict[UUID, int] = {}

    def known(self, device: UUID) -> int:
        """The highest number seen with that device: what a dialler says."""
        return self._seen.get(device, self._floor)

    def assign(self, device: UUID, theirs: int) -> int:
        """The number of a session that ``device`` begins. :param theirs: what it says is known there."""
        self._seen[device] = max(theirs, self.known(device)) + 1
        return self._seen[device]

    def assigned(self, device: UUID, theirs: int) -> None:
        """The number that ``device`` has assigned to a session we began."""
        self._seen[device] = max(self.known(device), theirs)
