"""A simulated node: its machine, its processes, and the messages between them.

The rule: the processes are those of ``supervisors/tree.py`` as far as they matter for links, and know each other by
name: a message to one that has died is lost, one to its successor arrives. Messages take a moment, and those of one
process to another keep their order. Whatever dies is started again after about as long as a fork takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.actors.finding import DHT, MDNS, PORTS
from springline.actors.messages import CONNECTIONS, TRANSPORT
from springline.tests.simulation.book import Book
from springline.tests.simulation.clock import Clock, Loop
from springline.tests.simulation.connection import Connection
from springline.tests.simulation.dht import Dht
from springline.tests.simulation.keystore import Keystore
from springline.tests.simulation.mdns import Mdns
from springline.tests.simulation.monitor import Monitor
from springline.tests.simulation.network import Host, Site
from springline.tests.simulation.ports import Ports
from springline.tests.simulation.process import Process
from springline.tests.simulation.transport import Transport
from springline.tests.simulation.wire import End
from springline.transport.address import Address
from springline.transport.link import Phase
from springline.transport.network import Change
from springline.transport.story import Entry, Story, process_ended

if TYPE_CHECKING:
    from springline.tests.simulation.world import World

SEEK_AFTER = 0.5
"""Seconds, as of ``supervisors/connections.py``."""

LOOK_FOR_UNTOLD = 60.0
"""Seconds, as of ``protocols/trust/handler.py``."""

MOST_LANES = 400

FINDERS = ("mdns", "dht")


class Manager(Process):
    """Keeps a connection for each device that is trusted, and knows how their links are."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.stories: dict[UUID, Story] = {}
        self._states: dict[UUID, str] = {}
        self._sought: frozenset[UUID] | None = None
        self._seeking_soon = False
        self.load()

    def killed(self) -> None:
        """Its children go with it."""
        for device in list(self.node.connections):
            self.node.connections.pop(device).kill()

    def load(self) -> None:
        """Have a connection for each device that is trusted."""
        book, wall = self.node.book, self.node.clock.wall
        for device in book.devices:
            if book.trust(device, wall).value in ("trusted", "verified"):
                if device not in self.node.connections:
                    self.start_soon(device)
            elif device in self.node.connections:
                self.node.connections.pop(device).stop()
        self._seek_soon()

    def start_soon(self, device: UUID) -> None:
        """After about as long as a fork takes."""
        self.loop.call_later(0.05 + 0.15 * self.node.world.queue.random.random(), self._start, device)

    def _start(self, device: UUID) -> None:
        book = self.node.book
        linked = book.trust(device, self.node.clock.wall).value in ("trusted", "verified")
        if device not in self.node.connections and linked:
            self.node.connections[device] = Connection(self.node, device)
            self.node.look_soon(device)
            self.want(device)

    def want(self, device: UUID) -> None:
        """Tell its connection what the user wants."""
        wanted = self.node.book.devices[device].auto_connect
        self.node.tell(("manager", device), lambda: self.node.connections.get(device), lambda one: one.wanted(wanted))
        self._seek_soon()

    def exited(self, device: UUID) -> None:
        """A connection has been killed."""
        entry = process_ended(self._states.get(device, ""), "killed", self.node.clock.wall)
        self.status(device, entry.after, entry)
        self.start_soon(device)

    def status(self, device: UUID, state: str, entry: Entry) -> None:
        """How a link is now."""
        if (self._states.get(device) == Phase.CONNECTED.value) != (state == Phase.CONNECTED.value):
            self._seek_soon()
        self._states[device] = state
        self.stories[device] = self.stories.get(device, Story()).add(entry)
        self.node.world.watch.told(self.node, device, self.stories[device])

    def network_changed(self, change: Change) -> None:
        """Tell all connections."""
        for device in list(self.node.connections):
            self.node.tell(
                ("manager", device),
                lambda device=device: self.node.connections.get(device),  # type: ignore[misc]
                lambda connection: connection.network_changed(change.what, change.gone),
            )

    def whom_to_seek(self, name: str) -> None:
        """A finder has just started."""
        sought, node = self._sought or frozenset(), self.node
        node.tell(("manager", name), lambda: getattr(node, name), lambda finder: finder.seek(sought))

    def _seek_soon(self) -> None:
        if not self._seeking_soon:
            self._seeking_soon = True
            self.loop.call_later(SEEK_AFTER, self._seek)

    def _seek(self) -> None:
        self._seeking_soon = False
        book, wall = self.node.book, self.node.clock.wall
        sought = frozenset(
            peer
            for peer, device in book.devices.items()
            if device.auto_connect
            and book.trust(peer, wall).value in ("trusted", "verified")
            and self._states.get(peer) != Phase.CONNECTED.value
        )
        if sought != self._sought:
            self._sought = sought
            for name in FINDERS:
                self.whom_to_seek(name)


