"""MdnsDiscovery: finds devices on the local network, and lets them find this one.

The rule: it speaks only while somebody is sought, and only of whom that concerns: one record for each device that is
looked for, under a name that this device alone understands. While nobody is sought it has no socket, so it costs
nothing and hears nobody. When to act is decided in ``agenda``, whom to believe in ``watch``, both under
``transport/discovery``; bytes are moved by ``multicast`` there; keys and seals are the Keystore's.

What it finds it tells the device's connection, or Pairing; it keeps nothing that it could not learn again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from springline.actors.finding import (
    AddressesChanged,
    Announcement,
    FindingKeys,
    Found,
    FoundInviter,
    Health,
    HowItGoes,
    Lookout,
    NetworkChanged,
    OwnAddresses,
    Rendezvous,
    SealRecords,
    Seek,
    WhichRendezvous,
    WhomToSeek,
)
from springline.actors.findkeeping import wanted_of
from springline.actors.messages import CONNECTIONS, KEYSTORE, PAIRING, TRANSPORT, ListeningAt, connection_name
from springline.actors.shell import IoShell, Sender, receives
from springline.errors import SpringlineError
from springline.transport.address import Address
from springline.transport.discovery import records, tags
from springline.transport.discovery.agenda import LIFETIME, TICK, Agenda, Effort, Rounds
from springline.transport.discovery.watch import Sighting, Wanted, Watch
from springline.transport.late import imported

if TYPE_CHECKING:
    from springline.transport.discovery.multicast import Multicast

log = logging.getLogger("springline.mdns")

VIA = "mDNS"

RETRY = 0.5
"""Seconds after which the Keystore or the transport, which is just being restarted, is asked again."""

REOPEN = 15.0
"""Seconds after which multicast is tried again where there was none, or a flood of it."""

QUIET = 10.0
"""Seconds that sockets stay open after the last one who was sought."""

AT_ONCE = 64
"""Devices in one question to the Keystore: handshakes wait for its answer."""


@dataclass(frozen=True, slots=True)
class MdnsArgs:
    """Nothing needs to be said: where the node listens it asks the transport."""


class MdnsDiscovery(IoShell):
    """Takes ``Seek`` and ``Rendezvous``; tells ``Found`` and ``FoundInviter``."""

    async def start(self, args: MdnsArgs) -> None:
        """Begin with nobody, and ask whom to seek."""
        self._watch: Watch[UUID | bytes] = Watch()
        self._agenda = Agenda()
        self._rounds = Rounds()
        self._rendezvous = Rendezvous()
        self._learned: dict[UUID, int] = {}
        self._sealed: dict[UUID, Announcement] = {}
        self._offers: dict[bytes, bytes] = {}
        self._medium: Multicast | None = None
        self._moved = self._aloud = False
        self._quiet_since = self.loop.time()
        self._trouble = ""
        self._effort = Effort(time.process_time(), self.loop.time())
        self._news = asyncio.Event()
        self._worker = self.spawn(self._work())

    async def stop(self) -> None:
        """Have others forget what was said."""
        self._worker.cancel()
        medium, self._medium = self._medium, None
        if medium is not None:
            await medium.close(goodbye=True)

    # -- what it is told -------------------------------------------------------------------------------------------

    @receives(Seek)
    def seek(self, message: Seek, sender: Sender) -> None:
        """These devices are to be found, and no others any more."""
        before = set(self._rounds.queue)
        for device in before - message.devices:
            self._watch.forget(device)
            self._learned.pop(device, None)
            self._sealed.pop(device, None)
        self._rounds = self._rounds.seek(message.devices)
        if message.devices - before:
            self._agenda = self._agenda.afresh(self.loop.time())
        self._news.set()

    @receives(Rendezvous)
    def rendezvous(self, message: Rendezvous, sender: Sender) -> None:
        """These invitations are open here, and those are looked for."""
        before, self._rendezvous = self._rendezvous, message
        for secret in set(before.sought) - set(message.sought):
            self._watch.forget(secret)
        for secret in message.sought:
            self._watch.look_out(secret, (Wanted(secret, tags.meeting(secret), None),))
        if set(message.sought) - set(before.sought):
            self._agenda = self._agenda.afresh(self.loop.time())
        self._news.set()

    @receives(AddressesChanged)
    def addresses_changed(self, message: AddressesChanged, sender: Sender) -> None:
        """What is announced is not true any more."""
        self._agenda = self._agenda.reseal(self.loop.time())
        self._news.set()

    @receives(NetworkChanged)
    def network_changed(self, message: NetworkChanged, sender: Sender) -> None:
        """There may be other interfaces now, and others on them: say and ask everything again."""
        self._moved = True
        self._agenda = self._agenda.reseal(self.loop.time()).afresh(self.loop.time())
        self._news.set()

    @receives(HowItGoes)
    def how_it_goes(self, message: HowItGoes, sender: Sender) -> Health:
        """Does multicast work here?"""
        if self._trouble:
            return Health(False, self._trouble, "connect to a network, and let UDP port 5353 through the firewall")
        if not self._is_wanted():
            return Health(None, "nobody is to be found")
        sought = len(self._rounds.queue) + len(self._rendezvous.sought)
        seen = f"{sought} looked for, {self._watch.sighted} heard"
        if self._watch.refused:
            seen += f"; {self._watch.refused} records were not believed"
        if self._watch.sighted:
            return Health(True, seen)
        return Health(None, seen, "guest networks and some access points pass no multicast on")

    def _is_wanted(self) -> bool:
        return bool(self._rounds.queue or self._rendezvous.offered or self._rendezvous.sought)

    # -- what it does about it -------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self.tell(CONNECTIONS, WhomToSeek())  # not before: the answers come by our name
        self.tell(PAIRING, WhichRendezvous())
        while True:
            self._news.clear()
            wait = await self._turn()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _turn(self) -> float | None:
        """Do what is due; seconds until something may be due again."""
        try:
            return await self._do_what_is_due(self.loop.time())
        except SpringlineError as error:
            log.debug("later: %s", error)
            return RETRY
        except OSError as error:
            await self._give_up(str(error))
            return REOPEN

    async def _do_what_is_due(self, now: float) -> float | None:
        if not self._is_wanted():
            return await self._be_quiet(now)
        self._quiet_since = now
        if self._is_flooded(now):
            raise OSError("somebody floods the network with announcements")
        medium = await self._opened()
        await self._learn()
        await self._announce(medium)
        if self._agenda.must_ask(now):
            medium.ask()
            self._agenda = self._agenda.has_asked(now, random.random())  # noqa: S311 - it spreads, it hides nothing
            self._rounds = self._rounds.turn()
        return self._agenda.wait(self.loop.time())

    def _is_flooded(self, now: float) -> bool:
        """Whoever makes this process work hard is not listened to for a while. It forgets nothing by that."""
        before, cpu = self._effort, time.process_time()
        if now - before.at >= TICK or self._medium is None:
            self._effort = Effort(cpu, now)
        return self._medium is not None and before.is_too_much(cpu, now)

    async def _be_quiet(self, now: float) -> float | None:
        if self._medium is None:
            return None
        left = self._quiet_since + QUIET - now
        if left > 0:
            await self._medium.announce({})
            return left
        medium, self._medium = self._medium, None
        await medium.close()
        return None

    async def _opened(self) -> Multicast:
        if self._medium is None:
            await imported("springline.transport.discovery.multicast")
            from springline.transport.discovery.multicast import Multicast

            where: Address = await self.ask(TRANSPORT, ListeningAt())
            medium = Multicast(self._hear)
            await medium.open(where.host)
            self._medium, self._trouble = medium, ""
            self._effort = Effort(time.process_time(), self.loop.time())  # what the import took is nobody's flood
        elif self._moved:
            await self._medium.rescan()
        self._aloud = self._aloud or self._moved
        self._moved = False
        return self._medium

    async def _give_up(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.info("devices are not found by multicast: %s", trouble)
        self._trouble = trouble
        medium, self._medium = self._medium, None
        if medium is not None:
            await medium.close()

    async def _learn(self) -> None:
        """Get the keys of those who are new, or all if the period has changed."""
        wall = time.time()
        present = tags.period_at(wall)
        missing = [device for device in self._rounds.queue if self._learned.get(device) != present]
        for some in _parts(missing):
            lookouts: tuple[Lookout, ...] = await self.ask(KEYSTORE, FindingKeys(some, tags.around(wall)))
            for device in set(some).intersection(self._rounds.queue):
                self._watch.look_out(device, (wanted_of(one) for one in lookouts if one.device == device))
                self._learned[device] = present

    async def _announce(self, medium: Multicast) -> None:
        """Say where this device is to those whose turn it is, and to who knows the words of an open invitation."""
        now, wall = self.loop.time(), time.time()
        if self._agenda.must_seal(now, wall):
            self._sealed, self._offers = {}, {}
            self._agenda = self._agenda.has_sealed(now, wall)
        missing = [device for device in self._rounds.present if device not in self._sealed]
        offers = {there.tag: there for there in map(tags.meeting, self._rendezvous.offered)}
        self._offers = {tag: record for tag, record in self._offers.items() if tag in offers}
        if missing or offers.keys() - self._offers.keys():
            own: tuple[Address, ...] = await self.ask(TRANSPORT, OwnAddresses())
            for some in _parts(missing):
                made: tuple[Announcement, ...] = await self.ask(KEYSTORE, SealRecords(some, own, LIFETIME))
                self._sealed.update((one.device, one) for one in made)
            for tag in offers.keys() - self._offers.keys():
                self._offers[tag] = records.seal(own, offers[tag], None, wall, LIFETIME)
        said = {one.tag: one.record for one in map(self._sealed.get, self._rounds.present) if one is not None}
        again, self._aloud = self._aloud, False
        await medium.announce(said | {tag: self._offers[tag] for tag in offers}, again=again)

    # -- what it hears ---------------------------------------------------------------------------------------------

    def _hear(self, tag: bytes, record: bytes) -> None:
        sighting = self._watch.hear(tag, record, self.loop.time(), time.time())
        if sighting is not None and sighting.addresses:
            self._tell_of(sighting)

    def _tell_of(self, sighting: Sighting[UUID | bytes]) -> None:
        who, addresses = sighting.who, sighting.addresses
        if isinstance(who, UUID):
            self.tell(connection_name(who), Found(who, addresses, VIA, sighting.issued_at))
        else:
            self.tell(PAIRING, FoundInviter(who, addresses, VIA))


def _parts(items: Iterable[UUID]) -> Iterator[tuple[UUID, ...]]:
    """As many at a time as one question may name."""
    left = tuple(items)
    for first in range(0, len(left), AT_ONCE):
        yield left[first : first + AT_ONCE]
