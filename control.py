"""What can be asked of a running node, from any process of its user: the app that owns it, or the command line.

The rule: every method is one question to one actor over the bus, and blocks until it is answered. Each thread gets an
endpoint of its own, so threads may share a ``Control`` freely. Nothing here starts or stops processes; ``node.Node``
adds that for the owner.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from springline.actors.endpoint import Client
from springline.actors.messages import (
    CONNECTIONS,
    EVENTS,
    KEYSTORE,
    PAIRING,
    PROTOCOLS,
    TRANSPORT,
    ConnectDevice,
    DeviceStatus,
    DisconnectDevice,
    Invitation,
    Invite,
    Join,
    LinkStatus,
    ListeningAt,
    ListLinks,
    RevokeDevice,
    SendMessage,
    Subscribe,
    Unsubscribe,
    WhoAmI,
    connection_name,
)
from springline.actors.wire import registered
from springline.errors import LocalFault, Misuse, NotRunning, TimedOut, UnknownDevice
from springline.events import NetworkEvent
from springline.protocols.codec import decode_untrusted, encode
from springline.protocols.files.transfer import Transfer
from springline.protocols.handler import ProtocolHandler
from springline.protocols.message import DeviceMessage
from springline.store.devices import PairedDevice
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout
from springline.supervisors import policy
from springline.supervisors.spec import ChildSpec
from springline.supervisors.supervisor import ROOT, Children, ChildStatus, Supervise
from springline.transport.address import Address

APP = "app"
"""The protocol of messages that are for the app itself; they arrive as ``MessageReceived`` events."""

_LEASE = 30.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the node.

    :param actor: its name on the bus.
    :param device: whose link it serves, if it serves one.
    """

    actor: str
    pid: int
    device: UUID | None


