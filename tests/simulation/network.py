"""The simulated network: sites with routers, hosts that move between them, and whether a packet gets through.

The rule: a site is a local network with one way out. Behind a NAT, hosts have private addresses, which are used again
in every other such site, so an address may lead to a stranger or to nobody; in goes only what answers something that
went out, or what the router was asked to pass on. Every packet asks :meth:`Network.passes` at the moment it is sent, so
whatever breaks, breaks for what is under way, too. Datagrams are lost, doubled and overtake each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from springline.tests.simulation.clock import Clock, Queue
from springline.transport.address import Address

PORT = 7400
DOUBLED = 0.01
"""The chance of a datagram to come twice."""

MOST_LOST = 0.01
LONGEST_TRIP = 1.0
"""A way that loses more packets than this, or takes more seconds there and back, promises nothing."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Of a site's way out. :param loss: the chance of a packet. :param delay: seconds, one way."""

    loss: float = 0.0
    delay: float = 0.01
    jitter: float = 0.002


GOOD = Quality()


@dataclass(slots=True, eq=False)
class Site:
    """A local network.

    :param nat: its router translates addresses. :param maps: it passes on a port when asked to. :param hairpin: it lets
        its own hosts reach such a port from inside. :param rejects: it answers packets of a connection that it has
        forgotten by a reset. :param multicast: hosts hear each other's multicasts. :param weather: what its way out
        is like for the time being, the latest last.
    :param generation: grows when the router forgets its connections.
    """

    number: int
    nat: bool
    maps: bool = False
    hairpin: bool = False
    rejects: bool = False
    multicast: bool = True
    up: bool = True
    deaf: bool = False
    mute: bool = False
    weather: list[Quality] = field(default_factory=list)
    generation: int = 0
    public: str = ""
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def quality(self) -> Quality:
        """Of its way out, now."""
        return self.weather[-1] if self.weather else GOOD


