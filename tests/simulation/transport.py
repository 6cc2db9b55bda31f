"""The simulated TcpTransport: races addresses, greets callers, hands sessions over. After ``actors/tcp.py``.

The rule: as in ``actors/dialler.py``, ``actors/reception.py`` and ``transport/dialing.py``: attempts start ``STAGGER``
apart or when one has failed, in the order of the real line-up; a handshake has ``DEADLINE`` seconds, a race
``PATIENCE``; the first to answer correctly wins. What the handshake proves is said by the frames themselves, because
nobody forges here; that a stranger at a reused address can't answer is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.actors.tcp import CONCERNED
from springline.errors import SpringlineError
from springline.tests.simulation.clock import Timer
from springline.tests.simulation.network import PORT, address_of
from springline.tests.simulation.process import Process
from springline.tests.simulation.wire import Connect, End
from springline.transport.address import Address
from springline.transport.dialing import PATIENCE, STAGGER
from springline.transport.handshaking import DEADLINE
from springline.transport.interfaces import chosen
from springline.transport.lineup import Lineup, Target
from springline.transport.network import Change

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node


@dataclass(frozen=True, slots=True)
class First:
    """A handshake's first frame: who calls whom, and the highest epoch known there.

    :param used: the id of the relationship key it is made with. :param current: of the dialler's present one.
    """

    dialler: UUID
    target: UUID
    epoch: int
    used: bytes
    current: bytes


@dataclass(frozen=True, slots=True)
class Second:
    """The answer: the session's epoch, the hash of its handshake, and the id of the present key of who answers."""

    epoch: int
    hash: bytes
    current: bytes


CONFIRM = "confirm"

LISTENING = Address("0.0.0.0", PORT)


@functools.lru_cache(1024)
def _own_addresses(ip: str, mapped: Address | None) -> tuple[Address, ...]:
    return tuple(address_of(one.host, one.port) for one in chosen((LISTENING,), (ip,) if ip else (), mapped))


@dataclass(frozen=True, slots=True)
class Up:
    """A session, on its way to its connection. :param attempt: of the dial, or None: the device called."""

    end: End
    epoch: int
    hash: bytes
    attempt: int | None
    remote: Address


class _Attempt:
    """One address of a dial: connect, then the handshake; once more by the recovery key, if it is hung up on."""

    def __init__(self, dial: Dial, address: Address) -> None:
        self.dial, self.address = dial, address
        self.end: End | None = None
        self._transport = dial.transport
        self._over = self._has_asked = False
        self._first: First | None = None  # made by the recovery key
        self._deadline: Timer | None = None
        self._call()

    def _call(self) -> None:
        node = self._transport.node
        self._has_asked = False
        self._connect = Connect(node.world.network, node.host, self._transport.loop, self.address, self._connected)

    def cancel(self) -> None:
        """Another has won, or nobody is interested any more."""
        self._over = True
        self._connect.cancel()
        if self.end is not None:
            self.end.close()

    def _connected(self, end: End | None, reason: str) -> None:
        if end is None:
            self._fail(reason)
            return
        self.end = end
        dial = self.dial
        dial.tell(lambda connection: connection.socket_is_up(dial.attempt))
        end.attach(self._came, self._hung_up)
        self._deadline = self._transport.loop.call_later(DEADLINE, self._fail, "no answer in time")
        if self._first is not None:
            self._begun(self._first)
        else:
            self._transport.ask(lambda keystore: keystore.begin(dial.device, dial.attempt), self._begun)

    def _begun(self, first: First | SpringlineError) -> None:
        if isinstance(first, SpringlineError):
            self._fail(str(first))
        elif not self._over and self.end is not None:
            self._has_asked = True
            self.end.send(first)

    def _hung_up(self, reason: str) -> None:
        if self._over or not self._has_asked or self._first is not None:
            self._fail(reason)
            return

        def recovers(first: First | SpringlineError | None) -> None:
            if first is None or isinstance(first, SpringlineError):
                self._fail(reason if first is None else str(first))
            elif not self._over:
                self._first = first
                self._call()

        if self._deadline is not None:
            self._deadline.cancel()
        dial = self.dial
        self._transport.ask(lambda keystore: keystore.recover(dial.device, dial.attempt), recovers)

    def _came(self, frame: Any) -> None:
        if not self._over and isinstance(frame, Second):
            device = self.dial.device
            finish = lambda keystore: keystore.finish(device, frame)  # noqa: E731
            self._transport.ask(finish, lambda done: self._won(frame, done))

    def _won(self, frame: Second, done: SpringlineError | None) -> None:
        if self._over or self.end is None:
            return
        if done is not None:
            self._fail(str(done))
            return
        self._over = True
        self.end.detach()
        self.end.send(CONFIRM)
        self.dial.won(self, Up(self.end, frame.epoch, frame.hash, self.dial.attempt, self.address))

    def _fail(self, reason: str) -> None:
        if not self._over:
            self.cancel()
            self.dial.failed(self, f"{self.address}: {reason}")


