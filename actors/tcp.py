"""TcpTransport: turns addresses and incoming calls into authenticated sessions, then lets go of them.

The rule: it holds no long-term secret and keeps no session. Static keys are the Keystore's, which does each step of a
handshake; a session goes to its DeviceConnection in one message, and from then on the transport may be killed without
harm. Outgoing is ``dialler``'s, incoming is ``reception``'s; here is what both need: the listening sockets, and where
this device can be reached.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass

from springline.actors.datagram import Fd
from springline.actors.dialler import Dialler
from springline.actors.finding import (
    DHT,
    MDNS,
    PORTS,
    AddressesChanged,
    AlsoTry,
    CalledFrom,
    KnockAtHome,
    MappedAt,
    NetworkChanged,
    OwnAddresses,
    Tried,
    TryAddress,
    WhereBound,
)
from springline.actors.messages import (
    KEYSTORE,
    PAIRING,
    DialDevice,
    Doorbells,
    ListeningAt,
    StopDialling,
    WhichDoorbells,
    WhoAmI,
    handler_name,
)
from springline.actors.reception import Reception
from springline.actors.shell import IoShell, Sender, receives
from springline.store.identity import DeviceInfo
from springline.transport.address import Address
from springline.transport.interfaces import own_addresses
from springline.transport.listening import Listener, knock

log = logging.getLogger("springline.tcp")

CONCERNED = (MDNS, DHT, PORTS, handler_name("where"))
"""Who is told that this device's addresses have changed; those that are not there don't hear it."""


@dataclass(frozen=True, slots=True)
class TcpArgs:
    """The listening sockets; the first one's address is the one shown to users.

    :param listeners: bound, listening.
    :param addresses: where they were bound; a socket whose interface is gone does not know it any more.
    """

    listeners: tuple[Fd, ...]
    addresses: tuple[Address, ...]


class TcpTransport(IoShell):
    """Dials (:class:`DialDevice`) and listens; hands over with ``SessionUp``."""

    async def start(self, args: TcpArgs) -> None:
        """Take up the listeners."""
        own: DeviceInfo = await self.ask(KEYSTORE, WhoAmI())
        self._mapped: Address | None = None
        self._reception = Reception(self, own.static_key)
        self._dialler = Dialler(self, self._listening)
        bound = zip(args.listeners, args.addresses, strict=True)
        self._listeners = [Listener.of(os.dup(fd.fileno()), address) for fd, address in bound]
        for listener in self._listeners:
            self._reception.open(listener)
        self._see_to_listeners()  # what the app has may have been lost, and bound anew by a former life
        self._told = own_addresses(self._listening(), self._mapped)
        self.tell(PAIRING, WhichDoorbells())
        for finder in CONCERNED:
            self.tell(finder, AddressesChanged())  # a router's port that was told to a former life is not known here

    async def stop(self) -> None:
        """Close the listeners, and what is half open."""
        for listener in self._listeners:
            self._reception.shut(listener)
        self._reception.close()

    # -- where this device is --------------------------------------------------------------------------------------

    def _listening(self) -> list[Address]:
        """Where somebody who connects ends up here."""
        mapped = [] if self._mapped is None else [self._mapped]
        return [listener.address for listener in self._listeners] + mapped

    @receives(ListeningAt)
    def listening_at(self, message: ListeningAt, sender: Sender) -> Address:
        """The first listener's own address."""
        return self._listeners[0].address

    @receives(WhereBound)
    def where_bound(self, message: WhereBound, sender: Sender) -> tuple[Address, ...]:
        """Each listener's own address."""
        return tuple(listener.address for listener in self._listeners)

    @receives(OwnAddresses)
    def own_addresses(self, message: OwnAddresses, sender: Sender) -> tuple[Address, ...]:
        """Where others can reach this device, now."""
        return own_addresses([listener.address for listener in self._listeners], self._mapped)

    @receives(MappedAt)
    def mapped_at(self, message: MappedAt, sender: Sender) -> None:
        """A router passes on what comes to that address, or does not any more."""
        self._mapped = message.address
        self._tell_changes()

    @receives(NetworkChanged)
    def network_changed(self, message: NetworkChanged, sender: Sender) -> None:
        """Bind anew what is lost, and tell where this device is now."""
        self._see_to_listeners()
        self._tell_changes()

    def _see_to_listeners(self) -> None:
        for position, listener in enumerate(self._listeners):
            if listener.is_lost:
                self._bind_anew(position)

    def _bind_anew(self, position: int) -> None:
        lost = self._listeners[position]
        try:
            listener = lost.renewed()
        except OSError as error:  # its address is not back yet; the next change of the network may bring it
            log.info("can't listen on %s: %s", lost.address, error)
            return
        self._reception.shut(lost)
        self._listeners[position] = listener
        self._reception.open(listener)
        log.info("listening on %s again", listener.address)

    def _tell_changes(self) -> None:
        now = own_addresses([listener.address for listener in self._listeners], self._mapped)
        if now != self._told:
            self._told = now
            for finder in CONCERNED:
                self.tell(finder, AddressesChanged())

    # -- out -------------------------------------------------------------------------------------------------------

    @receives(DialDevice)
    def dial(self, message: DialDevice, sender: Sender) -> None:
        """Race the addresses; the result is told to the device's connection."""
        self._dialler.dial(message, sender.path)

    @receives(AlsoTry)
    def also_try(self, message: AlsoTry, sender: Sender) -> None:
        """Further addresses for a dial in flight."""
        self._dialler.also(message)

    @receives(StopDialling)
    def stop_dialling(self, message: StopDialling, sender: Sender) -> None:
        """Forget about it."""
        self._dialler.stop(message.device, message.attempt)

    @receives(TryAddress)
    async def try_address(self, message: TryAddress, sender: Sender) -> Tried:
        """How far a dial of that address would get."""
        return await self._dialler.try_address(message)

    @receives(KnockAtHome)
    async def knock_at_home(self, message: KnockAtHome, sender: Sender) -> tuple[Tried, ...]:
        """Does anybody answer where this device listens?"""
        at = [listener.address for listener in self._listeners]
        return tuple(map(Tried, at, await asyncio.gather(*map(knock, at))))

    # -- in --------------------------------------------------------------------------------------------------------

    @receives(Doorbells)
    def hang_doorbells(self, message: Doorbells, sender: Sender) -> None:
        """From now on these are the open invitations."""
        self._reception.doorbells = message.keys

    @receives(CalledFrom)
    def called_from(self, message: CalledFrom, sender: Sender) -> str:
        """Where the device's last call came from."""
        return self._reception.observed.get(message.device, "")