class Node:
    """One device. :param number: its identity's, too."""

    NAMES = {CONNECTIONS: "manager", DHT: "dht", MDNS: "mdns", PORTS: "ports", TRANSPORT: "transport"}
    """The processes by the names that actors have."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.clock = Clock(world.queue)
        self.host = Host(number, self.clock)
        self.book = Book(number)
        self.name = f"n{number}"
        self.running = False  # its app
        self.connections: dict[UUID, Connection] = {}
        self.transport: Transport | None = None
        self.keystore: Keystore | None = None
        self.manager: Manager | None = None
        self.monitor: Monitor | None = None
        self.ports: Ports | None = None
        self.mdns: Mdns | None = None
        self.dht: Dht | None = None
        self.interrupt: Callable[[], object] | None = None  # see plan.py
        self._loop = Loop(self.clock)
        self._lanes: dict[object, float] = {}
        self._backlog: list[tuple[End, Address]] = []
        self._looks_for_untold = False

    def note(self, text: str) -> None:
        """For who reads the trace."""
        self.world.note(self, text)

    def name_of(self, device: UUID) -> str:
        """A node's name by its id."""
        return self.world.by_id[device].name

    # -- the app -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the app: the order is that of the tree."""
        self.running = True
        self._loop = Loop(self.clock)
        self._lanes.clear()
        self._looks_for_untold = False
        self.keystore = Keystore(self)
        self.transport = Transport(self)
        self.host.accept, self.host.hear = self._accept, self._hear
        for name in ("monitor", "ports", "mdns", "dht", "manager"):
            setattr(self, name, KINDS[name](self))
        self.look_for_untold()

    def stop(self, *, orderly: bool) -> None:
        """End the app; if not orderly, as a SIGKILL of all of it does."""
        self.running = False
        self.host.accept = self.host.hear = None
        if orderly:
            for connection in self.connections.values():
                connection.stop()
        self._loop.close()
        for name in KINDS:
            process = getattr(self, name)
            if process is not None:
                process.kill()
                setattr(self, name, None)
        self.connections.clear()
        for end, _ in self._backlog:
            end.close()
        self._backlog.clear()

    def power_off(self) -> None:
        """The machine crashes: nobody is told anything."""
        self.host.on = False
        self.host.boot += 1  # whatever it had is unknown from now on
        if self.running:
            self.stop(orderly=False)

    def power_on(self) -> None:
        """It starts again, and the app with it."""
        self.host.on = True
        if self.clock.asleep:
            self.clock.wake()
        self.start()

    # -- its processes -----------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL to the one of that name; it is back after a moment."""
        process = getattr(self, name)
        if process is None:
            return
        process.kill()
        setattr(self, name, None)
        pause = 0.05 + 0.25 * self.world.queue.random.random()
        self._loop.call_later(pause, self._restart, name)

    def _restart(self, name: str) -> None:
        setattr(self, name, KINDS[name](self))
        if self.transport is not None and name == "transport":
            backlog, self._backlog = self._backlog, []
            for end, remote in backlog:
                self.transport.greet(end, remote)

    def kill_connection(self, device: UUID) -> None:
        """SIGKILL to that one."""
        connection = self.connections.pop(device, None)
        if connection is not None:
            connection.kill()
            self.tell(("system", "manager"), lambda: self.manager, lambda manager: manager.exited(device))

    def _accept(self, end: End, remote: Address) -> None:
        if self.transport is None:
            self._backlog.append((end, remote))  # the listening socket outlives it
        else:
            self.transport.greet(end, remote)

    def _hear(self, message: Any) -> None:
        if self.mdns is not None:
            self.mdns.hear(message)

    # -- messages ----------------------------------------------------------------------------------------------------

    def later(self, lane: object, callback: Callable[[], object]) -> None:
        """What is said on a lane arrives in order, a moment later."""
        if len(self._lanes) > MOST_LANES:
            self._lanes.clear()
        pause = 0.0001 + 0.001 * self.world.queue.random.random()
        due = max(self.clock.monotonic + pause, self._lanes.get(lane, 0.0))
        self._lanes[lane] = due
        self._loop.call_at(due, callback)

    def tell(
        self,
        lane: object,
        target: Callable[[], Any],
        message: Callable[[Any], object],
        lost: Callable[[None], object] | None = None,
    ) -> bool:
        """Tell whoever has that name when it arrives. False: nobody has it now.

        :param lost: called instead if nobody has it then.
        """

        def arrives() -> None:
            found = target()
            if found is not None:
                message(found)
            elif lost is not None:
                lost(None)

        there = target() is not None
        if there or lost is not None:
            self.later(lane, arrives)
        return there

    # -- what happens to its machine ---------------------------------------------------------------------------------

    def fall_asleep(self) -> None:
        """All of it stops."""
        self.attend()
        self.clock.sleep()

    def rotates(self) -> None:
        """A step of a rotation is written down, and not yet told: the moment for it to be interrupted."""
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            interrupt()

    def set_clock(self, wrong: float) -> None:
        """The wall clock is set. :param wrong: seconds ahead of true time."""
        self.attend()
        self.clock.wrong = wrong

    def attend(self) -> None:
        """See ``monitor.py``."""
        if self.monitor is not None and self.host.awake:
            self.monitor.attend()

    def move(self, site: Site | None) -> None:
        """Be in that network, or in none; the kernel tells who listens."""
        if site is None:
            self.world.network.leave(self.host)
        else:
            self.world.network.join(self.host, site)
        if self.monitor is not None:
            self.monitor.ring()

    # -- finding -----------------------------------------------------------------------------------------------------

    def look_soon(self, device: UUID | None = None) -> None:
        """Something is different, see ``mdns.py`` and ``dht.py``."""
        if self.host.awake:
            if self.mdns is not None:
                self.mdns.look_soon()
            if self.dht is not None:
                self.dht.look_soon(device)
            if self.ports is not None:
                self.ports.look_soon()

    def tell_of(self, device: UUID, via: str, addresses: tuple[Address, ...], issued_at: float) -> None:
        """A finder has found it; what its connection was told before is left out, as it changes nothing."""
        connection = self.connections.get(device)
        if connection is not None and (via, issued_at) not in connection.heard:
            self.tell(
                (via, device),
                lambda: self.connections.get(device),
                lambda connection: connection.found(via, addresses, issued_at),
            )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it says that it is."""
        return () if self.transport is None else self.transport.own_addresses()

    # -- trust -------------------------------------------------------------------------------------------------------

    def pair(self, other: Node, key: bytes) -> None:
        """Our half of a pairing. :param key: what both sides have derived in it."""
        self.book.pair(other.number, other.host.addresses, key, self.clock.wall)
        device = other.book.id
        if self.keystore is not None:
            self.keystore.paired(device)
        if self.manager is not None:
            known = self.connections.get(device)
            if known is not None and known.driver.state.phase is Phase.FAILED:
                self.connections.pop(device).stop()
            self.manager.load()

    def revoke(self, device: UUID) -> None:
        """The user's word: the link closes first."""
        self.book.revoke(device, self.clock.wall)
        self.barred(device, "revoked")
        self.spread()

    def barred(self, device: UUID, reason: str) -> None:
        """It may have no link any more."""
        connection = self.connections.get(device)
        if connection is not None:
            connection.revoked(reason)
        self.later(("barred", device), lambda: self.manager.load() if self.manager is not None else None)

    def spread(self) -> None:
        """Tell everybody connected who lacks a fact."""
        for device in self.book.untold():
            connection = self.connections.get(device)
            if connection is not None and connection.channel is not None:
                connection.push()

    def look_for_untold(self) -> None:
        """Once in a while."""
        if self.book.revocations.facts:
            self.spread()
        self._loop.call_later(LOOK_FOR_UNTOLD * (1 if self.book.revocations.facts else 10), self.look_for_untold)


KINDS: dict[str, type[Process]] = {
    "manager": Manager, "dht": Dht, "mdns": Mdns, "ports": Ports, "monitor": Monitor, "transport": Transport,
    "keystore": Keystore,
}  # fmt: skip
"""Its processes but for the connections, by their names, in the order in which they end."""
