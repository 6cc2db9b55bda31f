"""The plug-in base: one actor per protocol, which gets the messages and streams other devices send to it.

A handler is written like this, and registered with ``node.register(Notes)`` or under the entry-point group
``springline.protocols``::

    class Notes(ProtocolHandler):
        protocol = "notes"

        def handle(self, device, message):
            ...                                 # a DeviceMessage from that device
            return Custom("notes", 1, b"got it")  # the answer, or None

The rule: a handler runs in a process of its own, one message at a time. Whatever it does wrong — raise, hang, exit —
costs its own restart and nothing else; the sender is told that it failed, and the link lives on. One that keeps
crashing is quarantined. State that must outlive a restart belongs on disk.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar
from uuid import UUID

from springline.actors.carrying import (
    DeliverMessage,
    NeedsApproval,
    SendMessage,
    Sink,
    StreamEnded,
    StreamMoved,
    StreamOffered,
)
from springline.actors.messages import EVENTS, Publish, Subscribe, connection_name
from springline.actors.shell import LATER, Sender, Shell, Then, receives
from springline.errors import Refused
from springline.events import DeviceConnected, DeviceDisconnected
from springline.protocols.codec import decode_untrusted, encode
from springline.protocols.message import DeviceMessage
from springline.store.devices import TrustLevel

_RENEW = 10.0


class _Renew:
    """Time to renew the lease at the EventHub."""


class ProtocolHandler(Shell):
    """Base of all protocol handlers; see the module's header."""

    protocol: ClassVar[str] = ""
    """Its name on the wire: 1 to 48 of ``a-z 0-9 . - _``."""

    approved = False
    """Whether the user has approved what :meth:`handle` or :meth:`offered` is called with."""

    # -- to override -----------------------------------------------------------------------------------------------

    def begin(self, args: Any) -> None:
        """The process has started. :param args: what the handler was registered with."""

    def sensitive(self, device: UUID, message: DeviceMessage) -> str:
        """What handling this message would do that a device which is only *verified* may not do unasked, in one line
        for the user's eyes; or ``""``.

        Before :meth:`handle` gets such a message, the user is asked, who has two minutes: its sender waits as long.
        """
        return ""

    def sensitive_stream(self, device: UUID, header: bytes) -> str:
        """The same for a stream, before it is :meth:`offered`. :raises Malformed: the header makes no sense."""
        return ""

    def handle(self, device: UUID, message: DeviceMessage) -> DeviceMessage | None:
        """A message from ``device``; what is returned is the answer its sender gets."""
        raise Refused(f"{self.protocol} takes no messages")

    def offered(self, device: UUID, header: bytes) -> Sink:
        """``device`` opens a stream: where shall it be written? The file's descriptor is given away.

        :raises Refused: nowhere.
        """
        raise Refused(f"{self.protocol} takes no streams")

    def ended(self, end: StreamEnded) -> None:
        """A stream is over, either way."""

    def moved(self, progress: StreamMoved) -> None:
        """A stream of ours has got on."""

    def connected(self, device: UUID) -> None:
        """The link to ``device`` is up. Only told if overridden."""

    def disconnected(self, device: UUID) -> None:
        """The link to ``device`` is down. Only told if overridden."""

    # -- to use ----------------------------------------------------------------------------------------------------

    def send_to(self, device: UUID, message: DeviceMessage, then: Then | None = None, timeout: float = 30.0) -> None:
        """Send ``message`` to this protocol's handler on ``device``.

        :param then: gets the decoded answer (or None), or a ``SpringlineError``; without it nothing is told.
        :param timeout: seconds until ``then`` gets a ``TimedOut``.
        """

        def decoded(answer: Any) -> None:
            if then is not None:
                then(decode_untrusted(answer) if isinstance(answer, bytes) else answer)

        self.ask(connection_name(device), SendMessage(self.protocol, encode(message)), decoded, timeout)

    # -- the shell's side ------------------------------------------------------------------------------------------

    def start(self, args: Any) -> None:
        """Set up, subscribe to link changes if they are wanted, begin."""
        own = type(self)
        if own.connected is not ProtocolHandler.connected or own.disconnected is not ProtocolHandler.disconnected:
            self._renew(None, None)
        self.begin(args)

    @receives(DeliverMessage)
    def _deliver(self, message: DeliverMessage, sender: Sender) -> object:
        said = decode_untrusted(message.payload)
        if _to_be_asked(message) and (what := self.sensitive(message.device, said)):
            return NeedsApproval(what)
        self.approved = message.approved
        answer = self.handle(message.device, said)
        return None if answer is None else encode(answer)

    @receives(StreamOffered)
    def _offered(self, message: StreamOffered, sender: Sender) -> object:
        if _to_be_asked(message) and (what := self.sensitive_stream(message.device, message.header)):
            return NeedsApproval(what)
        self.approved = message.approved
        sink = self.offered(message.device, message.header)
        sender.reply(sink)
        os.close(sink.file.take())  # sent: the connection has its own, and the stream is none of ours
        return LATER

    @receives(StreamEnded)
    def _ended(self, message: StreamEnded, _sender: Sender) -> None:
        self.ended(message)

    @receives(StreamMoved)
    def _moved(self, message: StreamMoved, _sender: Sender) -> None:
        self.moved(message)

    @receives(DeviceConnected)
    def _connected(self, message: DeviceConnected, _sender: Sender) -> None:
        self.connected(message.device_id)

    @receives(DeviceDisconnected)
    def _disconnected(self, message: DeviceDisconnected, _sender: Sender) -> None:
        self.disconnected(message.device_id)

    @receives(_Renew)
    def _renew(self, _message: object, _sender: object) -> None:
        self.tell(EVENTS, Subscribe(lease=3 * _RENEW))
        self.wake(_RENEW, _Renew())

    def unhandled(self, message: object, sender: Sender) -> object:
        """Other events of the hub are nobody's business here."""
        return super().unhandled(message, sender) if sender.ask_id is not None else None

    def publish(self, event: object) -> None:
        """Tell every subscriber of the node's events."""
        self.tell(EVENTS, Publish(event))


def _to_be_asked(message: DeliverMessage | StreamOffered) -> bool:
    return message.trust is not TrustLevel.TRUSTED and not message.approved
