"""The simulated MdnsDiscovery: the real agenda, rounds, watch and records, on a simulated local network.

The rule: turn by turn what ``actors/mdns.py`` does; keys and seals are the Keystore's (``actors/findkeeping.py``). In
the place of ``multicast.py`` there is this: what is said is said three times to whoever can hear it and has use for it,
a question is answered with what is said, and a socket serves the network it was opened, or scanned, in. Questions that
nobody is there to hear are left out while nothing changes (see ``resting.py``), and so are strangers' records, which
cost a look into a table and change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from springline.actors.finding import Announcement, FindingKeys, SealRecords
from springline.actors.findkeeping import wanted_of
from springline.actors.mdns import AT_ONCE, QUIET, REOPEN, RETRY, VIA
from springline.errors import SpringlineError
from springline.tests.simulation.clock import Timer
from springline.tests.simulation.network import Host, Site
from springline.tests.simulation.process import Process, Work
from springline.transport.discovery import tags
from springline.transport.discovery.agenda import FIRST, LIFETIME, LONGEST, TICK, Agenda, Rounds
from springline.transport.discovery.watch import Watch
from springline.transport.network import Change

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

SAID = (0.0, 0.225, 0.45)
"""Seconds after which what is new is said (again)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to everybody: who is here? ``origin`` asks."""

    origin: Host


@dataclass(frozen=True, slots=True)
class Said:
    """A record, by its tag."""

    tag: bytes
    record: bytes


class Mdns(Process):
    """One node's."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._watch: Watch[UUID | bytes] = Watch()
        self._agenda = Agenda()
        self._rounds = Rounds()
        self._learned: dict[UUID, int] = {}
        self._sealed: dict[UUID, Announcement] = {}
        self._said: dict[UUID, Said] = {}
        self._open_at: tuple[Site | None, str] | None = None  # the network its sockets serve
        self._moved = self._aloud = False
        self._quiet_since = self.loop.time()
        self._timer: Timer | None = None
        self._busy = self._news = False
        self._rests_since: float | None = None  # since when no question is asked
        node.tell(("mdns", "manager"), lambda: node.manager, lambda manager: manager.whom_to_seek("mdns"))

    # -- what it is told -------------------------------------------------------------------------------------------

    def seek(self, devices: frozenset[UUID]) -> None:
        """These devices are to be found, and no others any more."""
        before = set(self._rounds.queue)
        for device in before - devices:
            self._watch.forget(device)
            self._learned.pop(device, None)
            self._sealed.pop(device, None)
        self._rounds = self._rounds.seek(devices)
        if devices - before:
            self._afresh()
        self._turn_now()

    def addresses_changed(self) -> None:
        """What is announced is not true any more."""
        self._agenda = self._agenda.reseal(self.loop.time())
        self._turn_now()

    def network_changed(self, _change: Change) -> None:
        """There may be other interfaces now, and others on them: say and ask everything again."""
        self._moved = True
        self._agenda = self._agenda.reseal(self.loop.time())
        self._afresh()
        self._turn_now()

    def _afresh(self) -> None:
        self._agenda = self._agenda.afresh(self.loop.time())
        self._rests_since = None

    def look_soon(self) -> None:
        """Something is different: the next question may be heard. It comes when it would have come."""
        if self._rests_since is None:
            return
        agenda, now, draw = self._agenda, self.loop.time(), self.node.world.queue.random.random
        pause = min(LONGEST, FIRST * 2.0 ** min(agenda.asked, 16))
        if agenda.ask_at <= now:
            asked = agenda.asked + int((now - self._rests_since) / pause)
            self._agenda = replace(agenda, asked=asked, ask_at=now + pause * draw())
        self._rests_since = None
        self._arm()

    # -- what it does about it -------------------------------------------------------------------------------------

    def _turn_now(self) -> None:
        self._news = True
        if not self._busy:
            self._turn()

    def _turn(self) -> None:
        self._busy, self._news = True, False
        self.go(self._do_what_is_due())

    def _do_what_is_due(self) -> Work:
        try:
            if not self._rounds.queue:
                wait = self._be_quiet(self.loop.time())
            else:
                self._quiet_since = self.loop.time()
                yield from self._open()
                yield from self._learn()
                yield from self._announce()
                wait = self._ask_if_due()
        except SpringlineError:
            wait = RETRY
        except OSError:
            self._open_at = None
            self._said = {}
            wait = REOPEN
        self._busy = False
        if self._news:
            self._turn()
        elif wait is not None:
            self._arm(wait)

    def _arm(self, wait: float | None = None) -> None:
        """:param wait: seconds; None: as the agenda has it."""
        if self._timer is not None:
            self._timer.cancel()
        if wait is None:
            wait = self._wait(self.loop.time())
        if not self._busy:
            self._timer = self.loop.call_later(wait, self._turn_now)

    def _wait(self, now: float) -> float:
        """The agenda's wait, without the ticks that would show nothing: the wall clock is jumped only with notice."""
        ask_at = self._agenda.ask_at if self._rests_since is None else self._agenda.seal_at
        wall = self.node.clock.wall
        period_ends = now + tags.begins(tags.period_at(wall) + 1) - wall
        return max(0.001, min(ask_at, self._agenda.seal_at, period_ends + TICK * self._draw()) - now)

    def _draw(self) -> float:
        return self.node.world.queue.random.random()

    def _be_quiet(self, now: float) -> float | None:
        self._said = {}
        if self._open_at is None:
            return None
        left = self._quiet_since + QUIET - now
        if left > 0:
            return left
        self._open_at = None
        return None

    def _open(self) -> Work:
        host = self.node.host
        if self._open_at is None:
            yield "transport", lambda transport: transport.listening_at()
        if self._open_at is None or self._moved:
            if host.site is None:
                raise OSError("no interface takes part in multicast")
            self._open_at = host.site, host.ip
        self._aloud = self._aloud or self._moved
        self._moved = False

    def _learn(self) -> Work:
        wall = self.node.clock.wall
        present = tags.period_at(wall)
        missing = [device for device in self._rounds.queue if self._learned.get(device) != present]
        for some in _parts(missing):
            asked = FindingKeys(some, tags.around(wall))
            lookouts = yield "keystore", lambda keystore, asked=asked: keystore.lookouts(asked)  # type: ignore[misc]
            for device in set(some).intersection(self._rounds.queue):
                self._watch.look_out(device, (wanted_of(one) for one in lookouts if one.device == device))
                self._learned[device] = present

    def _announce(self) -> Work:
        now, wall = self.loop.time(), self.node.clock.wall
        if self._agenda.must_seal(now, wall):
            self._sealed = {}
            self._agenda = self._agenda.has_sealed(now, wall)
        missing = [device for device in self._rounds.present if device not in self._sealed]
        if missing:
            own = yield "transport", lambda transport: transport.own_addresses()
            for some in _parts(missing):
                asked = SealRecords(some, own, LIFETIME)
                made = yield "keystore", lambda keystore, asked=asked: keystore.announcements(asked)  # type: ignore[misc]
                self._sealed.update((one.device, one) for one in made)
        again, self._aloud = self._aloud, False
        before, self._said = self._said, {}
        for device in self._rounds.present:
            one = self._sealed.get(device)
            if one is not None:
                self._said[device] = said = Said(one.tag, one.record)
                if (again or said != before.get(device)) and self._neighbour(device) is not None:
                    for pause in SAID:
                        self.loop.call_later(pause, self._say, device, said)

    def _ask_if_due(self) -> float:
        now = self.loop.time()
        if self._rests_since is None and self._agenda.must_ask(now):
            listeners = [host for device in self._rounds.queue if (host := self._neighbour(device)) is not None]
            for host in listeners:
                self.node.world.network.datagram(self.node.host, host, Asked(self.node.host))
            self._agenda = self._agenda.has_asked(now, self._draw())
            self._rounds = self._rounds.turn()
            if not listeners and self.node.world.rest.allowed:
                self._rests_since = now
        return self._wait(self.loop.time())

    def _say(self, device: UUID, said: Said) -> None:
        if (host := self._neighbour(device)) is not None and self._said.get(device) == said:
            self.node.world.network.datagram(self.node.host, host, said)

    # -- the medium ------------------------------------------------------------------------------------------------

    @property
    def _is_there(self) -> bool:
        """True if its sockets serve the network that its machine is in."""
        host = self.node.host
        return host.site is not None and host.site.multicast and self._open_at == (host.site, host.ip)

    def _neighbour(self, device: UUID) -> Host | None:
        """Its machine, if that hears our multicasts; whoever else does has no use for them."""
        other = self.node.world.by_id[device]
        if not self._is_there or other.host.site is not self.node.host.site:
            return None
        return other.host if other.mdns is not None and other.mdns._is_there else None

    def hear(self, message: Said | Asked) -> None:
        """A datagram has come."""
        if not self._is_there:
            return
        if isinstance(message, Asked):
            for device, said in self._said.items():
                if self._neighbour(device) is message.origin:
                    self._say(device, said)
            return
        sighting = self._watch.hear(message.tag, message.record, self.loop.time(), self.node.clock.wall)
        if sighting is not None and sighting.addresses and isinstance(sighting.who, UUID):
            self.node.tell_of(sighting.who, VIA, sighting.addresses, sighting.issued_at)


def _parts(items: Iterable[UUID]) -> Iterator[tuple[UUID, ...]]:
    left = tuple(items)
    for first in range(0, len(left), AT_ONCE):
        yield left[first : first + AT_ONCE]
