"""DhtDiscovery: finds devices over the internet, in a table that strangers keep (``transport/discovery/table``).

The rule: this device is a node of the table for as long as it runs, and answers others. But it says where it is, and
looks for others, only while somebody is sought: each record is for one device, under a place that only the two know,
and who keeps it can't read it. Whose turn it is, where to look and whom to believe is decided in
``transport/discovery/seeking.py``; keys and seals are the Keystore's.

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
from springline.transport.discovery.routes import ANYWHERE, reach
from springline.transport.discovery.seeking import LIFETIME, RENEW, RETRY, Seeking, Turn, Who
from springline.transport.discovery.sockets import bind
from springline.transport.discovery.table import Table
from springline.transport.discovery.watch import Sighting, Wanted

log = logging.getLogger("springline.dht")

VIA = "DHT"

REOPEN = 15.0
"""Seconds after which sockets are tried again where there were none."""

LINKED = (TrustLevel.TRUSTED, TrustLevel.VERIFIED)

FRIENDS = 24
"""Paired devices that are tried as nodes to begin with; of each :data:`FRIENDS_AT` addresses."""

FRIENDS_AT = 3


@dataclass(frozen=True, slots=True)
class DhtArgs:
    """:param bootstrap: ``host:port`` of nodes to begin with."""

    bootstrap: tuple[str, ...] = ()


class DhtDiscovery(IoShell):
    """Takes ``Seek`` and ``Rendezvous``; tells ``Found`` and ``FoundInviter``."""

    async def start(self, args: DhtArgs) -> None:
        """Begin with nobody, and ask whom to seek."""
        self._bootstrap = tuple(Address.parse(text) for text in args.bootstrap)
        self._table: Table | None = None
        self._membership: Membership | None = None
        self._trouble = ""
        self._seeking = Seeking()
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
        self._seeking.seek(message.devices, self.loop.time())
        self._reckon()

    @receives(Rendezvous)
    def rendezvous(self, message: Rendezvous, sender: Sender) -> None:
        """These invitations are open here, and those are looked for."""
        self._seeking.meet(message.offered, message.sought, self.loop.time())
        self._reckon()

    def _reckon(self) -> None:
        if self._membership is not None and self._membership.is_alone and self._seeking.is_needed():
            self._membership.hurry()
        self._news.set()

    @receives(AddressesChanged)
    async def addresses_changed(self, message: AddressesChanged, sender: Sender) -> None:
        """What lies in the table is not true any more."""
        self._seeking.puts.hurry(self.loop.time())
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
        elsewhere = self._seeking.moved(message.addresses, self.loop.time())
        if self._table is not None and self._membership is not None:
            self._membership.hurry(self._table.renew() if elsewhere else ())
        self._news.set()

    def _joined(self) -> None:
        self._seeking.afresh(self.loop.time())
        self._news.set()

    @receives(HowItGoes)
    def how_it_goes(self, message: HowItGoes, sender: Sender) -> Health:
        """Does the table answer?"""
        table, membership, watch = self._table, self._membership, self._seeking.watch
        if table is None or membership is None:
            return Health(False if self._trouble else None, self._trouble or "it is just starting")
        since = table.answered
        if since is not None and not membership.is_alone:
            nodes = "1 neighbour" if table.neighbours == 1 else f"{table.neighbours} neighbours"
            refused = f"; {watch.refused} records were not believed" if watch.refused else ""
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seeking.wait(self.loop.time(), time.time())):
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
        self._membership = Membership(
            self._table, self._bootstrap, self._friends, self._joined, self._seeking.is_needed
        )
        self.spawn(self._membership.keep())

    def _give_turns(self) -> None:
        while (turn := self._seeking.next(self.loop.time(), time.time())) is not None:
            self.spawn(self._take(turn))

    async def _take(self, turn: Turn) -> None:
        pause = None
        try:
            pause = await (self._look(turn) if turn.is_look else self._put(turn.who))
        except (LocalFault, Lost):
            pause = RETRY
        except SpringlineError as error:
            log.debug("later: %s", error)
        self._seeking.over(turn, self.loop.time(), random.random(), pause)  # noqa: S311 - it spreads, it hides nothing
        self._news.set()

    # -- saying where we are ---------------------------------------------------------------------------------------

    async def _put(self, who: Who) -> float | None:
        """Seconds after which that is to be looked at again, if a record of ours lies where ``who`` looks."""
        own: tuple[Address, ...] = await self.ask(TRANSPORT, OwnAddresses())
        if await self._lay(who, own):
            return RENEW
        if self._membership is not None and not self._membership.is_alone:
            self._membership.hurry()  # those that were there are gone
        return None

    async def _lay(self, who: Who, own: tuple[Address, ...]) -> bool:
        assert self._table is not None  # noqa: S101 - there are no turns without
        laying = self._seeking.lay(who, own, self.loop.time())
        if laying is None:
            return True
        parcel = await self._parcel(who, own)
        if parcel is None or await self._table.put(parcel) == 0:
            return False
        self._seeking.lies(laying)
        return True

    async def _parcel(self, who: Who, own: tuple[Address, ...]) -> Parcel | None:
        wall = time.time()
        if isinstance(who, bytes):
            there = tags.meeting(who)
            return parcels.make(there.key, records.seal(own, there, None, wall, LIFETIME), int(wall * 1000))
        made: tuple[Announcement, ...] = await self.ask(KEYSTORE, SealRecords((who,), own, LIFETIME))
        return next((parcels.make(one.key, one.record, int(wall * 1000)) for one in made), None)

    # -- looking for others ----------------------------------------------------------------------------------------

    async def _look(self, turn: Turn) -> None:
        who, wall = turn.who, time.time()
        if isinstance(who, UUID) and self._seeking.must_ask(who, wall):
            lookouts: tuple[Lookout, ...] = await self.ask(KEYSTORE, FindingKeys((who,), tags.around(wall)))
            self._seeking.look_out(who, tuple(map(wanted_of, lookouts)))
        for wanted in self._seeking.spots(turn):
            await self._look_at(wanted)

    async def _look_at(self, wanted: Wanted[Who]) -> None:
        assert self._table is not None  # noqa: S101 - there are no turns without
        found = await self._table.get(parcels.place_of(wanted.spot.key))
        for parcel in sorted(found, key=lambda one: -one.number):
            sighting = self._seeking.watch.hear(wanted.spot.tag, parcel.record, self.loop.time(), time.time())
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
