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
from typing import TYPE_CHECKING, Any
from uuid import UUID

from springline.actors.carrying import SendMessage
from springline.actors.endpoint import Client
from springline.actors.inviting import Invitation, Invite, Join
from springline.actors.keeping import (
    APPROVALS,
    Decide,
    ListApprovals,
    ListKnownBefore,
    PendingApproval,
    ReadAudit,
    ReadHistory,
    RevocationSpread,
    VerifyAudit,
)
from springline.actors.messages import (
    CONNECTIONS,
    EVENTS,
    KEYSTORE,
    PAIRING,
    PROTOCOLS,
    TRANSPORT,
    DeviceStatus,
    ListeningAt,
    RevokeDevice,
    SetTrust,
    Subscribe,
    Unsubscribe,
    WhoAmI,
    connection_name,
)
from springline.actors.names import alive, incarnation, registered
from springline.errors import LocalFault, Misuse, NotRunning, TimedOut
from springline.events import NetworkEvent
from springline.links import Links
from springline.protocols.codec import decode_untrusted, encode
from springline.protocols.files.transfer import Transfer
from springline.protocols.message import DeviceMessage
from springline.protocols.pairing.ui import PairingUI, SilentUI, follow
from springline.store.before import KnownBefore
from springline.store.chain import Entry, Verdict
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.history import Session
from springline.store.identity import DeviceInfo
from springline.store.layout import Layout
from springline.store.trust import Policy
from springline.supervisors.asking import ROOT, Children, ChildStatus, Supervise
from springline.supervisors.spec import ChildSpec
from springline.supervisors.state import Phase
from springline.transport.address import Address

if TYPE_CHECKING:
    from springline.protocols.handler import ProtocolHandler

APP = "app"
"""The protocol of messages that are for the app itself; they arrive as ``MessageReceived`` events."""

_LEASE = 30.0
_LOOK = 1.0
"""Seconds of silence after which a listener looks whether there still is a node."""

_REBIRTH = 10.0
"""Seconds a node may take to grow its tree again."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the node.

    :param actor: its name on the bus.
    :param device: whose link it serves, if it serves one.
    """

    actor: str
    pid: int
    device: UUID | None