class Host:
    """A machine, as the network sees it.

    :param number: of its node. :param clock: the machine's.
    """

    def __init__(self, number: int, clock: Clock) -> None:
        self.number = number
        self.clock = clock
        self.on = True  # the machine has power
        self.boot = 0  # how often it was started
        self.site: Site | None = None
        self.ip = ""
        self.mapped = False  # its router has granted a port
        self.accept: Callable[[Any, Address], None] | None = None  # the node's listener, or None: refused
        self.hear: Callable[[Any], None] | None = None  # takes datagrams

    @property
    def awake(self) -> bool:
        """True if it runs."""
        return self.on and not self.clock.asleep

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What its node tells others."""
        if self.site is None:
            return ()
        outside = (address_of(self.site.public, PORT + self.number),) if self.site.nat and self.mapped else ()
        return (*outside, address_of(self.ip, PORT))


_addresses: dict[tuple[str, int], Address] = {}


def address_of(ip: str, port: int) -> Address:
    """The same object for the same address: there are millions."""
    known = _addresses.get((ip, port))
    if known is None:
        known = _addresses[ip, port] = Address(ip, port)
    return known


class Network:
    """All sites and hosts."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.sites: list[Site] = []
        self.hosts: list[Host] = []
        self.holes: set[tuple[int, int]] = set()  # from, to: nothing gets through
        self.knocking: dict[Any, None] = {}  # connects that wait for an answer; see wire.py
        self._public: dict[str, Site | Host] = {}

    # -- who is where ------------------------------------------------------------------------------------------------

    def add_site(
        self, *, nat: bool, maps: bool = False, hairpin: bool = False, rejects: bool = False, multicast: bool = True
    ) -> Site:
        """One more; what it is like is said as of :class:`Site`."""
        site = Site(len(self.sites), nat, maps, hairpin, rejects, multicast)
        self.sites.append(site)
        if nat:
            self.renumber(site)
        return site

    def renumber(self, site: Site) -> None:
        """The provider gives the router another address; it forgets its connections."""
        self._public.pop(site.public, None)
        site.public = self._free_public()
        self._public[site.public] = site
        self.rebind(site)

    def rebind(self, site: Site) -> None:
        """The router forgets its connections."""
        site.generation += 1

    def leave(self, host: Host) -> None:
        """The host is nowhere."""
        if host.site is not None:
            del host.site.hosts[host.ip]
            self._public.pop(host.ip, None)
        host.site, host.ip, host.mapped = None, "", False

    def join(self, host: Host, site: Site) -> None:
        """The host gets an address there; it may be one that another had before."""
        self.leave(host)
        host.site = site
        host.ip = self._free_private(site) if site.nat else self._free_public()
        if not site.nat:
            self._public[host.ip] = host
        site.hosts[host.ip] = host

    def _free_public(self) -> str:
        draw = self.queue.random.randrange
        while True:
            ip = f"203.0.{draw(4)}.{draw(1, 255)}"
            if ip not in self._public:
                return ip

    def _free_private(self, site: Site) -> str:
        draw = self.queue.random.randrange
        while True:
            ip = f"192.168.1.{draw(2, 2 + max(8, 2 * len(site.hosts)))}"
            if ip not in site.hosts:
                return ip

    # -- what gets through -------------------------------------------------------------------------------------------

    def resolve(self, host: Host, address: Address) -> Host | None:
        """Whose machine that address means to ``host``, or None: nobody's."""
        if host.site is None:
            return None
        if address.host.startswith("192.168."):
            return host.site.hosts.get(address.host) if host.site.nat and address.port == PORT else None
        found = self._public.get(address.host)
        if isinstance(found, Site):
            if found is host.site and not found.hairpin:
                return None
            mapped = (inside for inside in found.hosts.values() if inside.mapped)
            return next((inside for inside in mapped if PORT + inside.number == address.port), None)
        return found if address.port == PORT else None

    def passes(self, src: Host, dst: Host) -> bool:
        """True if the way from one to the other is there now."""
        here, there = src.site, dst.site
        if here is None or there is None or (src.number, dst.number) in self.holes:
            return False
        return here is there or (here.up and there.up and not here.mute and not there.deaf)

    def loses(self, src: Host, dst: Host) -> bool:
        """True if this packet is lost although there is a way."""
        loss = self.loss(src, dst)
        return loss > 0.0 and self.queue.random.random() < loss

    def loss(self, src: Host, dst: Host) -> float:
        """The chance of a packet to be lost."""
        here, there = src.site, dst.site
        if here is there or here is None or there is None:
            return 0.0
        return here.quality.loss + there.quality.loss

    def trip(self, src: Host, dst: Host) -> float:
        """Seconds one packet takes, one way."""
        here, there = src.site, dst.site
        if here is there or here is None or there is None:
            return 0.0005
        jitter = here.quality.jitter + there.quality.jitter
        return here.quality.delay + there.quality.delay + jitter * self.queue.random.random()

    def is_good(self, src: Host, dst: Host) -> bool:
        """True if packets get through both ways, well enough to promise something."""
        if not (self.passes(src, dst) and self.passes(dst, src)) or self.loss(src, dst) > MOST_LOST:
            return False
        here, there = src.site, dst.site
        if here is there or here is None or there is None:
            return True
        one_way = sum(site.quality.delay + site.quality.jitter for site in (here, there))
        return 2 * one_way <= LONGEST_TRIP

    def leads(self, src: Host, address: Address, dst: Host) -> bool:
        """True if ``src`` reaches ``dst`` by dialling that address."""
        return self.resolve(src, address) is dst

    def changed(self) -> None:
        """Something is different: who knocks in vain may be heard now."""
        for connect in list(self.knocking):
            connect.reconsider()

    # -- datagrams ---------------------------------------------------------------------------------------------------

    def datagram(self, src: Host, dst: Host, message: object) -> None:
        """Send one; it may never come, come twice, or come after a later one."""
        if not self.passes(src, dst) or self.loses(src, dst):
            return
        for _ in range(2 if self.queue.random.random() < DOUBLED else 1):
            late = self.queue.random.random() ** 8  # most are quick
            self.queue.after(self.trip(src, dst) + late, self._arrive, dst, dst.boot, message)

    def _arrive(self, dst: Host, boot: int, message: object) -> None:
        if dst.awake and dst.boot == boot and dst.hear is not None and dst.site is not None:
            dst.hear(message)
