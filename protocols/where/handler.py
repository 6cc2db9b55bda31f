"""The handler of ``where``: tells connected devices where this one listens, and tries where they say they do.

The rule: nothing is believed before it was tried. An address that a device tells, or that it has called from, is kept
once the device itself has answered there, with a handshake: after those that are known; before them if the best of
those is not among what it tells any more, for then it has moved. Only devices with a link are
heard here, their tellings one at a time with pauses that grow (``pacing.py``), a few addresses of each: so what a
hostile one says costs a bounded number of connects, and never a place among another device's addresses.

What is known lives in the Keystore, and a telling that is lost is told again with the next link: so nothing is kept
here that a restart would cost.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from springline.actors.finding import AddressesChanged, AnswersAt, CalledFrom, OwnAddresses, Tried, TryAddress
from springline.actors.messages import CONNECTIONS, KEYSTORE, TRANSPORT, Contact, ListLinks, SawAt
from springline.actors.shell import receives
from springline.errors import Malformed
from springline.protocols.handler import ProtocolHandler
from springline.protocols.message import Custom, DeviceMessage
from springline.protocols.where.pacing import Pace
from springline.protocols.where.wire import VERSION, encode, from_untrusted, worth_trying
from springline.transport.address import Address
from springline.transport.link import Phase

log = logging.getLogger("springline.where")

SETTLED = 1.0
"""Seconds a link is up before anything is told on it: one that flaps is not worth it."""

PATIENCE = 30.0
"""Seconds a trial may take, its waiting for other trials included."""


@dataclass(frozen=True, slots=True)
class _Tell:
    """Time to tell that device."""

    device: UUID


@dataclass(frozen=True, slots=True)
class _Consider:
    """Time to look at what that device has told last."""

    device: UUID


@dataclass(slots=True)
class _Heard:
    """What one device has told.

    :param told: not looked at yet, or None; of several the last one counts.
    :param busy: it is being looked at, or the pause after that is not over.
    :param moved: the best address that is known is none of those it tells.
    """

    told: tuple[Address, ...] | None = None
    pace: Pace = field(default_factory=Pace)
    busy: bool = False
    moved: bool = False
    to_try: deque[Address] = field(default_factory=deque)


class Where(ProtocolHandler):
    """Nobody here asks it anything but :class:`AddressesChanged`."""

    protocol = "where"

    def begin(self, args: Any) -> None:
        """Nothing is known, and whoever is connected has been told."""
        self._linked: set[UUID] = set()
        self._heard: dict[UUID, _Heard] = {}

    # -- telling -------------------------------------------------------------------------------------------------------

    def connected(self, device: UUID) -> None:
        """Tell it soon."""
        self._linked.add(device)
        self.wake(SETTLED, _Tell(device))

    def disconnected(self, device: UUID) -> None:
        """Nothing more to tell."""
        self._linked.discard(device)

    @receives(_Tell)
    def _tell_one(self, message: _Tell, _sender: object) -> None:
        if message.device in self._linked:
            self.ask(TRANSPORT, OwnAddresses(), lambda own: self._say(message.device, own))

    @receives(AddressesChanged)
    def _tell_all(self, _message: object, _sender: object) -> None:
        def listed(links: Any) -> None:
            if isinstance(links, tuple):
                connected = [link.link.device for link in links if link.link.state == Phase.CONNECTED.value]
                self._linked.update(connected)
                for device in connected:
                    self.wake(SETTLED, _Tell(device))

        self.ask(CONNECTIONS, ListLinks(), listed)

    def _say(self, device: UUID, own: Any) -> None:
        if isinstance(own, tuple) and own:
            self.send_to(device, Custom(self.protocol, VERSION, encode(own)))

    # -- being told ----------------------------------------------------------------------------------------------------

    def handle(self, device: UUID, message: DeviceMessage) -> None:
        """A device says where it listens."""
        if not isinstance(message, Custom) or message.version != VERSION:
            raise Malformed("nothing that is said about where a device is")
        heard = self._heard.setdefault(device, _Heard())
        heard.told = from_untrusted(message.payload)
        if not heard.busy:
            self._consider(_Consider(device), None)

    @receives(_Consider)
    def _consider(self, message: _Consider, _sender: object) -> None:
        device = message.device
        heard = self._heard[device]
        if heard.to_try:  # still at the last one
            self.wake(heard.pace.pause, message)
            return
        told, heard.told = heard.told, None
        heard.busy = told is not None
        if told is None:
            return
        heard.pace = heard.pace.look(time.monotonic())
        self.wake(heard.pace.pause, message)

        def contact(known: Any) -> None:
            if isinstance(known, tuple):
                self.ask(TRANSPORT, CalledFrom(device), lambda host: observed(known, host))

        def observed(known: tuple[Address, ...], host: Any) -> None:
            heard.moved = bool(known) and known[0] not in told
            heard.to_try.extend(worth_trying(told, host if isinstance(host, str) else "", known))
            self._try_next(device, heard)

        self.ask(KEYSTORE, Contact(device), contact)

    def _try_next(self, device: UUID, heard: _Heard) -> None:
        if not heard.to_try:
            return

        def tried(result: Any) -> None:
            if isinstance(result, Tried) and result.answers:
                log.info("%s answers at %s %s", device, result.address, "now" if heard.moved else "too")
                self.tell(KEYSTORE, (SawAt if heard.moved else AnswersAt)(device, result.address))
                heard.moved = False
            elif isinstance(result, Tried):
                log.info("%s does not answer at %s: %s", device, result.address, result.steps[-1][2])
            heard.to_try.popleft()
            self._try_next(device, heard)

        self.ask(TRANSPORT, TryAddress(device, heard.to_try[0]), tried, PATIENCE)