class Control(Links):
    """A running node, as seen over its bus.

    :param data_dir: the node's data directory.
    :raises NotRunning: no node is running there.
    """

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self.layout = Layout(data_dir)
        self.bus = find_bus(self.layout)
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
            client = self._local.client = Client(self.bus)
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

    def tell(self, target: str, message: object) -> None:
        """Tell an actor of the node something; if it is not there, nobody hears it."""
        self._client().tell(target, message)

    # -- this device, and the others -------------------------------------------------------------------------------

    def whoami(self) -> DeviceInfo:
        """The public side of this device."""
        info: DeviceInfo = self.ask(KEYSTORE, WhoAmI())
        return info

    def listening_at(self) -> Address:
        """Where the node listens."""
        address: Address = self.ask(TRANSPORT, ListeningAt())
        return address

    def revoke(self, device: UUID) -> PairedDevice:
        """Close the link to ``device`` at once, wipe its keys, never let it in again, and tell the other devices."""
        changed: PairedDevice = self.ask(CONNECTIONS, RevokeDevice(device))
        return changed

    def set_trust(self, device: UUID, trust: TrustLevel, policy: Policy | None = None) -> PairedDevice:
        """Change how far ``device`` is trusted; acts on the open link at once.

        :param policy: when trust is to end by itself; None leaves that as it is.
        :raises Misuse: it has expired or is revoked, which only pairing again undoes.
        """
        if trust is TrustLevel.REVOKED:
            return self.revoke(device)
        changed: PairedDevice = self.ask(KEYSTORE, SetTrust(device, trust, policy))
        return changed

    def revocations(self) -> dict[UUID, tuple[int, int]]:
        """For each revoked device: how many of the other trusted devices know, and how many there are."""
        spread: dict[UUID, tuple[int, int]] = self.ask(KEYSTORE, RevocationSpread())
        return spread

    def known_before(self) -> tuple[KnownBefore, ...]:
        """Whom a former program's identity was paired with, and this one is not yet."""
        known: tuple[KnownBefore, ...] = self.ask(KEYSTORE, ListKnownBefore())
        return known

    def approvals(self) -> tuple[PendingApproval, ...]:
        """What devices that are only verified ask for, and waits for the user's word."""
        waiting: tuple[PendingApproval, ...] = self.ask(APPROVALS, ListApprovals())
        return waiting

    def approve(self, approval: str, *, yes: bool = True) -> PendingApproval:
        """Say yes or no to what waits under that id. :raises Misuse: nothing does (any more)."""
        settled: PendingApproval = self.ask(APPROVALS, Decide(approval, yes))
        return settled

    def await_state(self, device: UUID, state: str, timeout: float) -> DeviceStatus:
        """Wait until the link to ``device`` is in a public state, e.g. ``Connected``.

        :raises TimedOut: it is not after ``timeout`` seconds; the message tells how things stand.
        :raises UnknownDevice: it is not paired.
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
        alive = [entry for entry in registered(self.bus) if entry.alive]
        return tuple(Process(entry.name, entry.pid, _device_of(entry.name)) for entry in alive)

    # -- pairing ---------------------------------------------------------------------------------------------------

    def invite(self) -> Invitation:
        """Twelve words for one other device, good for five minutes; they serve whether anybody waits or not."""
        invitation: Invitation = self.ask(PAIRING, Invite())
        return invitation

    def invite_with(self, ui: PairingUI, *, confirm: bool = False) -> PairedDevice:
        """Invite one other device, and show the user how it goes, until it is paired or the invitation is over.

        :param confirm: ask ``ui`` before anything is stored, once the other side has said who it is.
        :raises PairingFailed: nobody came in time, or nothing came of it.
        """
        invitation: Invitation = self.ask(PAIRING, Invite(confirm))
        ui.invited(invitation)
        return follow(self.ask, invitation.pairing, ui)

    def join(self, words: str, address: str | Address | None = None, timeout: float = 90.0) -> PairedDevice:
        """Pair with the device that gave the invitation.

        :param words: the twelve words, or the invitation's URI.
        :param address: where that device listens; a URI carries it.
        :param timeout: seconds to wait; more if somebody over there is asked to confirm.
        :raises Misuse: the words are none. :raises PairingFailed: the other side does not know them (any more).
        """
        return self._join(SilentUI(), words, address, False, timeout)

    def join_with(
        self, ui: PairingUI, words: str, address: str | Address | None = None, *, confirm: bool = False
    ) -> PairedDevice:
        """As :meth:`join`, and show the user how it goes. :param confirm: as of :meth:`invite_with`."""
        return self._join(ui, words, address, confirm, None)

    def _join(
        self, ui: PairingUI, words: str, address: str | Address | None, confirm: bool, timeout: float | None
    ) -> PairedDevice:
        parsed = Address.parse(address) if isinstance(address, str) else address
        pairing: str = self.ask(PAIRING, Join(words, (parsed,) if parsed else (), confirm))
        return follow(self.ask, pairing, ui, timeout)

    # -- records ---------------------------------------------------------------------------------------------------

    def audit(self, limit: int = 50, device: UUID | None = None) -> list[Entry]:
        """The latest entries of the audit trail, newest first. :param device: only those about it."""
        found: list[Entry] = self.ask(KEYSTORE, ReadAudit(limit, device), 60.0)
        return found

    def verify_audit(self) -> Verdict:
        """Is the audit trail whole, and as it was written?"""
        verdict: Verdict = self.ask(KEYSTORE, VerifyAudit(), 60.0)
        return verdict

    def history(self, device: UUID) -> list[Session]:
        """The device's sessions that have ended, newest first."""
        found: list[Session] = self.ask(KEYSTORE, ReadHistory(device))
        return found

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
        :raises NotRunning: the node has stopped.
        """
        client = Client(self.bus)
        try:
            client.tell(EVENTS, Subscribe(_LEASE))
            yield from self._listen(client, timeout)
        finally:
            with contextlib.suppress(OSError):
                client.tell(EVENTS, Unsubscribe())
            client.close()

    def _listen(self, client: Client, timeout: float | None) -> Iterator[NetworkEvent]:
        heard = renewed = alive_at = time.monotonic()
        while timeout is None or time.monotonic() < heard + timeout:
            left = _LOOK if timeout is None else min(_LOOK, heard + timeout - time.monotonic())
            received = client.listen(max(0.0, left))
            now = time.monotonic()
            if now - renewed > _LEASE / 3:
                client.tell(EVENTS, Subscribe(_LEASE))
                renewed = now
            if received is not None and isinstance(received[1], NetworkEvent):
                heard = alive_at = now
                yield received[1]
            elif alive(incarnation(self.bus, ROOT)):
                alive_at = now
            elif now - alive_at > _REBIRTH or not os.path.isdir(self.bus):
                raise NotRunning("the node has stopped", "start it again with 'springline up'")

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
            if found is not None and found.phase == Phase.UP.value:
                return
            if found is None or found.quarantined or time.monotonic() > end:
                why = found.reason if found is not None else "it was removed"
                raise LocalFault(f"{name} does not start: {why or 'it takes too long'}", "see the node's log")
            time.sleep(0.005)


def _device_of(name: str) -> UUID | None:
    prefix, _, rest = name.rpartition(".")
    return UUID(rest) if prefix == CONNECTIONS else None


def find_bus(layout: Layout) -> str:
    """The bus directory of the node that runs on ``layout``. :raises NotRunning: none does."""
    directory = os.path.realpath(layout.bus)
    if not any(entry.alive for entry in registered(directory) if entry.name == "node"):
        raise NotRunning(f"no node is running for {layout.root}", "start one with 'springline up'")
    return directory
