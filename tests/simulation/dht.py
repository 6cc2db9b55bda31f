"""The simulated DhtDiscovery: the real rotas, watch, records and parcels, on the simulated table.

The rule: turn by turn what ``actors/dht.py`` does. A search takes a moment, and longer in vain; becoming a node again,
after the machine has moved, follows ``transport/discovery/joining.py``, with nodes to begin with that are always on.
Looks that would find what the one before has found are left out while nothing changes (see ``resting.py``), and so are
tries to put down a record where nobody can be reached; when something has changed, the next one comes when it would
have come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.actors.dht import AT_ONCE, LIFETIME, LOOKS, RENEW, RETRY, TRIES, VIA
from springline.actors.finding import FindingKeys, SealRecords
from springline.actors.findkeeping import wanted_of
from springline.errors import SpringlineError
from springline.tests.simulation.clock import Timer
from springline.tests.simulation.finding import is_online, place_of
from springline.tests.simulation.process import Process, Work
from springline.transport.address import Address
from springline.transport.discovery import parcels, tags
from springline.transport.discovery.joining import ALONE, IN_COMPANY, NEEDED
from springline.transport.discovery.rota import Rota
from springline.transport.discovery.watch import Wanted, Watch
from springline.transport.network import Change

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

SEARCH = 0.3, 2.0
"""Seconds that a search takes, at least, and how much longer it may take."""

IN_VAIN = 4.0
"""Seconds that one takes which nobody answers."""

WORTH_A_LOOK = 2
"""Looks that there are at least after something has changed: they go to different periods by turns."""


@dataclass(frozen=True, slots=True)
class _Laid:
    """What of this device lies in the table for somebody."""

    addresses: tuple[Address, ...]
    period: int
    until: float


class Turns:
    """A real rota, some of whose turns are left out. :param pauses: as of the rota's."""

    def __init__(self, pauses: tuple[float, ...]) -> None:
        self._pauses = pauses
        self.rota: Rota[UUID] = Rota(pauses)
        self._vain: dict[UUID, int] = {}  # turns taken since something was different
        self._resting: dict[UUID, tuple[float, float]] = {}  # since when, and when the next turn was due

    def keep(self, devices: frozenset[UUID], now: float) -> None:
        """These have turns."""
        self.rota.keep(devices, now)
        for known in (self._vain, self._resting):
            for device in [device for device in known if device not in devices]:
                del known[device]

    def hurry(self, now: float) -> None:
        """Everybody has a turn at once."""
        self.rota.hurry(now)
        self._vain.clear()
        self._resting.clear()

    def rest(self, device: UUID, now: float) -> None:
        """The turn that is over need not be taken again, unless something is different."""
        turn = self.rota._turns.get(device)
        self._vain[device] = self._vain.get(device, 0) + 1
        if turn is not None and self._vain[device] >= WORTH_A_LOOK and turn.at > now:
            self._resting[device] = now, turn.at
            turn.at = math.inf

    def rouse(self, device: UUID, now: float, draw: float) -> bool:
        """Something is different. True if that changes anything. :param draw: from [0, 1)."""
        self._vain.pop(device, None)
        since, due = self._resting.pop(device, (0.0, 0.0))
        turn = self.rota._turns.get(device)
        if not due or turn is None:
            return False
        turn.at = due
        if due <= now:
            turn.taken += int((now - since) / (due - since))
            turn.at = now + draw * self._pauses[min(turn.taken, len(self._pauses) - 1)]
        return True