class Dial:
    """A race for one device: ``dialing.Race``, with the real line-up."""

    def __init__(self, transport: Transport, device: UUID, attempt: int) -> None:
        self.transport, self.device, self.attempt = transport, device, attempt
        self._lineup = Lineup()
        self._batches = 0
        self._running: dict[_Attempt, None] = {}
        self._failures: list[str] = []
        self._due = transport.loop.time()
        self._timer = transport.loop.call_later(0.0, self._go_on)
        self._patience = transport.loop.call_later(PATIENCE, self._end)

    def join(self, addresses: tuple[Address, ...]) -> None:
        """Try these as well."""
        self._batches += 1
        for position, address in enumerate(addresses):
            self._lineup.add((-self._batches, position), (Target(address, address.host),))
        self._go_on_at(self._due)

    def cancel(self) -> None:
        """Its result is not wanted any more."""
        self._timer.cancel()
        self._patience.cancel()
        for attempt in self._running:
            attempt.cancel()

    def tell(self, message: Callable[[Any], object]) -> None:
        """Tell the connection."""
        self.transport.tell_connection(self.device, message)

    def _go_on_at(self, due: float) -> None:
        self._timer.cancel()
        self._timer = self.transport.loop.call_at(due, self._go_on)

    def _go_on(self) -> None:
        now = self.transport.loop.time()
        target = self._lineup.next()
        if target is not None:
            self._running[_Attempt(self, target.address)] = None
            self._due = now + STAGGER
        elif not self._running:
            self._end()
            return
        if self._lineup:
            self._go_on_at(self._due)

    def _end(self) -> None:
        self.cancel()
        self.transport.ended(self)
        self._failures += [f"{attempt.address}: no answer in time" for attempt in self._running]
        reason = "; ".join(self._failures) or "no address is known"
        self.tell(lambda connection: connection.dial_ended(self.attempt, reason))

    def failed(self, attempt: _Attempt, reason: str) -> None:
        """One of them."""
        del self._running[attempt]
        self._failures.append(reason)
        self._due = self.transport.loop.time()
        if self._lineup or not self._running:
            self._go_on_at(self._due)

    def won(self, attempt: _Attempt, up: Up) -> None:
        """That one; the others are called off."""
        del self._running[attempt]
        self.cancel()
        self.transport.ended(self)
        self.transport.hand_over(self.device, up)


