"""DhtDiscovery: finds devices over the internet, in a table that strangers keep (``transport/discovery/table``).

The rule: this device is a node of the table for as long as it runs, and answers others. But it says where it is, and
looks for others, only while somebody is sought: each record is for one device, under a place that only the two know,
and who keeps it can't read it. Whom to believe is decided in ``watch``, whose turn it is in ``rota``, both under
``transport/discovery``; keys and seals are the Keystore's.

What it finds it tells the device's connection, or Pairing; it keeps nothing that it could not learn again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
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
    WhereBound,
    WhichRendezvous,
    WhomToSeek,
)
from springline.actors.findkeeping import wanted_of
from springline.actors.messages import (
    CONNECTIONS,
    KEYSTORE,
    PAIRING,
    TRANSPORT,
    Contact,
    ListDevices,
    connection_name,
)
from springline.actors.shell import IoShell, Sender, receives
from springline.errors import LocalFault, Lost, SpringlineError
from springline.store.devices import PairedDevice, TrustLevel
from springline.transport.address import Address
from springline.transport.discovery import parcels, records, tags
from springline.transport.discovery.joining import Membership
from springline.transport.discovery.parcels import Parcel
from springline.transport.discovery.rota import Rota
from springline.transport.discovery.routes import ANYWHERE, reach
from springline.transport.discovery.sockets import bind
from springline.transport.discovery.table import Table
from springline.transport.discovery.watch import Sighting, Wanted, Watch

log = logging.getLogger("springline.dht")

VIA = "DHT"

RETRY = 0.5
"""Seconds after which the Keystore or the transport, which is just being restarted, is asked again."""

REOPEN = 15.0
"""Seconds after which sockets are tried again where there were none."""

AT_ONCE = 4
"""Searches at a time: of many devices that are sought each has its turn."""

LOOKS = (2.0, 4.0, 8.0, 20.0)
"""Seconds between two looks for one device, however long it is away: when it is back, perhaps only this side can dial.
A try below and then a look, each a quarter late, and the searches of both must not take a minute together."""

TRIES = (2.0, 4.0, 8.0, 15.0)
"""Seconds between two tries to put down a record that nobody has taken: nobody tells when the way out works again."""

LIFETIME, RENEW = 7200.0, 1800.0
"""Seconds that a record is good for, and after which it is replaced."""

LINKED = (TrustLevel.TRUSTED, TrustLevel.VERIFIED)

FRIENDS = 24
"""Paired devices that are tried as nodes to begin with; of each :data:`FRIENDS_AT` addresses."""

FRIENDS_AT = 3

Who = UUID | bytes
"""A paired device; or the secret of an invitation."""


@dataclass(frozen=True, slots=True)
class DhtArgs:
    """:param bootstrap: ``host:port`` of nodes to begin with."""

    bootstrap: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Laid:
    """What of this device lies in the table for somebody."""

    addresses: tuple[Address, ...]
    period: int
    until: float


class DhtDiscovery(IoShell):
    """Takes ``Seek`` and ``Rendezvous``; tells ``Found`` and ``FoundInviter``."""

    async def start(self, args: DhtArgs) -> None:
        """Begin with nobody, and ask whom to seek."""
        self._bootstrap = tuple(Address.parse(text) for text in args.bootstrap)
        self._table: Table | None = None
        self._membership: Membership | None = None
        self._trouble = ""
        self._sought: frozenset[UUID] = frozenset()
        self._rendezvous = Rendezvous()
        self._watch: Watch[Who] = Watch()
        self._wanted: dict[UUID, tuple[Wanted[Who], ...]] = {}
        self._laid: dict[Who, _Laid] = {}
        self._looks: Rota[Who] = Rota(LOOKS)
        self._puts: Rota[Who] = Rota(TRIES)
        self._period = -1
        self._present: frozenset[str] | None = None
        self._searching = 0
        self._news = asyncio.Event()
        self.spawn(self._work())

    async def stop(self) -> None:
        """Be no node any more."""
        if self._table is not None:
            self._table.close()

    # -- what it is told -------------------------------------------------------------------------------------------

    @receives(Seek)
    def seek(self, message: Seek, sender: Sender) -> None:
        """These devices are to be found, and no others any more."""
        for device in self._sought - message.devices:
            self._watch.forget(device)
            self._wanted.pop(device, None)
        self._sought = message.devices
        self._reckon()

    @receives(Rendezvous)
    def rendezvous(self, message: Rendezvous, sender: Sender) -> None:
        """These invitations are open here, and those are looked for."""
        for secret in set(self._rendezvous.sought) - set(message.sought):
            self._watch.forget(secret)
        for secret in message.sought:
            self._watch.look_out(secret, (_meeting(secret),))
        self._rendezvous = message
        self._reckon()

    def _reckon(self) -> None:
        """Who has turns, after that has changed."""
        now = self.loop.time()
        self._looks.keep(self._sought | set(self._rendezvous.sought), now)
        self._puts.keep(self._sought | set(self._rendezvous.offered), now)
        for who in [who for who, laid in self._laid.items() if laid.until <= now]:
            del self._laid[who]
        if self._membership is not None and self._membership.is_alone and self._is_needed():
            self._membership.hurry()
        self._news.set()

    def _is_needed(self) -> bool:
        return len(self._looks) + len(self._puts) > 0

    @receives(AddressesChanged)
    async def addresses_changed(self, message: AddressesChanged, sender: Sender) -> None:
        """What lies in the table is not true any more."""
        self._puts.hurry(self.loop.time())
        self._news.set()
        await self._learn_own()

    async def _learn_own(self) -> None:
        """Can we be asked from outside?"""
        with contextlib.suppress(SpringlineError):
            own: tuple[Address, ...] = await self.ask(TRANSPORT, OwnAddresses())
            if self._table is not None:
                self._table.is_mapped = any(reach(address.host) == ANYWHERE for address in own)

    @receives(NetworkChanged)
    def network_changed(self, message: NetworkChanged, sender: Sender) -> None:
        """Nobody may be where it was, nor we: begin anew, as somebody else if we are elsewhere."""
        if self._table is not None and self._membership is not None:
            moved = self._present is not None and message.addresses != self._present
            self._membership.hurry(self._table.renew() if moved else ())
        self._present = message.addresses
        self._laid = {}  # anew: what is just being put down was made before
        self._afresh()

    def _afresh(self) -> None:
        self._looks.hurry(self.loop.time())
        self._puts.hurry(self.loop.time())
        self._news.set()

    @receives(HowItGoes)
    def how_it_goes(self, message: HowItGoes, sender: Sender) -> Health:
        """Does the table answer?"""
        table, membership = self._table, self._membership
        if table is None or membership is None:
            return Health(False if self._trouble else None, self._trouble or "it is just starting")
        since = table.answered
        if since is not None and not membership.is_alone:
            nodes = "1 neighbour" if table.neighbours == 1 else f"{table.neighbours} neighbours"
            refused = f"; {self._watch.refused} records were not believed" if self._watch.refused else ""
            return Health(True, f"{nodes}, last answer {since:.0f} s ago{refused}")
        asked = f"none of {membership.greeted} addresses answers" if membership.greeted else "nobody to begin with"
        return Health(False, asked, "give --bootstrap HOST:PORT of a machine that is always on ('springline dht')")

    # -- turns -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self.tell(CONNECTIONS, WhomToSeek())  # now, under our name: what is told from here on gets here
        self.tell(PAIRING, WhichRendezvous())
        await self._open()
        while True:
            self._news.clear()
            self._give_turns()
            now, wall = self.loop.time(), time.time()
            until = min(self._looks.wait(now), self._puts.wait(now)) if self._searching < AT_ONCE else RENEW
            wait = max(RETRY / 10, min(until, tags.begins(self._period + 1) - wall, RENEW))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _open(self) -> None:
        """Become a node, where the transport listens."""
        while self._table is None:
            try:
                where: tuple[Address, ...] = await self.ask(TRANSPORT, WhereBound())
                self._table = Table(bind(where))
            except LocalFault as error:
                if str(error) != self._trouble:
                    log.warning("devices are not found over the internet: %s", error)
                self._trouble = str(error)
                await asyncio.sleep(REOPEN)
            except SpringlineError:
                await asyncio.sleep(RETRY)
        await self._learn_own()
        self._membership = Membership(self._table, self._bootstrap, self._friends, self._afresh, self._is_needed)
        self.spawn(self._membership.keep())

    def _give_turns(self) -> None:
        now, period = self.loop.time(), tags.period_at(time.time())
        if period != self._period:
            self._period = period
            self._puts.hurry(now)
        while self._searching < AT_ONCE:
            if (turn := self._puts.take(now)) is not None:
                self.spawn(self._put(turn[0]))
            elif (turn := self._looks.take(now)) is not None:
                self.spawn(self._look(*turn))
            else:
                return
            self._searching += 1

    def _turn_over(self, rota: Rota[Who], who: Who, pause: float | None) -> None:
        rota.done(who, self.loop.time(), random.random(), pause)  # noqa: S311 - it spreads, it hides nothing
        self._searching -= 1
        self._news.set()

    # -- saying where we are ---------------------------------------------------------------------------------------

    async def _put(self, who: Who) -> None:
        pause = None
        try:
            own: tuple[Address, ...] = await self.ask(TRANSPORT, OwnAddresses())
            if await self._lay(who, own):
                pause = RENEW
            elif self._membership is not None and not self._membership.is_alone:
                self._membership.hurry()  # those that were there are gone
        except (LocalFault, Lost):
            pause = RETRY
        except SpringlineError as error:
            log.debug("later: %s", error)
        self._turn_over(self._puts, who, pause)

    async def _lay(self, who: Who, own: tuple[Address, ...]) -> bool:
        """Whether a record of ours lies where ``who`` looks."""
        assert self._table is not None  # noqa: S101 - there are no turns without
        now, period, book = self.loop.time(), self._period, self._laid
        laid = book.get(who)
        if laid is not None and (laid.addresses, laid.period) == (own, period) and now < laid.until:
            return True
        parcel = await self._parcel(who, own)
        if parcel is None or await self._table.put(parcel) == 0:
            return False
        book[who] = _Laid(own, period, now + RENEW / 2)
        return True

    async def _parcel(self, who: Who, own: tuple[Address, ...]) -> Parcel | None:
        wall = time.time()
        if isinstance(who, bytes):
            there = tags.meeting(who)
            return parcels.make(there.key, records.seal(own, there, None, wall, LIFETIME), int(wall * 1000))
        made: tuple[Announcement, ...] = await self.ask(KEYSTORE, SealRecords((who,), own, LIFETIME))
        return next((parcels.make(one.key, one.record, int(wall * 1000)) for one in made), None)

    # -- looking for others ----------------------------------------------------------------------------------------

    async def _look(self, who: Who, taken: int) -> None:
        pause = None
        try:
            for wanted in await self._spots(who, taken):
                await self._look_at(wanted)
        except (LocalFault, Lost):
            pause = RETRY
        except SpringlineError as error:
            log.debug("later: %s", error)
        if isinstance(who, bytes):
            pause = min(LOOKS[min(taken, 2)], LOOKS[2])  # an invitation is good for minutes
        self._turn_over(self._looks, who, pause)

    async def _spots(self, who: Who, taken: int) -> list[Wanted[Who]]:
        """Where to look now: in the present period, and by turns in the one before and the one after."""
        if isinstance(who, bytes):
            return [_meeting(who)]
        wanted, wall = self._wanted.get(who, ()), time.time()
        if not tags.are_due((one.spot.period for one in wanted), wall):
            lookouts: tuple[Lookout, ...] = await self.ask(KEYSTORE, FindingKeys((who,), tags.around(wall)))
            wanted = tuple(wanted_of(one) for one in lookouts)
            if who not in self._sought:
                return []
            self._wanted[who] = wanted
            self._watch.look_out(who, wanted)
        beside = self._period + (-1 if taken % 2 else 1)
        return [one for one in wanted if one.spot.period in (self._period, beside)]

    async def _look_at(self, wanted: Wanted[Who]) -> None:
        assert self._table is not None  # noqa: S101 - there are no turns without
        found = await self._table.get(parcels.place_of(wanted.spot.key))
        for parcel in sorted(found, key=lambda one: -one.number):
            sighting = self._watch.hear(wanted.spot.tag, parcel.record, self.loop.time(), time.time())
            if sighting is not None and sighting.addresses:
                self._tell_of(sighting)

    def _tell_of(self, sighting: Sighting[Who]) -> None:
        who, addresses = sighting.who, sighting.addresses
        if isinstance(who, UUID):
            self.tell(connection_name(who), Found(who, addresses, VIA, sighting.issued_at))
        else:
            self.tell(PAIRING, FoundInviter(who, addresses, VIA))

    # -- nodes to begin with ---------------------------------------------------------------------------------------

    async def _friends(self) -> Iterable[Address]:
        """Where paired devices were last: they are nodes too."""
        found: list[Address] = []
        with contextlib.suppress(SpringlineError):
            devices: list[PairedDevice] = list(await self.ask(KEYSTORE, ListDevices()))
            random.shuffle(devices)
            for device in [device for device in devices if device.trust in LINKED][:FRIENDS]:
                known: tuple[Address, ...] = await self.ask(KEYSTORE, Contact(device.info.device_id))
                found += known[:FRIENDS_AT]
        return found


def _meeting(secret: bytes) -> Wanted[Who]:
    return Wanted(secret, tags.meeting(secret), None)