class Control:
    """A running node, as seen over its bus.

    :param data_dir: the node's data directory.
    :raises NotRunning: no node is running there.
    """

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self.layout = Layout(data_dir)
        self._bus = find_bus(self.layout)
        self._local = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close this object's endpoints; the node runs on."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- asking ----------------------------------------------------------------------------------------------------

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = Client(self._bus)
            with self._lock:
                self._clients.append(client)
        return client

    def ask(self, target: str, body: object, timeout: float = 10.0) -> Any:
        """Ask an actor of the node; one that is being restarted is waited for.

        :param target: its name on the bus.
        :param timeout: seconds, restarts included.
        :raises NotRunning: nobody of that name came up. :raises TimedOut: no answer.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                return self._client().ask(target, body, max(0.05, end - time.monotonic()))
            except NotRunning:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.02)

    # -- this device, and the others -------------------------------------------------------------------------------

    def whoami(self) -> DeviceInfo:
        """The public side of this device."""
        info: DeviceInfo = self.ask(KEYSTORE, WhoAmI())
        return info

    def listening_at(self) -> Address:
        """Where the node listens."""
        address: Address = self.ask(TRANSPORT, ListeningAt())
        return address

    def devices(self) -> tuple[DeviceStatus, ...]:
        """The paired devices and their links, by name."""
        found: tuple[DeviceStatus, ...] = self.ask(CONNECTIONS, ListLinks())
        return found

    def find(self, text: str | UUID) -> DeviceStatus:
        """The device with that id, unique prefix of an id, or name.

        :raises UnknownDevice: none, or more than one.
        """
        wanted = str(text).strip()
        devices = self.devices()
        exact = [d for d in devices if wanted in (str(d.device.info.device_id), d.device.info.name)]
        plain = wanted.replace("-", "").lower()
        close = [d for d in devices if len(plain) >= 2 and d.device.info.device_id.hex.startswith(plain)]
        found = exact or close
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownDevice(f"{len(found)} devices answer to '{wanted}'", "use more of the id")
        raise UnknownDevice(f"no paired device answers to '{wanted}'", "see 'springline devices'")

    def connect(self, device: UUID) -> LinkStatus:
        """Keep the link to ``device`` up from now on; returns at once."""
        status: LinkStatus = self.ask(CONNECTIONS, ConnectDevice(device))
        return status

    def disconnect(self, device: UUID) -> LinkStatus:
        """Close the link to ``device`` and keep it down until asked again."""
        status: LinkStatus = self.ask(CONNECTIONS, DisconnectDevice(device))
        return status

    def revoke(self, device: UUID) -> PairedDevice:
        """Close the link to ``device`` at once, wipe its keys, and never let it in again."""
        changed: PairedDevice = self.ask(CONNECTIONS, RevokeDevice(device))
        return changed

    def await_state(self, device: UUID, state: str, timeout: float) -> DeviceStatus:
        """Wait until the link to ``device`` is in a public state, e.g. ``Connected``.

        :raises TimedOut: it is not after ``timeout`` seconds; the message tells how things stand.
        """
        client = self._client()
        client.tell(EVENTS, Subscribe(timeout + 1))
        end = time.monotonic() + timeout
        while True:
            found = self.find(device)
            if found.link.state == state:
                return found
            left = end - time.monotonic()
            if left <= 0:
                why = f"{found.link.state.lower()}, {found.link.reason}"
                raise TimedOut(f"{found.device.info.name} is not {state.lower()} after {timeout:g} s: {why}")
            client.listen(min(left, 0.05))  # an event makes us look at once

    def processes(self) -> tuple[Process, ...]:
        """The node's actors that are alive, by name."""
        alive = [entry for entry in registered(self._bus) if entry.alive]
        return tuple(Process(entry.name, entry.pid, _device_of(entry.name)) for entry in alive)

    # -- pairing ---------------------------------------------------------------------------------------------------

    def invite(self) -> Invitation:
        """Twelve words for one other device, good for five minutes."""
        invitation: Invitation = self.ask(PAIRING, Invite())
        return invitation

    def join(self, words: str, address: str | Address | None = None, timeout: float = 30.0) -> PairedDevice:
        """Pair with the device that gave the invitation.

        :param words: the twelve words, or the invitation's URI.
        :param address: where that device listens; a URI carries it.
        :raises Misuse: the words are none. :raises PairingFailed: the other side does not know them (any more).
        """
        parsed = Address.parse(address) if isinstance(address, str) else address
        joined: PairedDevice = self.ask(PAIRING, Join(words, (parsed,) if parsed else ()), timeout)
        return joined

    # -- messages and files ----------------------------------------------------------------------------------------

    def send(
        self, device: UUID, message: DeviceMessage, protocol: str = APP, timeout: float = 10.0
    ) -> DeviceMessage | None:
        """Send a message; returns when the other side has handled it.

        :param protocol: whose handler there gets it; by default the app itself.
        :returns: the handler's answer, if it gave one.
        :raises NotConnected: the device is not connected. :raises RemoteFault: the other side failed.
        """
        answer = self.ask(connection_name(device), SendMessage(protocol, encode(message)), timeout)
        return None if answer is None else decode_untrusted(answer)

    def send_file(self, device: UUID, path: str | os.PathLike[str]) -> Transfer:
        """Send one file; returns at once.

        :returns: a transfer to wait for; it survives lost links and killed processes.
        :raises Misuse: it is no regular file. :raises LocalFault: it can't be read.
        """
        return Transfer.begin(self.ask, device, path)

    def events(self, timeout: float | None = None) -> Iterator[NetworkEvent]:
        """What happens from now on, as it happens.

        :param timeout: end after so many seconds without an event; None: never.
        """
        client = Client(self._bus)
        try:
            client.tell(EVENTS, Subscribe(_LEASE))
            yield from _listen(client, timeout)
        finally:
            with contextlib.suppress(OSError):
                client.tell(EVENTS, Unsubscribe())
            client.close()

    # -- plug-ins --------------------------------------------------------------------------------------------------

    def register(self, handler: type[ProtocolHandler], args: Any = None) -> None:
        """Start a protocol handler, supervised.

        :param handler: an importable class (not of ``__main__``).
        :param args: given to its ``begin``.
        """
        if not handler.protocol:
            raise Misuse(f"{handler.__name__} names no protocol", "set its attribute 'protocol'")
        if handler.__module__ == "__main__":
            raise Misuse(f"{handler.__name__} lives in __main__", "put it into a module: its process must import it")
        self.ask(PROTOCOLS, Supervise(ChildSpec(handler.protocol, handler, args)))
        self._await_child(PROTOCOLS, handler.protocol)

    def supervise(self, spec: ChildSpec) -> None:
        """Hang a child, or a whole subtree, into the node's tree."""
        self.ask(ROOT, Supervise(spec))
        self._await_child(ROOT, spec.name)

    def _await_child(self, supervisor: str, name: str, timeout: float = 10.0) -> None:
        end = time.monotonic() + timeout
        while True:
            children: tuple[ChildStatus, ...] = self.ask(supervisor, Children())
            found = next((child for child in children if child.name == name), None)
            if found is not None and found.phase == policy.Phase.UP.value:
                return
            if found is None or found.quarantined or time.monotonic() > end:
                why = found.reason if found is not None else "it was removed"
                raise LocalFault(f"{name} does not start: {why or 'it takes too long'}", "see the node's log")
            time.sleep(0.005)


def _listen(client: Client, timeout: float | None) -> Iterator[NetworkEvent]:
    renewed = time.monotonic()
    quiet_until = None if timeout is None else renewed + timeout
    while quiet_until is None or time.monotonic() < quiet_until:
        left = _LEASE / 3 if quiet_until is None else min(_LEASE / 3, quiet_until - time.monotonic())
        received = client.listen(max(0.0, left))
        now = time.monotonic()
        if now - renewed > _LEASE / 3:
            client.tell(EVENTS, Subscribe(_LEASE))
            renewed = now
        if received is not None and isinstance(received[1], NetworkEvent):
            quiet_until = None if timeout is None else now + timeout
            yield received[1]


def _device_of(name: str) -> UUID | None:
    prefix, _, rest = name.rpartition(".")
    return UUID(rest) if prefix == CONNECTIONS else None


def find_bus(layout: Layout) -> str:
    """The bus directory of the node that runs on ``layout``. :raises NotRunning: none does."""
    directory = os.path.realpath(layout.bus)
    if not any(entry.alive for entry in registered(directory) if entry.name == "node"):
        raise NotRunning(f"no node is running for {layout.root}", "start one with 'springline up'")
    return directory