class Transport(Process):
    """One node's."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.dials: dict[tuple[UUID, int], Dial] = {}
        self._greetings: dict[_Greeting, None] = {}
        self._mapped: Address | None = None
        self._told = self.own_addresses()
        self._tell_finders()

    # -- where this device is ------------------------------------------------------------------------------------------

    def listening_at(self) -> Address:
        """Everywhere."""
        return LISTENING

    def own_addresses(self) -> tuple[Address, ...]:
        """Where others can reach this device, by what it knows."""
        return _own_addresses(self.node.host.ip, self._mapped)

    def mapped_at(self, address: Address | None) -> None:
        """A router passes on what comes to that address, or does not any more."""
        self._mapped = address
        self._tell_changes()
        self.node.world.watch.look_at_all(self.node)

    def network_changed(self, _change: Change) -> None:
        """Tell where this device is now."""
        self._tell_changes()

    def _tell_changes(self) -> None:
        now = self.own_addresses()
        if now != self._told:
            self._told = now
            self._tell_finders()

    def _tell_finders(self) -> None:
        node = self.node
        for name in (node.NAMES[one] for one in CONCERNED if one in node.NAMES):
            node.tell(
                ("transport", name),
                lambda name=name: getattr(node, name),  # type: ignore[misc]
                lambda process: process.addresses_changed(),
            )

    # -- dials -------------------------------------------------------------------------------------------------------

    def killed(self) -> None:
        """The kernel closes what was half open."""
        for dial in self.dials.values():
            dial.cancel()
        for greeting in list(self._greetings):
            greeting.close()

    def dial(self, device: UUID, attempt: int, addresses: tuple[Address, ...]) -> None:
        """Race them; the result is told to the device's connection."""
        for former in [number for peer, number in self.dials if peer == device]:
            self.stop_dialling(device, former)
        self.dials[device, attempt] = Dial(self, device, attempt)
        self.dials[device, attempt].join(addresses)
        self.node.world.watch.in_flight(self.node, device, [number for peer, number in self.dials if peer == device])

    def also_try(self, device: UUID, attempt: int, addresses: tuple[Address, ...]) -> None:
        """Further addresses for a dial in flight."""
        dial = self.dials.get((device, attempt))
        if dial is not None:
            dial.join(addresses)

    def stop_dialling(self, device: UUID, attempt: int) -> None:
        """Forget about it."""
        dial = self.dials.pop((device, attempt), None)
        if dial is not None:
            dial.cancel()

    def ended(self, dial: Dial) -> None:
        """It is over."""
        self.dials.pop((dial.device, dial.attempt), None)

    def tell_connection(self, device: UUID, message: Callable[[Any], object]) -> None:
        """Tell a device's connection, if there is one when it arrives."""
        self.node.tell(("transport", device), lambda: self.node.connections.get(device), message)

    def hand_over(self, device: UUID, up: Up) -> None:
        """The session goes to its connection; if nobody takes it, it is closed."""

        def arrives(connection: Any) -> None:
            if connection is None:
                up.end.close()
            else:
                connection.session_up(up)

        self.node.tell(("transport", device), lambda: self.node.connections.get(device), arrives, lost=arrives)

    # -- callers -----------------------------------------------------------------------------------------------------

    def greet(self, end: End, remote: Address) -> None:
        """Somebody calls."""
        self._greetings[_Greeting(self, end, remote)] = None

    def greeted(self, greeting: _Greeting) -> None:
        """One way or the other."""
        self._greetings.pop(greeting, None)


class _Greeting:
    """A caller, until it has shown who it is."""

    def __init__(self, transport: Transport, end: End, remote: Address) -> None:
        self._transport, self._end, self._remote = transport, end, remote
        self._peer: UUID | None = None
        self._answer: Second | None = None
        self._over = False
        transport.loop.call_later(DEADLINE, self._fail, "no answer in time")
        end.attach(self._came, self._fail)

    def close(self) -> None:
        """No more of it."""
        self._over = True
        self._end.close()
        self._transport.greeted(self)

    def _fail(self, _reason: str) -> None:
        if not self._over:
            self.close()

    def _came(self, frame: Any) -> None:
        if self._over:
            return
        if isinstance(frame, First):
            if frame.target != self._transport.node.book.id:
                self.close()  # its MAC was made for another device
                return
            self._peer = frame.dialler
            self._transport.ask(lambda keystore: keystore.answer(frame), self._answered)
        elif frame == CONFIRM and self._answer is not None and self._peer is not None:
            self._over = True
            self._end.detach()
            self._transport.greeted(self)
            up = Up(self._end, self._answer.epoch, self._answer.hash, None, self._remote)
            self._transport.ask(lambda keystore: keystore.confirmed(up.hash), lambda _: None)
            self._transport.hand_over(self._peer, up)

    def _answered(self, answer: Second | SpringlineError) -> None:
        if self._over:
            return
        if isinstance(answer, SpringlineError):
            self.close()
        else:
            self._answer = answer
            self._end.send(answer)