class Dht(Process):
    """One node's."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._sought: frozenset[UUID] = frozenset()
        self._watch: Watch[UUID | bytes] = Watch()
        self._wanted: dict[UUID, tuple[Wanted[UUID | bytes], ...]] = {}
        self._laid: dict[UUID, _Laid] = {}
        self._looks = Turns(LOOKS)
        self._puts = Turns(TRIES)
        self._period = -1
        self._present: frozenset[str] | None = None
        self._searching = 0
        self._timer: Timer | None = None
        self._knows_nodes, self._is_alone, self._tries = False, True, 0
        self._greeting: Timer | None = None
        node.tell(("dht", "manager"), lambda: node.manager, lambda manager: manager.whom_to_seek("dht"))
        self._greet_in(0.0)

    # -- what it is told -------------------------------------------------------------------------------------------

    def seek(self, devices: frozenset[UUID]) -> None:
        """These devices are to be found, and no others any more."""
        for device in self._sought - devices:
            self._watch.forget(device)
            self._wanted.pop(device, None)
        self._sought = devices
        now = self.loop.time()
        self._looks.keep(devices, now)
        self._puts.keep(devices, now)
        for who in [who for who, laid in self._laid.items() if laid.until <= now]:
            del self._laid[who]
        if self._is_alone and devices:
            self._greet_in(0.0)
        self._give_turns()

    def addresses_changed(self) -> None:
        """What lies in the table is not true any more."""
        self._puts.hurry(self.loop.time())
        self._give_turns()

    def network_changed(self, change: Change) -> None:
        """Nobody may be where it was, nor we."""
        if self._present is not None and change.addresses != self._present:
            self._knows_nodes = False
        self._present = change.addresses
        self._greet_in(0.0)
        self._laid = {}  # anew: what is just being put down was made before
        self._afresh()

    def _afresh(self) -> None:
        self._looks.hurry(self.loop.time())
        self._puts.hurry(self.loop.time())
        self._give_turns()

    def look_soon(self, device: UUID | None = None) -> None:
        """Something is different, so the next turn of that device, or of all, may find something."""
        now, draw, roused = self.loop.time(), self.node.world.queue.random.random, False
        for each in sorted(self._sought) if device is None else (device,):
            roused |= self._looks.rouse(each, now, draw())
            if device is None:
                roused |= self._puts.rouse(each, now, draw())
        if roused:
            self._give_turns()

    # -- being a node ----------------------------------------------------------------------------------------------

    def _greet_in(self, seconds: float) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
        if not seconds:
            self._tries = 0
        took = SEARCH[0] + SEARCH[1] * self.node.world.queue.random.random()
        self._greeting = self.loop.call_later(seconds + took, self._greeted)

    def _greeted(self) -> None:
        draw = 0.75 + self.node.world.queue.random.random() / 2
        answered = is_online(self.node.host)
        is_new, self._knows_nodes = answered and not self._knows_nodes, self._knows_nodes or answered
        self._tries = 0 if answered else self._tries + 1
        joined, self._is_alone = answered and self._is_alone, not answered
        longest = NEEDED if self._sought else ALONE[1]
        pause = IN_COMPANY if answered else min(longest, ALONE[0] * 2.0 ** min(self._tries - 1, 16))
        self._greet_in(pause * draw)
        if joined:
            self._afresh()
        elif is_new:
            self.look_soon()

    @property
    def _is_heard(self) -> bool:
        return self._knows_nodes and is_online(self.node.host)

    def _search(self) -> float:
        return SEARCH[0] + SEARCH[1] * self.node.world.queue.random.random() if self._is_heard else IN_VAIN

    # -- turns -----------------------------------------------------------------------------------------------------

    def _give_turns(self) -> None:
        now, wall = self.loop.time(), self.node.clock.wall
        period = tags.period_at(wall)
        if period != self._period:
            self._period = period
            self._puts.hurry(now)
        while self._searching < AT_ONCE:
            if (turn := self._puts.rota.take(now)) is not None:
                self._searching += 1
                self.go(self._put(turn[0]))
            elif (turn := self._looks.rota.take(now)) is not None:
                self._searching += 1
                self.go(self._look(*turn))
            else:
                break
        until = RENEW
        if self._searching < AT_ONCE:
            until = min(self._looks.rota.wait(now), self._puts.rota.wait(now))
        self._arm(max(RETRY / 10, min(until, tags.begins(self._period + 1) - wall, RENEW)))

    def _arm(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(wait, self._give_turns) if self._sought else None

    def _turn_over(self, turns: Turns, who: UUID, pause: float | None, *, vain: bool) -> None:
        now = self.loop.time()
        turns.rota.done(who, now, self.node.world.queue.random.random(), pause)
        self._searching -= 1
        if vain and self.node.world.rest.allowed:
            turns.rest(who, now)
        self._give_turns()

    # -- saying where we are ---------------------------------------------------------------------------------------

    def _put(self, who: UUID) -> Work:
        pause, vain = None, False
        try:
            own = yield "transport", lambda transport: transport.own_addresses()
            vain = not (yield from self._lay(who, own))
            pause = None if vain else RENEW
            if vain and not self._is_alone:
                self._greet_in(0.0)
        except SpringlineError:
            pause = RETRY
        self._turn_over(self._puts, who, pause, vain=vain)

    def _lay(self, who: UUID, own: tuple[Address, ...]) -> Any:
        now, period, book = self.loop.time(), self._period, self._laid
        laid = book.get(who)
        if laid is not None and (laid.addresses, laid.period) == (own, period) and now < laid.until:
            return True
        wall = self.node.clock.wall
        made = yield "keystore", lambda keystore: keystore.announcements(SealRecords((who,), own, LIFETIME))
        heard = self._is_heard
        yield self._search()
        if not made or not heard or not self._is_heard:
            return False
        parcel = parcels.make(made[0].key, made[0].record, int(wall * 1000))
        self.node.world.table.put(parcel, self.node.name)
        self.node.world.by_id[who].look_soon(self.node.book.id)
        book[who] = _Laid(own, period, now + RENEW / 2)
        return True

    # -- looking for others ----------------------------------------------------------------------------------------

    def _look(self, who: UUID, taken: int) -> Work:
        pause, complete = None, True
        try:
            spots = yield from self._spots(who, taken)
            for wanted in spots:
                heard = self._is_heard
                yield self._search()
                if heard and self._is_heard:
                    complete &= self._look_at(wanted)
        except SpringlineError:
            pause = RETRY
        self._turn_over(self._looks, who, pause, vain=pause is None and complete and not self._has_more_to_tell(who))

    def _has_more_to_tell(self, who: UUID) -> bool:
        """Whether a look at the same parcels would change anything, later."""
        known, connection = self._watch._heard.get(who), self.node.connections.get(who)
        if known is None or connection is None:
            return False
        said = known.sighting
        told = said is None or not said.addresses or (VIA, said.issued_at) in connection.heard
        return known.credit < 1.0 or not told

    def _spots(self, who: UUID, taken: int) -> Any:
        wanted, wall = self._wanted.get(who, ()), self.node.clock.wall
        if not tags.are_due((one.spot.period for one in wanted), wall):
            asked = FindingKeys((who,), tags.around(wall))
            lookouts = yield "keystore", lambda keystore: keystore.lookouts(asked)
            wanted = tuple(map(wanted_of, lookouts))
            if who not in self._sought:
                return []
            self._wanted[who] = wanted
            self._watch.look_out(who, wanted)
        beside = self._period + (-1 if taken % 2 else 1)
        return [one for one in wanted if one.spot.period in (self._period, beside)]

    def _look_at(self, wanted: Wanted[UUID | bytes]) -> bool:
        """Look there; True if everything was heard that there is."""
        table, place = self.node.world.table, place_of(wanted.spot.key)
        found = table.get(place)
        for parcel in sorted(found, key=lambda one: -one.number):
            sighting = self._watch.hear(wanted.spot.tag, parcel.record, self.loop.time(), self.node.clock.wall)
            if sighting is not None and sighting.addresses and isinstance(sighting.who, UUID):
                self.node.tell_of(sighting.who, VIA, sighting.addresses, sighting.issued_at)
        return set(found) == table.everything(place)
