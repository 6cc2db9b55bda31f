"""What simulated devices find each other in: the local network's multicast, and a table that strangers keep.

The rule: these are the media; what is said in them, when, and what is believed of it, is decided by the real cores in
``mdns.py`` and ``dht.py``. The table is kept by a few nodes, each with the real shelf; some of them miss what is put,
or do not answer, so old parcels are found besides newer ones. Nobody forges here, so what a keeper or a reader checks
of a parcel as a whole is left out; the record in it is sealed, signed, opened and verified as ever.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from springline.transport.discovery import parcels
from springline.transport.discovery.parcels import Parcel
from springline.transport.discovery.shelf import Shelf

if TYPE_CHECKING:
    from springline.tests.simulation.network import Host

KEEPERS = 3
REACHED = 0.9
"""The chance that one of the keepers hears a question."""

place_of = functools.lru_cache(4096)(parcels.place_of)


class Table:
    """The distributed table. :param random: decides who hears. :param now: seconds."""

    def __init__(self, random: Random, now: Callable[[], float]) -> None:
        self._random, self._now = random, now
        self._shelves = [Shelf() for _ in range(KEEPERS)]

    def _reached(self) -> list[Shelf]:
        heard = [shelf for shelf in self._shelves if self._random.random() < REACHED]
        return heard or [self._random.choice(self._shelves)]

    def put(self, parcel: Parcel, source: str) -> int:
        """How many keep it."""
        reached = self._reached()
        for shelf in reached:
            shelf.put(parcel, source, self._now())
        return len(reached)

    def get(self, place: bytes) -> tuple[Parcel, ...]:
        """What lies there, as far as it is heard of."""
        return tuple(dict.fromkeys(one for shelf in self._reached() for one in shelf.get(place, self._now())))

    def everything(self, place: bytes) -> set[Parcel]:
        """What lies there, at whatever keeper."""
        return {one for shelf in self._shelves for one in shelf.get(place, self._now())}


def is_online(host: Host) -> bool:
    """True if strangers hear it, and it hears them."""
    site = host.site
    return site is not None and site.up and not site.mute and not site.deaf
