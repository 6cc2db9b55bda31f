"""Connections of the simulated network, after TCP: in order or not at all, repeated until heard, reset by who is gone.

The rule: what an end sends arrives once and in order, or waits: a packet that does not get through is sent again after
0.2 s, 0.4 s, and so on, and everything behind it waits with it. Nobody hears that a connection is dead unless a packet
comes that says so; that is the point. A machine that has no such connection (any more) answers with a reset; one that
sleeps, is off, or has another address does not answer. A process that dies leaves its kernel to close; a machine that
crashes leaves nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable

from springline.tests.simulation.clock import Loop, Timer
from springline.tests.simulation.network import Host, Network, Site, address_of
from springline.transport.address import Address
from springline.transport.dialing import CONNECT_TIMEOUT

FIRST_REPEAT = 0.2
LONGEST_REPEAT = 120.0
ORPHANED = 60.0
"""Seconds for which a kernel goes on for an end that its process has closed."""

KNOCKS = (0.0, 1.0, 3.0)
"""Seconds after which a first packet is sent (again)."""

FIN = "closed by the other side"
RESET = "connection reset by peer"


class End:
    """One end of a connection. Its owner sets ``on_data`` and ``on_end``; before, what comes waits.

    :param nat: the generation of its router that the connection goes through, or None.
    """

    __slots__ = (
        "_arrivals", "_last", "_numbers", "_repeat", "_waiting", "boot", "closed_at", "host", "inbox", "ip", "kernel",
        "nat", "net", "on_data", "on_end", "open", "other", "site",
    )  # fmt: skip

    def __init__(self, net: Network, host: Host, other_site: Site | None) -> None:
        self.net, self.host, self.site, self.ip, self.boot = net, host, host.site, host.ip, host.boot
        crosses = host.site is not None and host.site is not other_site and host.site.nat
        self.nat = host.site.generation if crosses and host.site is not None else None
        self.kernel = Loop(host.clock)
        self.open = True
        self.closed_at = 0.0
        self.other: End = self
        self.on_data: Callable[[object], None] | None = None
        self.on_end: Callable[[str], None] | None = None
        self.inbox: list[object] = []
        self._numbers = 0
        self._last = 0.0  # when the latest packet arrives there
        self._waiting: list[tuple[int, object]] = []  # to be sent again, in order
        self._repeat: tuple[float, Timer] | None = None

    # -- the owner's side --------------------------------------------------------------------------------------------

    def attach(self, on_data: Callable[[object], None], on_end: Callable[[str], None]) -> None:
        """From now on the owner hears what comes, and what has come in the meantime."""
        self.on_data, self.on_end = on_data, on_end
        waiting, self.inbox = self.inbox, []
        for item in waiting:
            self._give(item)

    def detach(self) -> None:
        """What comes waits for the next owner."""
        self.on_data = self.on_end = None

    def send(self, item: object) -> None:
        """Send one; in vain if the end is closed."""
        if self.open:
            self._numbers += 1
            self._send(self._numbers, item)

    def close(self) -> None:
        """The owner is done with it, or has died; what was sent still goes out, and then the end of it."""
        if self.open:
            self.send(FIN)
            self.open, self.closed_at = False, self.net.queue.now
            self.on_data = self.on_end = None

    @property
    def alive(self) -> bool:
        """True if packets go both ways now, by what the network knows; who is at the ends is another matter."""
        return self.open and self.other.open and self._gets_through() and self.other._gets_through()

    # -- the network's side ------------------------------------------------------------------------------------------

    def _placed(self) -> bool:
        """True if whoever has the host's address is this host, and awake."""
        host = self.host
        return host.site is self.site and host.ip == self.ip and host.awake

    def _here(self) -> bool:
        """True if the host, besides, has not been started anew."""
        return self.host.boot == self.boot and self._placed()

    def _gets_through(self) -> bool:
        """True if a packet from here would reach the other host now."""
        other = self.other
        if not (self._here() and other._placed() and self.net.passes(self.host, other.host)):
            return False
        return not (self._is_forgotten() or other._is_forgotten())

    def _is_forgotten(self) -> bool:
        return self.nat is not None and self.site is not None and self.site.generation != self.nat

    def _send(self, number: int, item: object) -> None:
        if self._waiting or not self._transmit(number, item):
            self._wait(number, item)

    def _transmit(self, number: int, item: object) -> bool:
        net = self.net
        if not self._gets_through():
            if self._is_forgotten() and self.site is not None and self.site.rejects and self._here():
                net.queue.after(0.001, self._reset)
            return False
        if net.loses(self.host, self.other.host):
            return False
        self._last = max(self._last, net.queue.now + net.trip(self.host, self.other.host))
        net.queue.at(self._last, self.other._arrive, number, item)
        return True

    def _wait(self, number: int, item: object) -> None:
        bisect.insort(self._waiting, (number, item), key=lambda entry: entry[0])
        if self._repeat is None:
            self._repeat_after(FIRST_REPEAT)

    def _repeat_after(self, seconds: float) -> None:
        self._repeat = seconds, self.kernel.call_later(seconds, self._send_again)

    def _send_again(self) -> None:
        before = self._repeat[0] if self._repeat else FIRST_REPEAT
        self._repeat = None
        if self.host.boot != self.boot or (not self.open and self.net.queue.now - self.closed_at > ORPHANED):
            self._waiting.clear()
        while self._waiting:
            number, item = self._waiting[0]
            if not self._transmit(number, item):
                self._repeat_after(min(2 * before, LONGEST_REPEAT))
                return
            del self._waiting[0]

    def _arrive(self, number: int, item: object) -> None:
        sender = self.other
        if not self._placed() or sender._waiting:
            sender._wait(number, item)
        elif self.open and self.host.boot == self.boot:
            self._give(item)
        elif self.net.passes(self.host, sender.host):
            self.net.queue.after(self.net.trip(self.host, sender.host), sender._refused, number, item)
        else:
            sender._wait(number, item)

    def _refused(self, number: int, item: object) -> None:
        if self._here():
            self._reset()
        else:
            self._wait(number, item)

    def _give(self, item: object) -> None:
        if self.on_data is None or self.on_end is None:
            self.inbox.append(item)
        elif item in (FIN, RESET):
            self.on_end(str(item))
        else:
            self.on_data(item)

    def _reset(self) -> None:
        if self.open and self._here():
            self._waiting.clear()
            self.open = False
            self._give(RESET)


