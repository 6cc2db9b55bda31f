"""Who is looked out for: which records that pass by are meant for us, and believed.

The rule: whatever passes by costs one look into a table of tags; only what lies under one of them is opened, and only
what opens and is news has its signature checked. So a million records of strangers cost a million look-ups and no
memory. How records pass by is the caller's: the same watch serves multicast and a table of records on the internet.

What has been heard is told again now and then while it is still heard, because whoever was told may have been killed
since. A device that says something new all the time is heard at a bounded pace. A record from the future can't be the
latest there is: a clock that was ahead and is set right does not silence its device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from springline.errors import Malformed
from springline.transport.address import Address
from springline.transport.discovery.records import RECORD_SIZE, Verify, open_untrusted
from springline.transport.discovery.tags import Spot

TELL_AGAIN = 15.0
"""Seconds after which what is still heard is told once more."""

BURST, PACE = 8.0, 0.2
"""New records of one device: how many at once, and how many a second for long."""

Who = TypeVar("Who")


@dataclass(frozen=True, slots=True)
class Wanted(Generic[Who]):
    """A spot to look at. :param who: whose records lie there. :param verify: see ``records.open_untrusted``."""

    who: Who
    spot: Spot
    verify: Verify | None


@dataclass(frozen=True, slots=True)
class Sighting(Generic[Who]):
    """One that is looked out for has said where it is. :param issued_at: by its clock, wall-clock seconds."""

    who: Who
    addresses: tuple[Address, ...]
    issued_at: float


@dataclass(slots=True)
class _Heard(Generic[Who]):
    """What is known of one. :param record: the latest, as it came. :param told_at: monotonic seconds."""

    wanted: tuple[Wanted[Who], ...]
    record: bytes = b""
    sighting: Sighting[Who] | None = None
    told_at: float = 0.0
    credit: float = BURST
    credit_at: float = 0.0


@dataclass(slots=True)
class Watch(Generic[Who]):
    """Everybody who is looked out for.

    :param refused: how many records under our tags were not believed.
    """

    refused: int = 0
    _by_tag: dict[bytes, Wanted[Who]] = field(default_factory=dict)
    _heard: dict[Who, _Heard[Who]] = field(default_factory=dict)

    def look_out(self, who: Who, wanted: Iterable[Wanted[Who]]) -> None:
        """Look out for ``who`` there, and nowhere else any more; what is known of it stays."""
        spots = tuple(wanted)
        known = self._heard.get(who)
        if known is not None:
            self._unhang(known)
            known.wanted = spots
        else:
            self._heard[who] = _Heard(spots)
        self._by_tag.update((one.spot.tag, one) for one in spots)

    def forget(self, who: Who) -> None:
        """It is not looked out for any more."""
        known = self._heard.pop(who, None)
        if known is not None:
            self._unhang(known)

    def _unhang(self, known: _Heard[Who]) -> None:
        for one in known.wanted:
            self._by_tag.pop(one.spot.tag, None)

    @property
    def tags(self) -> tuple[bytes, ...]:
        """The names of all spots looked at."""
        return tuple(self._by_tag)

    @property
    def sighted(self) -> int:
        """How many of those looked out for have been heard."""
        return sum(known.sighting is not None for known in self._heard.values())

    def hear(self, tag: bytes, record: bytes, now: float, wall: float) -> Sighting[Who] | None:
        """A record passes by; what it says, if that is to be told.

        :param now: monotonic seconds. :param wall: wall-clock seconds.
        """
        wanted = self._by_tag.get(tag)
        if wanted is None or len(record) != RECORD_SIZE:
            return None
        known = self._heard[wanted.who]
        if record != known.record:
            return self._consider(wanted, known, record, now, wall)
        if now - known.told_at < TELL_AGAIN:
            return None
        known.told_at = now
        return known.sighting

    def _consider(
        self, wanted: Wanted[Who], known: _Heard[Who], record: bytes, now: float, wall: float
    ) -> Sighting[Who] | None:
        newest = -1.0 if known.sighting is None or known.sighting.issued_at > wall else known.sighting.issued_at
        credit = min(BURST, known.credit + (now - known.credit_at) * PACE)
        if credit < 1.0:
            return None
        try:
            said = open_untrusted(record, wanted.spot, wanted.verify, wall, newest)
        except Malformed:
            self.refused += 1
            return None
        known.credit, known.credit_at = credit - 1.0, now
        known.record, known.told_at = record, now
        known.sighting = Sighting(wanted.who, said.addresses, said.issued_at)
        return known.sighting
