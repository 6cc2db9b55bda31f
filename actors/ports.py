"""PortMapper: has the router pass on what comes to this node's port, and tells the transport where that is.

The rule: ``transport/ports/keeping.py`` decides when the router is asked and what is believed; here it is asked, by
NAT-PMP first and by UPnP if it does not speak that. It asks only the router by which packets leave, and only if the
node listens where the router can reach it. What was granted is given back when the node stops; after a kill it is asked
for again, and the router grants the same.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from dataclasses import dataclass

from springline.actors.finding import (
    NETWORK,
    AddressesChanged,
    Health,
    HowItGoes,
    MappedAt,
    NetworkChanged,
)
from springline.actors.messages import TRANSPORT, ListeningAt
from springline.actors.network import WayOut
from springline.actors.shell import IoShell, Sender, receives
from springline.errors import Refused, SpringlineError
from springline.transport.address import Address
from springline.transport.dialing import EVERYWHERE
from springline.transport.network import OUTSIDE, Way
from springline.transport.ports import keeping, natpmp, natpmp_client
from springline.transport.ports.igd import METHOD as UPNP
from springline.transport.ports.igd import Igd, is_installed
from springline.transport.ports.keeping import Denied, Grant, Granted, Keeping, Looked, Router

log = logging.getLogger("springline.ports")

RETRY = 2.0
"""Seconds after which a transport or a monitor that is just being restarted is asked again."""

GIVING_BACK = 1.0
"""Seconds for giving a port back when the node stops, and before it for hearing whether there is one."""


@dataclass(frozen=True, slots=True)
class PortArgs:
    """:param udp: datagrams are to be passed on, too."""

    udp: bool = True


class PortMapper(IoShell):
    """Tells ``MappedAt``; answers ``HowItGoes``."""

    async def start(self, args: PortArgs) -> None:
        """Ask as soon as it is known where this node listens and who the router is."""
        self._args = args
        self._keeping = Keeping()
        self._igd: Igd | None = None
        self._port = 0
        self._log = ""
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[object] | None = None
        self._routing: asyncio.Task[object] | None = None
        self._find_router()

    async def stop(self) -> None:
        """Give the port back, if the router hears it; also one that it is just granting."""
        if self._asking is not None:
            await asyncio.wait((self._asking,), timeout=GIVING_BACK)
        if self._asking is not None:
            self._asking.cancel()
        kept, router = self._keeping.kept, self._keeping.router
        if kept is None or router is None:
            return
        try:
            async with asyncio.timeout(GIVING_BACK):
                await self._give_back(router, kept.grant)
        except (SpringlineError, TimeoutError) as error:
            log.info("the router did not take the port back: %s", error)

    async def _give_back(self, router: Router, grant: Grant) -> None:
        if grant.method == UPNP:
            await self._upnp(router).give_back(grant)
        else:
            await natpmp_client.give_back(router, self._port, udp=grant.udp)

    # -- who is asked ----------------------------------------------------------------------------------------------

    @receives(NetworkChanged)
    def network_changed(self, message: NetworkChanged, sender: Sender) -> None:
        """The router may be another one, or have been started anew."""
        self._find_router()

    @receives(AddressesChanged)
    def transport_forgot(self, message: AddressesChanged, sender: Sender) -> None:
        """The transport may have been born again; if it has not, it hears nothing new."""
        self.tell(TRANSPORT, MappedAt(self._keeping.told))

    def _find_router(self) -> None:
        if self._routing is not None:
            self._routing.cancel()
        self._routing = self.spawn(self._route())

    async def _route(self) -> None:
        while True:
            try:
                listening: Address = await self.ask(TRANSPORT, ListeningAt())
                way: Way | None = await self.ask(NETWORK, WayOut())
                break
            except SpringlineError:
                await asyncio.sleep(RETRY)
        self._port = listening.port
        router, trouble = who_is_asked(listening, way)
        if router != self._keeping.router:
            self._igd = None
        self._feed(keeping.Routed(router, trouble))

    # -- asking ----------------------------------------------------------------------------------------------------

    def _feed(self, event: keeping.Event) -> None:
        self._keeping, effects = keeping.step(self._keeping, event, self.loop.time())
        if not self._keeping.asking and self._asking is not None:
            self._asking.cancel()
            self._asking = None
        for effect in effects:
            match effect:
                case keeping.Tell(address=address):
                    self.tell(TRANSPORT, MappedAt(address))
                case keeping.Map() | keeping.Look():
                    self._asking = self.spawn(self._ask(effect))
        self._say()
        if self._timer is not None:
            self._timer.cancel()
        due_at = self._keeping.due_at
        self._timer = None if due_at is None else self.loop.call_at(due_at, lambda: self.spawn(self._due()))

    async def _due(self) -> None:
        self._feed(keeping.Due())

    def _say(self) -> None:
        kept = self._keeping.kept
        line = f"{kept.grant.outside} leads here, by {kept.grant.method}" if kept else self._keeping.trouble
        if line and line != self._log:
            log.info("%s", line)
            self._log = line

    async def _ask(self, question: keeping.Map | keeping.Look) -> None:
        answer: Granted | Looked | Denied
        try:
            if isinstance(question, keeping.Map):
                answer = Granted(question.number, await self._map(question.router, question.known))
            else:
                answer = await self._look(question)
        except SpringlineError as error:
            answer = Denied(question.number, str(error))
        self._asking = None
        self._feed(answer)

    async def _map(self, router: Router, known: Grant | None) -> Grant:
        """The port, by the way of asking that has worked before, or by any. :raises SpringlineError: by none."""
        wanted = self._port if known is None else known.outside.port
        said = []
        if router.way.gateway and (known is None or known.method == natpmp_client.METHOD):
            try:
                return await natpmp_client.grant(router, self._port, wanted, udp=self._args.udp)
            except SpringlineError as error:
                said.append(f"{natpmp_client.METHOD}: {error.message}")
        try:
            return await self._upnp(router).grant(self._port, wanted, udp=self._args.udp)
        except SpringlineError as error:
            said.append(f"{UPNP}: {error.message}")
        raise Refused(f"the router maps no port ({'; '.join(said)})")

    async def _look(self, question: keeping.Look) -> Looked:
        if question.grant.method == UPNP:
            ip, there = await self._upnp(question.router).look(question.grant)
            return Looked(question.number, ip, there=there)
        outside = await natpmp_client.outside(question.router)
        return Looked(question.number, outside.ip, outside.epoch)

    def _upnp(self, router: Router) -> Igd:
        self._igd = self._igd or Igd(router)
        return self._igd

    # -- asked -----------------------------------------------------------------------------------------------------

    @receives(HowItGoes)
    def how_it_goes(self, message: HowItGoes, sender: Sender) -> Health:
        """Where the port leads from, or why from nowhere."""
        kept, line = self._keeping.kept, keeping.describe(self._keeping, self.loop.time())
        by_hand = f"have it pass port {self._port} on to this machine by hand"
        if kept is not None:
            through = not keeping.is_behind_another(kept.grant.outside)
            return Health(through, line, "" if through else f"ask who runs the outer router to {by_hand}")
        if self._keeping.router is None or not self._keeping.failures:
            return Health(None, line)
        missing = "" if is_installed() else "install 'springline[nat]' for UPnP, "
        return Health(False, line, f"{missing}switch on NAT-PMP or UPnP in the router, or {by_hand}")


def who_is_asked(listening: Address, way: Way | None) -> tuple[Router | None, str]:
    """The router, or why there is nobody to ask. :param listening: where this node listens."""
    if way is None:
        return None, "this machine has no way out (IPv4)"
    if not way.gateway and sys.platform == "linux":  # elsewhere the system does not say who it is; UPnP finds out
        return None, f"there is no router on the way out ({way})"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((way.gateway or OUTSIDE[4], natpmp.PORT))  # sends nothing
        except OSError as error:
            return None, f"the router can't be reached ({error.strerror})"
        own = sock.getsockname()[0]
    if listening.host not in (*EVERYWHERE, own):
        return None, f"this node listens on {listening.host}, where no router passes anything on"
    if keeping.needs_no_router(own):
        return None, f"no router translates: the world knows this machine's own address ({own})"
    return Router(own, way), ""