class Connect:
    """One attempt to connect: ``transport/dialing.connect``.

    :param loop: of the process that wants it. :param done: told the end, or why there is none.
    """

    def __init__(
        self, net: Network, host: Host, loop: Loop, address: Address, done: Callable[[End | None, str], None]
    ) -> None:
        self._net, self._host, self._loop, self._address, self._done = net, host, loop, address, done
        self._began = loop.time()
        self._over = False
        self._knock: Timer | None = None
        self._timeout = loop.call_later(CONNECT_TIMEOUT, self._end, None, "no answer in time")
        if host.site is None:
            loop.call_later(0.0, self._end, None, "network is unreachable")
        else:
            self._try()

    def cancel(self) -> None:
        """It is not wanted any more."""
        self._over = True
        self._timeout.cancel()
        self._net.knocking.pop(self, None)

    def _end(self, end: End | None, reason: str) -> None:
        if not self._over:
            self.cancel()
            self._done(end, reason)

    def _try(self) -> None:
        self._knock = None
        if self._over:
            return
        net, host = self._net, self._host
        target = net.resolve(host, self._address)
        if target is None or not self._hears(target):
            net.knocking[self] = None  # see reconsider
        elif net.loses(host, target) or net.loses(target, host):
            self._knock_again()
        else:
            round_trip = net.trip(host, target) + net.trip(target, host)
            net.queue.after(round_trip, self._answered, target, target.boot, host.boot)

    def _hears(self, target: Host) -> bool:
        return target.awake and self._net.passes(self._host, target) and self._net.passes(target, self._host)

    def _knock_again(self) -> None:
        now = self._loop.time()
        due = next((self._began + knock for knock in KNOCKS if self._began + knock > now), None)
        if due is not None and self._knock is None:
            self._knock = self._loop.call_at(due, self._try)

    def reconsider(self) -> None:
        """The network has changed: the next knock may be heard."""
        target = self._net.resolve(self._host, self._address)
        if target is not None and self._hears(target):
            del self._net.knocking[self]
            self._knock_again()

    def _answered(self, target: Host, boot: int, own_boot: int) -> None:
        if self._over or self._loop.closed or self._host.boot != own_boot or not self._host.awake:
            return
        if target.boot != boot or not self._hears(target):
            self._knock_again()
        elif target.accept is None:
            self._end(None, "connection refused")
        else:
            end, theirs = connected(self._net, self._host, target)
            target.accept(theirs, address_of(self._host.ip, 1 + self._net.queue.random.randrange(60000)))
            self._end(end, "")


def connected(net: Network, dialler: Host, listener: Host) -> tuple[End, End]:
    """The two ends of a new connection."""
    ours, theirs = End(net, dialler, listener.site), End(net, listener, dialler.site)
    ours.other, theirs.other = theirs, ours
    return ours, theirs
