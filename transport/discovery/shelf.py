"""What one node of the distributed table keeps for others. Pure: the time is an argument.

The rule: nothing grows beyond a bound, and nobody's greed costs somebody else a place. What lies here is signed by the
key of its place (``parcels.py``), so a place is nobody's but of those who share its secret, and two parcels suffice for
it: the one with the highest number, so that replaying old ones pushes nothing out, and the one that came last, because
who has signed may have set a clock back since. Each parcel is on the account of the host that brought it. A host that
has its share pays for the next one with its own oldest; when all is full, the host that has most does.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from springline.transport.discovery.parcels import Parcel

MOST = 8192
"""Parcels kept, a few hundred bytes each."""

MOST_EACH = 512
"""Parcels kept for one host."""

KEPT = 7200.0
"""Seconds that a parcel is kept; who wants it there for longer brings it again."""

AT_ONE_PLACE = 2
"""Parcels kept at one place."""


@dataclass(eq=False, slots=True)
class _Kept:
    parcel: Parcel
    source: str
    until: float


class Shelf:
    """Times are seconds of a clock that does not go back.

    :param most: parcels in all. :param each: parcels of one host. :param kept: seconds.
    """

    def __init__(self, most: int = MOST, each: int = MOST_EACH, kept: float = KEPT) -> None:
        self._most, self._each, self._seconds = most, each, kept
        self._places: dict[bytes, list[_Kept]] = {}  # at each, in the order they came
        self._by_age: OrderedDict[int, _Kept] = OrderedDict()
        self._sources: dict[str, OrderedDict[int, _Kept]] = {}

    def put(self, parcel: Parcel, source: str, now: float) -> None:
        """Keep a parcel that has been checked. :param source: the host that brought it."""
        self._expire(now)
        self._make_room_at(parcel)
        if len(self._sources.get(source, ())) >= self._each:
            self._drop_oldest_of(self._sources[source])
        if len(self._by_age) >= self._most:
            self._drop_oldest_of(max(self._sources.values(), key=len))
        kept = _Kept(parcel, source, now + self._seconds)
        self._places.setdefault(parcel.place, []).append(kept)
        self._sources.setdefault(source, OrderedDict())[id(kept)] = kept
        self._by_age[id(kept)] = kept

    def get(self, place: bytes, now: float) -> tuple[Parcel, ...]:
        """What lies there, the newest by its number first."""
        self._expire(now)
        found = sorted(self._places.get(place, ()), key=lambda kept: -kept.parcel.number)
        return tuple(kept.parcel for kept in found)

    def __len__(self) -> int:
        return len(self._by_age)

    def _make_room_at(self, parcel: Parcel) -> None:
        there = self._places.get(parcel.place, [])
        for kept in there:
            if kept.parcel == parcel:  # brought again: it counts from now on
                self._drop(kept)
                return
        if len(there) >= AT_ONE_PLACE:
            newest = max(there, key=lambda kept: kept.parcel.number)
            outdone = parcel.number > newest.parcel.number
            self._drop(next(kept for kept in there if outdone or kept is not newest))

    def _drop_oldest_of(self, several: OrderedDict[int, _Kept]) -> None:
        self._drop(next(iter(several.values())))

    def _drop(self, kept: _Kept) -> None:
        del self._by_age[id(kept)]
        there, brought = self._places[kept.parcel.place], self._sources[kept.source]
        there.remove(kept)
        del brought[id(kept)]
        if not there:
            del self._places[kept.parcel.place]
        if not brought:
            del self._sources[kept.source]

    def _expire(self, now: float) -> None:
        while self._by_age and next(iter(self._by_age.values())).until <= now:
            self._drop_oldest_of(self._by_age)
