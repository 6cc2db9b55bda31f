"""NetworkMonitor: sees when this machine's network changes and when it wakes, and tells whom that concerns.

The rule: ``transport/network.py`` decides what is news; here the system is watched for it. On Linux the kernel rings
(``transport/netlink.py``); elsewhere, and where that is refused, a look is taken every other second. One timer looks at
the clocks once a second; between two ticks nothing runs.

Its first look is told too: a monitor that was killed does not know what it has missed, so whoever depends on the
network looks after itself. When the whole node starts, nobody is there yet to be bothered by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from dataclasses import dataclass

from springline.actors.finding import DHT, MDNS, PORTS, Health, HowItGoes, NetworkChanged
from springline.actors.messages import CONNECTIONS, TRANSPORT
from springline.actors.shell import IoShell, Sender, receives
from springline.errors import SpringlineError
from springline.transport import network
from springline.transport.interfaces import look_around
from springline.transport.netlink import Bell, look
from springline.transport.network import Change, Clocks, Kind, Watch

log = logging.getLogger("springline.network")

CONCERNED = {
    Kind.NETWORK: (TRANSPORT, CONNECTIONS, MDNS, DHT, PORTS),
    Kind.WOKE: (TRANSPORT, CONNECTIONS, MDNS, DHT, PORTS),
    Kind.CLOCK: (MDNS, DHT),  # what they have announced is dated; links and ports go by clocks that are not set
}
"""Whom each kind of change is told; the transport first, for it listens again before anybody dials."""

MOST_READINGS = 5
"""Tries to read all clocks at the same instant."""


@dataclass(frozen=True, slots=True)
class NetworkArgs:
    """:param kernel: have the kernel ring, where it can."""

    kernel: bool = True


@dataclass(frozen=True, slots=True)
class WayOut:
    """→ ``Way | None``: how IPv4 packets leave for the world, as it was seen last."""


class NetworkMonitor(IoShell):
    """Tells ``NetworkChanged``; answers ``WayOut`` and ``HowItGoes``."""

    async def start(self, args: NetworkArgs) -> None:
        """Look for the first time, and watch from then on."""
        self._rung = asyncio.Event()
        self._bell = self._hang_bell() if args.kernel else None
        self._watch = Watch(polls=self._bell is None)
        self._changes = 0
        self._last = ""
        self._last_at = 0.0
        self._trouble = ""
        self._look_after_all()
        self.spawn(self._keep_watch())

    async def stop(self) -> None:
        """Nobody needs to be told."""
        if self._bell is not None:
            self.loop.remove_reader(self._bell.fileno())
            self._bell.close()

    def _hang_bell(self) -> Bell | None:
        if sys.platform != "linux":
            return None
        try:
            bell = Bell()
        except OSError as error:  # a sandbox without it
            log.info("the kernel does not tell of changes of the network (%s); looking instead", error)
            return None
        self.loop.add_reader(bell.fileno(), self._listen, bell)
        return bell

    def _listen(self, bell: Bell) -> None:
        if bell.matters():
            self._rung.set()

    # -- watching --------------------------------------------------------------------------------------------------

    def clocks(self) -> Clocks:
        """What they show now."""
        for _ in range(MOST_READINGS):
            clocks = Clocks(time.monotonic(), _boot(), time.time())
            if time.monotonic() - clocks.now < network.SLEPT / 10:  # else this thread was interrupted in between
                break
        return clocks

    async def _keep_watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._watch.due_at - self.clocks().now):
                    await self._rung.wait()
            self._look_after_all()

    def _look_after_all(self) -> None:
        """Whatever has rung or is due."""
        clocks = self.clocks()
        if self._rung.is_set():
            self._rung.clear()
            self._feed(network.Rang(), clocks)
        if self._watch.tick_at <= clocks.now:
            self._feed(network.Ticked(clocks.boot), clocks)
        if self._watch.look_at is not None and self._watch.look_at <= clocks.now:
            self._feed(self._look(), clocks)

    def _look(self) -> network.Observation:
        try:
            view = look_around() if self._bell is None else look()
        except (OSError, SpringlineError) as error:
            log.warning("the network can't be seen: %s", error)
            self._trouble = str(error)
            return network.Blind()
        self._trouble = ""
        return network.Seen(view)

    def _feed(self, observation: network.Observation, clocks: Clocks) -> None:
        self._watch, changes = network.step(self._watch, observation, clocks.now, clocks.wall)
        for change in changes:
            self._tell(change)

    def _tell(self, change: Change) -> None:
        log.info("%s", change.what)
        self._changes += 1
        self._last, self._last_at = change.what, self.loop.time()
        message = NetworkChanged(change.what, change.addresses, change.gone)
        for concerned in CONCERNED[change.kind]:
            self.tell(concerned, message)

    # -- asked -----------------------------------------------------------------------------------------------------

    @receives(WayOut)
    def way_out(self, message: WayOut, sender: Sender) -> network.Way | None:
        """For whoever speaks to the router."""
        return None if self._watch.view is None else self._watch.view.way(4)

    @receives(HowItGoes)
    def how_it_goes(self, message: HowItGoes, sender: Sender) -> Health:
        """What is seen now, and what has happened."""
        view = self._watch.view
        if view is None or self._trouble:
            return Health(False, f"the network can't be seen: {self._trouble}", "see the log")
        ways = [f"IPv{way.family} {way}" for way in sorted(view.ways, key=lambda way: way.family)]
        seen = f"{len(view.addresses)} addresses, the way out is {' and '.join(ways) or 'not there'}"
        if self._last:
            ago = network.duration(self.loop.time() - self._last_at)
            seen += f"; changes: {self._changes}, the last one {ago} ago: {self._last}"
        return Health(bool(view.carrying), seen, "" if view.carrying else "connect this machine to a network")


def _boot() -> float | None:
    """A clock that goes on while the machine sleeps, and that nobody sets."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW" if sys.platform == "darwin" else ""):
        if hasattr(time, name):
            return time.clock_gettime(getattr(time, name))
    return None
