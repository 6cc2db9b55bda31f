"""The handler of ``files``: both ends of a transfer.

The rule: the sending side's decisions are ``sending.step``'s; the receiving side decides nothing that is not on disk
(``inbox``). The bytes never pass through here: the connections splice the files themselves.

A local app begins with :class:`SendFile` and asks now and then with :class:`HowFar`. If this process dies, the answer
is "never heard of it", and the app begins again under the same id: nothing is sent twice.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from springline.actors.carrying import OpenStream, Sink, StreamEnded, StreamMoved
from springline.actors.datagram import Fd
from springline.actors.keeping import Audit
from springline.actors.messages import KEYSTORE, connection_name
from springline.actors.shell import Sender, receives
from springline.errors import HandlerFailed, Malformed, Misuse, NotRunning, SpringlineError, Unreachable
from springline.protocols.files import sending
from springline.protocols.files.asking import Cancel, HowFar, Progress, SendFile
from springline.protocols.files.inbox import Inbox
from springline.protocols.files.sending import Effect, Phase, SendFrom, Sending, SendOffer
from springline.protocols.files.wire import VERSION, AllThere, Have, Offer, offer_from_untrusted, reply_from_untrusted
from springline.protocols.handler import ProtocolHandler
from springline.protocols.message import Custom, DeviceMessage

KEEP_ENDED = 600.0
"""Seconds a finished transfer can still be asked about."""

MOST_SENDING = 64
"""Transfers at a time."""

MOST_ALLOWED = 256
"""Approved transfers remembered; one that is forgotten is asked for again should its link break."""


@dataclass(frozen=True, slots=True)
class FilesArgs:
    """:param incoming: folder for received files."""

    incoming: str


@dataclass(slots=True)
class _Outgoing:
    device: UUID
    file: Fd
    state: Sending
    offers: int = 0
    ended_at: float | None = None


class _Tick:
    """Look at the deadlines."""


class Files(ProtocolHandler):
    """Sends with :class:`SendFile`; receives what is offered."""

    protocol = "files"

    def begin(self, args: FilesArgs) -> None:
        """Open the folder for received files."""
        self._inbox = Inbox(args.incoming)
        self._inbox.forget_abandoned(time.time())
        self._outgoing: dict[UUID, _Outgoing] = {}
        self._allowed: dict[tuple[UUID, UUID], tuple[str, int]] = {}
        self._ticking = False

    # -- sending ---------------------------------------------------------------------------------------------------

    @receives(SendFile)
    def send_file(self, message: SendFile, sender: Sender) -> Progress:
        """Begin, or find it begun."""
        transfer = message.offer.transfer
        if transfer not in self._outgoing:
            if sum(one.ended_at is None for one in self._outgoing.values()) >= MOST_SENDING:
                raise Misuse(f"{MOST_SENDING} files are being sent already", "wait until one has arrived")
            self._outgoing[transfer] = _Outgoing(message.device, message.file, Sending(message.offer))
            self._feed(transfer, sending.Due())
            self._tick_on()
        return self._progress(transfer)

    @receives(HowFar)
    def how_far(self, message: HowFar, sender: Sender) -> Progress:
        """Tell."""
        return self._progress(message.transfer)

    @receives(Cancel)
    def cancel(self, message: Cancel, sender: Sender) -> None:
        """Forget about it; a stream under way ends when the link does, or runs out unheard."""
        if message.transfer in self._outgoing:
            self._feed(message.transfer, sending.Denied("cancelled"))

    def _progress(self, transfer: UUID) -> Progress:
        one = self._outgoing.get(transfer)
        if one is None:
            raise Misuse("no such transfer is known here")
        state = one.state
        return Progress(
            state.phase.value, state.moved, state.offer.size, state.reason, state.digest, state.name or state.offer.name
        )

    def _feed(self, transfer: UUID, event: sending.Event) -> None:
        one = self._outgoing.get(transfer)
        if one is None:
            return
        one.state, effects = sending.step(one.state, event, time.monotonic())
        for effect in effects:
            self._perform(transfer, one, effect)
        if one.ended_at is None and one.state.phase in (Phase.DONE, Phase.FAILED):
            one.ended_at = time.monotonic()
            one.file.close()
            state = one.state
            failed = state.phase is Phase.FAILED
            kind, why = ("file not sent", state.reason) if failed else ("file sent", "")
            self._note(kind, one.device, state.offer, why)

    def _note(self, kind: str, device: UUID, offer: Offer, why: str = "") -> None:
        """Have the audit trail hold it."""
        what = f"{offer.name} ({offer.size} bytes)"
        self.tell(KEYSTORE, Audit(kind, device, f"{what}: {why}" if why else what))

    def _perform(self, transfer: UUID, one: _Outgoing, effect: Effect) -> None:
        match effect:
            case SendOffer():
                one.offers += 1
                self._send_offer(transfer, one, one.offers)
            case SendFrom(offset=offset):
                offer = one.state.offer
                if os.fstat(one.file.fileno()).st_size < offer.size:
                    self._feed(transfer, sending.Denied("the file has become shorter since it was offered"))
                    return
                header = Offer(offer.transfer, offer.name, offer.size, offset).encode()
                stream = OpenStream(self.protocol, transfer.bytes, header, one.file, offset, offer.size)
                self.tell(connection_name(one.device), stream)

    def _send_offer(self, transfer: UUID, one: _Outgoing, number: int) -> None:
        def replied(answer: Any) -> None:
            if one.offers == number:  # else a later offer is on its way
                self._replied(transfer, answer)

        offer = Custom(self.protocol, VERSION, one.state.offer.encode())
        self.send_to(one.device, offer, replied, timeout=sending.ANSWER_PATIENCE + 1)

    def _replied(self, transfer: UUID, answer: Any) -> None:
        match answer:
            case Custom(payload=payload):
                try:
                    event: sending.Event = sending.Replied(reply_from_untrusted(payload))
                except Malformed as error:
                    event = sending.Denied(f"the receiver's answer is none: {error.message}")
            case HandlerFailed() | NotRunning() | Unreachable():
                event = sending.Broke(answer.message)
            case SpringlineError():
                event = sending.Denied(str(answer))
            case _:
                event = sending.Denied("the receiver does not answer offers")
        self._feed(transfer, event)

    def moved(self, progress: StreamMoved) -> None:
        """A stream has got on."""
        self._feed(UUID(bytes=progress.token), sending.Moved(progress.done))

    def connected(self, device: UUID) -> None:
        """Go on with what waits for that device."""
        for transfer, one in list(self._outgoing.items()):
            if one.device == device:
                self._feed(transfer, sending.Connected())

    def _tick_on(self) -> None:
        if not self._ticking:
            self._ticking = True
            self.wake(sending.PAUSE, _Tick())

    @receives(_Tick)
    def _tick(self, message: _Tick, sender: Sender) -> None:
        self._ticking = False
        now = time.monotonic()
        for transfer, one in list(self._outgoing.items()):
            if one.ended_at is None:
                self._feed(transfer, sending.Due())
                self._tick_on()
            elif now - one.ended_at > KEEP_ENDED:
                del self._outgoing[transfer]

    # -- receiving -------------------------------------------------------------------------------------------------

    def sensitive(self, device: UUID, message: DeviceMessage) -> str:
        """To receive a file; to say that it has been received is not."""
        offer = _offer(message)
        return "" if self._inbox.done(offer.transfer) is not None else self._unasked(device, offer)

    def sensitive_stream(self, device: UUID, header: bytes) -> str:
        """To receive what was not offered before, or otherwise."""
        return self._unasked(device, offer_from_untrusted(header))

    def _unasked(self, device: UUID, offer: Offer) -> str:
        """What the user is asked, unless that file has been approved; the offset may change when it goes on."""
        if self._allowed.get((device, offer.transfer)) == (offer.name, offer.size):
            return ""
        return f"receive the file “{offer.name}” ({_readable(offer.size)})"

    def _allow(self, device: UUID, offer: Offer) -> None:
        self._allowed[device, offer.transfer] = offer.name, offer.size
        if len(self._allowed) > MOST_ALLOWED:
            del self._allowed[next(iter(self._allowed))]

    def handle(self, device: UUID, message: DeviceMessage) -> DeviceMessage:
        """An offer: what do we have of it?"""
        offer = _offer(message)
        if self.approved:
            self._allow(device, offer)
        done = self._inbox.done(offer.transfer)
        here = Have(self._inbox.received(offer.transfer, offer.size))
        reply = here if done is None else AllThere(done.blake3, done.name)
        return Custom(self.protocol, VERSION, reply.encode())

    def offered(self, device: UUID, header: bytes) -> Sink:
        """A stream with the rest of a file: here is where it goes."""
        offer = offer_from_untrusted(header)
        if self.approved:
            self._allow(device, offer)
        if offer.offset > self._inbox.received(offer.transfer, offer.size):
            raise Malformed("the rest of a file whose beginning is not here")
        return Sink(Fd(self._inbox.open_part(offer.transfer, offer.offset)), offer.offset, offer.size)

    def ended(self, end: StreamEnded) -> None:
        """A stream is over: ours, or one that we received."""
        if not end.incoming:
            streamed = sending.Streamed(end.blake3)
            self._feed(UUID(bytes=end.token), sending.Broke(end.error) if end.error else streamed)
            return
        offer = offer_from_untrusted(end.header)
        if not end.error and end.total == offer.size:
            again = self._inbox.done(offer.transfer) is not None
            self._inbox.finish(offer.transfer, offer.name, offer.size, end.blake3)
            if not again:
                self._note("file received", end.device, offer)
        elif end.blake3 or end.total > offer.size:  # it came to its end and is not what was offered: start over
            self._inbox.discard(offer.transfer)
            self._note("file not received", end.device, offer, end.error or "it is not what was offered")


def _offer(message: DeviceMessage) -> Offer:
    if not isinstance(message, Custom) or message.version != VERSION:
        raise Malformed("not an offer of a file")
    return offer_from_untrusted(message.payload)


def _readable(size: int) -> str:
    """Bytes as people say them."""
    if size < 1000:
        return f"{size} bytes"
    amount, units = size / 1000, iter(("kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while amount >= 999.95 and unit != "PB":
        amount, unit = amount / 1000, next(units)
    return f"{amount:.1f} {unit}"
