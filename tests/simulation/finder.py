"""How simulated devices find each other: sealed records on the local network and in a table everybody can read.

The rule: a finder announces this device to those it seeks, and looks for their records, as ``actors/finding.py`` has
it; a record is for one device and one period of 24 h, says when it was made and how long it is good, and one that has
expired is ignored. Whether it is news is for ``transport/ways.py`` to say: a finder tells what it finds every time, or
a connection that was killed would never hear it again. The table gives what it has in any order, old records too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.tests.simulation.network import Host
from springline.tests.simulation.process import Process
from springline.transport.address import Address

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

PERIOD = 86400.0
LIFETIME = 7200.0
RENEWED = 1800.0
"""Seconds after which a record is made anew while its device is sought."""

LOOK = 20.0
"""Seconds between two looks into the table. With half a minute for a dead path, there is no time for more."""

MOST_STORED = 3


@dataclass(frozen=True, slots=True)
class Record:
    """Who says to whom where it is. Times are wall-clock seconds of who made it."""

    device: UUID
    seeker: UUID
    period: int
    addresses: tuple[Address, ...]
    issued_at: float


@dataclass(frozen=True, slots=True)
class Query:
    """On the local network: is that device here? ``origin`` asks."""

    device: UUID
    seeker: UUID
    origin: Host


class Table:
    """The distributed table, as one."""

    def __init__(self) -> None:
        self._values: dict[tuple[UUID, UUID], list[Record]] = {}

    def put(self, record: Record) -> None:
        """Keep the latest that came."""
        values = self._values.setdefault((record.device, record.seeker), [])
        values.append(record)
        del values[:-MOST_STORED]

    def get(self, device: UUID, seeker: UUID) -> list[Record]:
        """What there is."""
        return list(self._values.get((device, seeker), ()))


class Finder(Process):
    """One node's mDNS and DHT finders in one."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._sought: frozenset[UUID] = frozenset()
        self._began: dict[UUID, float] = {}  # when it was looked for first
        self._looking: set[UUID] = set()  # for whom the next look is planned
        self._renewing: set[UUID] = set()
        self._to_put: dict[UUID, Record] = {}  # the latest of each, until it is in the table
        node.tell(("finder", "manager"), lambda: node.manager, lambda manager: manager.whom_to_seek())

    def seek(self, devices: frozenset[UUID]) -> None:
        """These shall be connected and are not."""
        news = devices - self._sought
        self._sought = devices
        for device in sorted(news):
            self._announce(device)
            self._began[device] = self.loop.time()
            self._look(device)
            if device not in self._renewing:
                self._renewing.add(device)
                self.loop.call_later(RENEWED, self._renew, device)

    def addresses_changed(self) -> None:
        """This device can be reached elsewhere."""
        for device in sorted(self._sought):
            self._announce(device)

    def network_changed(self) -> None:
        """Tell and look again."""
        for device in sorted(self._sought):
            self._announce(device)
            self._look(device)

    # -- announcing --------------------------------------------------------------------------------------------------

    def _renew(self, device: UUID) -> None:
        self._renewing.discard(device)
        if device in self._sought:
            self._renewing.add(device)
            self._announce(device)
            self.loop.call_later(RENEWED, self._renew, device)

    def _record(self, device: UUID) -> Record:
        wall = self.node.clock.wall
        return Record(self.node.book.id, device, int(wall // PERIOD), self.node.host.addresses, wall)

    def _announce(self, device: UUID) -> None:
        if self.node.host.site is None:
            return
        record = self._record(device)
        if (neighbour := self._neighbour(device)) is not None:
            self.node.world.network.datagram(self.node.host, neighbour, record)
        if device not in self._to_put:
            self.loop.call_later(0.5 + 2.5 * self.node.world.queue.random.random(), self._put, device)
        self._to_put[device] = record

    def _put(self, device: UUID) -> None:
        if not self._is_online() and device in self._sought:
            self.loop.call_later(LOOK, self._put, device)
            return
        record = self._to_put.pop(device)
        if self._is_online():
            self.node.world.table.put(record)
            self.node.world.by_id[device].look_soon(self.node.book.id)

    def _is_online(self) -> bool:
        site = self.node.host.site
        return site is not None and site.up and not site.mute and not site.deaf

    def _neighbour(self, device: UUID) -> Host | None:
        """The device, if it hears our multicasts; whoever else does has no use for them."""
        site, host = self.node.host.site, self.node.world.by_id[device].host
        return host if site is not None and site.multicast and host.site is site else None

    # -- looking -----------------------------------------------------------------------------------------------------

    def look_soon(self, device: UUID | None = None) -> None:
        """Something is different, so the next look at that device, or at any, may find something.

        Finders look every ``LOOK`` seconds; the looks that find what the one before has found are left out.
        """
        for each in sorted(self._sought) if device is None else (device,):
            if each in self._sought and each not in self._looking:
                self._looking.add(each)
                since = self.loop.time() - self._began[each]
                self.loop.call_later(LOOK - since % LOOK, self._look_planned, each)

    def _look_planned(self, device: UUID) -> None:
        self._looking.discard(device)
        if device in self._sought:
            self._look(device)

    def _look(self, device: UUID) -> None:
        own = self.node.book.id
        if (neighbour := self._neighbour(device)) is not None:
            self.node.world.network.datagram(self.node.host, neighbour, Query(device, own, self.node.host))
        if self._is_online() and self.node.world.table.get(device, own):
            self.loop.call_later(0.3 + 2.0 * self.node.world.queue.random.random(), self._got, device)

    def _got(self, device: UUID) -> None:
        if self._is_online():
            records = self.node.world.table.get(device, self.node.book.id)
            self.node.world.queue.random.shuffle(records)
            for record in records:
                self._found(record, "DHT")

    def hear(self, message: Any) -> None:
        """A datagram has come."""
        if isinstance(message, Record):
            self._found(message, "mDNS")
        elif message.device == self.node.book.id and message.seeker in self._sought:
            self.node.world.network.datagram(self.node.host, message.origin, self._record(message.seeker))

    def _found(self, record: Record, via: str) -> None:
        wall = self.node.clock.wall
        if record.seeker != self.node.book.id or record.device not in self._sought:
            return
        if abs(record.period - int(wall // PERIOD)) > 1 or wall >= record.issued_at + LIFETIME:
            return
        connection = self.node.connections.get(record.device)
        if connection is None or (via, record.issued_at) in connection.heard:
            return  # telling it again would change nothing
        self.node.tell(
            ("finder", record.device),
            lambda: self.node.connections.get(record.device),
            lambda connection: connection.found(via, record.addresses, record.issued_at),
        )
