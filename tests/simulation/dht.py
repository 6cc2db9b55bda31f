"""The simulated DhtDiscovery: the real seeking, watch, records and parcels, on the simulated table.

The rule: a thin shell around ``transport/discovery/seeking.py``, as ``actors/dht.py`` is. A search takes a moment, and
longer in vain; becoming a node again, after the machine has moved, has the pace of ``transport/discovery/joining.py``,
with nodes to begin with that are always on.
Looks that would find what the one before has found are left out while nothing changes (see ``resting.py``), and so are
tries to put down a record where nobody can be reached; when something has changed, the next one comes when it would
have come.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.actors.dht import VIA
from springline.actors.finding import FindingKeys, SealRecords
from springline.actors.findkeeping import wanted_of
from springline.errors import SpringlineError
from springline.tests.simulation.clock import Timer
from springline.tests.simulation.finding import is_online, place_of
from springline.tests.simulation.process import Process, Work
from springline.transport.address import Address
from springline.transport.discovery import parcels, tags
from springline.transport.discovery.joining import Company
from springline.transport.discovery.rota import Rota
from springline.transport.discovery.seeking import LIFETIME, LOOKS, RENEW, RETRY, TRIES, Seeking, Turn, Who
from springline.transport.discovery.watch import Wanted
from springline.transport.network import Change

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

SEARCH = 0.3, 2.0
"""Seconds that a search takes, at least, and how much longer it may take."""

IN_VAIN = 4.0
"""Seconds that one takes which nobody answers."""

WORTH_A_LOOK = 2
"""Looks that there are at least after something has changed: they go to different periods by turns."""


class Turns(Rota[Who]):
    """A real rota, some of whose turns are left out."""

    def __init__(self, pauses: Sequence[float]) -> None:
        super().__init__(pauses)
        self._vain: dict[Who, int] = {}  # turns taken since something was different
        self._resting: dict[Who, tuple[float, float]] = {}  # since when, and when the next turn was due

    def keep(self, everybody: Collection[Who], now: float) -> None:
        """These have turns."""
        super().keep(everybody, now)
        for known in (self._vain, self._resting):
            for who in [who for who in known if who not in everybody]:
                del known[who]

    def hurry(self, now: float) -> None:
        """Everybody has a turn at once."""
        super().hurry(now)
        self._vain.clear()
        self._resting.clear()

    def rest(self, device: Who, now: float) -> None:
        """The turn that is over need not be taken again, unless something is different."""
        turn = self._turns.get(device)
        self._vain[device] = self._vain.get(device, 0) + 1
        if turn is not None and self._vain[device] >= WORTH_A_LOOK and turn.at > now:
            self._resting[device] = now, turn.at
            turn.at = math.inf

    def rouse(self, device: Who, now: float, draw: float) -> bool:
        """Something is different. True if that changes anything. :param draw: from [0, 1)."""
        self._vain.pop(device, None)
        since, due = self._resting.pop(device, (0.0, 0.0))
        turn = self._turns.get(device)
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
        self._looks, self._puts = Turns(LOOKS), Turns(TRIES)
        self._seeking = Seeking(self._looks, self._puts)
        self._company, self._knows_nodes = Company(), False
        self._timer: Timer | None = None
        self._greeting: Timer | None = None
        node.tell(("dht", "manager"), lambda: node.manager, lambda manager: manager.whom_to_seek("dht"))
        self._greet_in(0.0)

    # -- what it is told -------------------------------------------------------------------------------------------

    def seek(self, devices: frozenset[UUID]) -> None:
        """These devices are to be found, and no others any more."""
        self._seeking.seek(devices, self.loop.time())
        if self._company.is_alone and devices:
            self._greet_in(0.0)
        self._give_turns()

    def addresses_changed(self) -> None:
        """What lies in the table is not true any more."""
        self._puts.hurry(self.loop.time())
        self._give_turns()

    def network_changed(self, change: Change) -> None:
        """Nobody may be where it was, nor we."""
        if self._seeking.moved(change.addresses, self.loop.time()):
            self._knows_nodes = False
        self._greet_in(0.0)
        self._give_turns()

    def look_soon(self, device: UUID | None = None) -> None:
        """Something is different, so the next turn of that device, or of all, may find something."""
        now, draw, roused = self.loop.time(), self.node.world.queue.random.random, False
        for each in sorted(self._seeking.sought) if device is None else (device,):
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
            self._company.hurry()
        took = SEARCH[0] + SEARCH[1] * self.node.world.queue.random.random()
        self._greeting = self.loop.call_later(seconds + took, self._greeted)

    def _greeted(self) -> None:
        draw, answered = self.node.world.queue.random.random(), is_online(self.node.host)
        is_new, self._knows_nodes = answered and not self._knows_nodes, self._knows_nodes or answered
        joined = answered and self._company.is_alone
        self._greet_in(self._company.looked(answered, self._seeking.is_needed(), draw))
        if joined:
            self._seeking.afresh(self.loop.time())
            self._give_turns()
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
        while (turn := self._seeking.next(now, wall)) is not None:
            self.go(self._look(turn) if turn.is_look else self._put(turn))
        self._arm(self._seeking.wait(now, wall))

    def _arm(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(wait, self._give_turns) if self._seeking.sought else None

    def _turn_over(self, turn: Turn, pause: float | None, *, vain: bool) -> None:
        now = self.loop.time()
        self._seeking.over(turn, now, self.node.world.queue.random.random(), pause)
        if vain and self.node.world.rest.allowed:
            (self._looks if turn.is_look else self._puts).rest(turn.who, now)
        self._give_turns()

    # -- saying where we are ---------------------------------------------------------------------------------------

    def _put(self, turn: Turn) -> Work:
        pause, vain = None, False
        try:
            own = yield "transport", lambda transport: transport.own_addresses()
            vain = not (yield from self._lay(turn.who, own))
            pause = None if vain else RENEW
            if vain and not self._company.is_alone:
                self._greet_in(0.0)
        except SpringlineError:
            pause = RETRY
        self._turn_over(turn, pause, vain=vain)

    def _lay(self, who: Who, own: tuple[Address, ...]) -> Any:
        laying = self._seeking.lay(who, own, self.loop.time())
        if laying is None:
            return True
        assert isinstance(who, UUID)  # nobody is invited here
        wall = self.node.clock.wall
        made = yield "keystore", lambda keystore: keystore.announcements(SealRecords((who,), own, LIFETIME))
        heard = self._is_heard
        yield self._search()
        if not made or not heard or not self._is_heard:
            return False
        parcel = parcels.make(made[0].key, made[0].record, int(wall * 1000))
        self.node.world.table.put(parcel, self.node.name)
        self.node.world.by_id[who].look_soon(self.node.book.id)
        self._seeking.lies(laying)
        return True

    # -- looking for others ----------------------------------------------------------------------------------------

    def _look(self, turn: Turn) -> Work:
        pause, complete = None, True
        try:
            yield from self._ask(turn.who)
            for wanted in self._seeking.spots(turn):
                heard = self._is_heard
                yield self._search()
                if heard and self._is_heard:
                    complete &= self._look_at(wanted)
        except SpringlineError:
            pause = RETRY
        vain = pause is None and complete and not self._has_more_to_tell(turn.who)
        self._turn_over(turn, pause, vain=vain)

    def _has_more_to_tell(self, who: Who) -> bool:
        """Whether a look at the same parcels would change anything, later."""
        known = self._seeking.watch._heard.get(who)
        connection = self.node.connections.get(who) if isinstance(who, UUID) else None
        if known is None or connection is None:
            return False
        said = known.sighting
        told = said is None or not said.addresses or (VIA, said.issued_at) in connection.heard
        return known.credit < 1.0 or not told

    def _ask(self, who: Who) -> Any:
        wall = self.node.clock.wall
        if isinstance(who, UUID) and self._seeking.must_ask(who, wall):
            asked = FindingKeys((who,), tags.around(wall))
            lookouts = yield "keystore", lambda keystore: keystore.lookouts(asked)
            self._seeking.look_out(who, tuple(map(wanted_of, lookouts)))

    def _look_at(self, wanted: Wanted[Who]) -> bool:
        """Look there; True if everything was heard that there is."""
        table, place = self.node.world.table, place_of(wanted.spot.key)
        found = table.get(place)
        for parcel in sorted(found, key=lambda one: -one.number):
            sighting = self._seeking.watch.hear(wanted.spot.tag, parcel.record, self.loop.time(), self.node.clock.wall)
            if sighting is not None and sighting.addresses and isinstance(sighting.who, UUID):
                self.node.tell_of(sighting.who, VIA, sighting.addresses, sighting.issued_at)
        return set(found) == table.everything(place)
