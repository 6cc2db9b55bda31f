"""A session at work: one socket, one asyncio loop, messages and files in both directions.

The rule: this is where bytes move, and nothing is decided here. What is sent next is the mux's business, whether the
other side lives is ``liveness``'s, how long keys serve ``refresh``'s; what an incoming message or stream means is the
user's (:class:`ChannelUser`). A channel ends once: by :meth:`Channel.goodbye`, or by telling ``channel_lost`` why it
broke. Either way every stream on it ends first, so nobody waits for one for ever.

Frames are filled, encrypted and sent in place, and decrypted where they were received; files go in and out of them
without a copy in between (``transport/splice.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Protocol

from blake3 import blake3

from springline.errors import (
    Busy,
    HandlerFailed,
    InternalFault,
    Malformed,
    NoHandler,
    Refused,
    SpringlineError,
    Unreachable,
)
from springline.transport.framing import LENGTH_SIZE, MOST_FRAME, FrameBuffer, room
from springline.transport.mux import Mux
from springline.transport.noise import TAG_SIZE, SessionKeys
from springline.transport.outgoing import acknowledge_along, hold_little, unacknowledged
from springline.transport.pulse import EARLY, Pulse
from springline.transport.records import (
    Ack,
    Code,
    Data,
    Fin,
    GoAway,
    Message,
    Open,
    Pong,
    Priority,
    Purpose,
    Refresh,
    Reset,
    parse_untrusted,
)
from springline.transport.refresh import Answer, Ask, RefreshLimits
from springline.transport.refresher import Refresher
from springline.transport.session import LEAST_BODY, Session
from springline.transport.splice import Splice, StreamUser

BATCH = 4
"""Frames put together for one ``send``."""

TURN = 16
"""Batches sent before the loop gets to do something else."""

MOST_BACKLOG = 64 << 20
"""Bytes of messages that may wait to be sent."""

QUIET = 1.0
"""Seconds of silence after which what comes is most likely a probe."""


class ChannelUser(StreamUser, Protocol):
    """What a channel tells. ``tag`` names the channel."""

    def channel_lost(self, tag: int, reason: str) -> None:
        """It is broken and closed."""

    def requested(self, tag: int, request: int, protocol: str, payload: bytes) -> None:
        """A message came in; owe it :meth:`Channel.send_answer`."""

    def answered(self, tag: int, request: int, answer: bytes | SpringlineError | None) -> None:
        """The answer to a message of ours."""

    def refresh_asks(self, tag: int, question: Ask) -> None:
        """A refresh of the keys needs the Keystore; owe it :meth:`Channel.refresh_told`."""


class Channel:
    """One session.

    :param sock: connected, non-blocking; this object's to close.
    :param keys: of the handshake. :param dialled: whether this side dialled.
    :param keepalive: seconds of silence, at most, before a probe. :param refresh: how long keys serve.
    :param tag: given back in every call of ``user``.
    """

    def __init__(
        self,
        sock: socket.socket,
        keys: SessionKeys,
        *,
        dialled: bool,
        keepalive: float,
        user: ChannelUser,
        tag: int,
        refresh: RefreshLimits,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._session = Session.after_confirm(keys, initiator=dialled)
        self._mux = Mux(dialled)
        self._frames = FrameBuffer(LEAST_BODY)
        self._user = user
        self._tag = tag
        self.received = self.sent = 0  # bytes on the wire
        self._out = room(BATCH * MOST_FRAME)
        self._unsent = self._out[:0]
        self._pulse = Pulse(keepalive, self._loop, self._ping, self._lose, self._progress, early=EARLY[dialled])
        self._splice = Splice(self._mux, user, tag, self._loop.time, self._pulse.spoke)
        self._refresher = Refresher(
            self._session,
            keys.hash,
            refresh,
            dialled=dialled,
            ask=lambda question: user.refresh_asks(tag, question),
            wake=self._wake,
            end=self._outlive,
            timers=self._loop,
        )
        self._writing = self._scheduled = self._begun = self._closed = False
        sock.setblocking(False)
        hold_little(sock)

    # -- life ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start to receive and to send; again does no harm."""
        if self._begun or self._closed:
            return
        self._begun = True
        self._loop.add_reader(self._sock, self._readable)
        self._pulse.begin()
        self._refresher.begin()

    def goodbye(self, reason: str, code: int = Code.DONE) -> None:
        """Tell the other side, as far as the socket takes it, and close. The user hears of the streams only."""
        if self._closed:
            return
        self._say_goodbye(code, reason)
        self._close(reason)

    def _say_goodbye(self, code: int, reason: str) -> None:
        """Try to: a batch that is partly sent goes first, then the record; a full socket gets neither."""
        self._mux.go_away(code, reason)
        with contextlib.suppress(OSError, SpringlineError):
            if not self._unsent or self._send_batch():
                self._send_batch()

    def _lose(self, reason: str) -> None:
        if not self._closed:
            self._close(reason)
            self._user.channel_lost(self._tag, reason)

    def _close(self, reason: str) -> None:
        self._closed = True
        self._pulse.stop()
        self._refresher.close()
        if self._begun:
            self._loop.remove_reader(self._sock)
        if self._writing:
            self._loop.remove_writer(self._sock)
        self._sock.close()
        self._splice.end_all(reason)

    def lose(self, reason: str) -> None:
        """It is known to be dead: no goodbye would get through. The user hears of it as of any loss."""
        self._lose(reason)

    def probe(self) -> None:
        """Something casts doubt on the session: find out at once."""
        self._pulse.probe()

    def look(self) -> None:
        """Make sure that what is due is done, and that something wakes this channel next time."""
        self._pulse.look()

    def keep_alive(self, seconds: float) -> None:
        """From now on probe after so many seconds of silence."""
        self._pulse.keep_alive(seconds)

    @property
    def local_host(self) -> str:
        """This side's address, or ``""``: the socket has none."""
        try:
            return str(self._sock.getsockname()[0]).partition("%")[0]
        except (OSError, IndexError):
            return ""

    def _progress(self) -> tuple[int, int]:
        """Bytes given to be sent so far, and how many of them the other side's machine has acknowledged."""
        return self.sent + len(self._unsent), self.sent - unacknowledged(self._sock)

    def _ping(self, token: int) -> None:
        self._mux.ping(token)
        self._wake()

    # -- the keys: see transport/refresh.py --------------------------------------------------------------------------

    @property
    def refreshes(self) -> int:
        """How often both directions have got new keys."""
        return self._refresher.count

    def refresh_told(self, answer: Answer) -> None:
        """What the Keystore says to ``refresh_asks``."""
        if not self._closed:
            self._refresher.told(answer)

    def _outlive(self, reason: str) -> None:
        self._say_goodbye(Code.DONE, reason)
        self._lose(reason)

    # -- messages --------------------------------------------------------------------------------------------------

    def send_request(self, protocol: str, payload: bytes, priority: int) -> int:
        """Send a message; its id, which comes back in ``answered``.

        :raises Misuse: it can't be sent. :raises Busy: it can't be sent now.
        """
        if self._mux.backlog > MOST_BACKLOG:
            raise Busy(f"{self._mux.backlog >> 20} MiB wait to be sent to the device")
        request = self._mux.message(Purpose.REQUEST, Priority(priority), protocol, payload)
        self._pulse.spoke()
        self._wake()
        return request

    def send_answer(self, request: int, answer: bytes | SpringlineError | None) -> None:
        """Answer a message of the other side's, or say why it failed."""
        if self._closed:
            return
        match answer:
            case bytes():
                self._mux.answer(request, answer)
            case None:
                self._mux.acknowledge(request)
            case NoHandler():
                self._mux.acknowledge(request, Code.NO_HANDLER, answer.message)
            case HandlerFailed() | InternalFault() | Unreachable():
                self._mux.acknowledge(request, Code.FAILED, answer.message)
            case _:  # the handler itself said no
                self._mux.acknowledge(request, Code.REFUSED, answer.message)
        self._wake()

    # -- streams: see transport/splice.py ----------------------------------------------------------------------------

    def open_stream(self, protocol: str, header: bytes, fd: int, offset: int, size: int, digest: blake3) -> int:
        """Send the rest of a file; arguments and result as of ``Splice.send``."""
        stream = self._splice.send(protocol, header, fd, offset, size, digest)
        self._wake()
        return stream

    def accept_stream(self, stream: int, fd: int, offset: int, limit: int, digest: blake3) -> None:
        """Write an offered stream into a file; arguments as of ``Splice.accept``."""
        self._splice.accept(stream, fd, offset, limit, digest)
        self._wake()

    def refuse_stream(self, stream: int, reason: str) -> None:
        """Say why an offered stream is not wanted."""
        self._splice.refuse(stream, reason)
        self._wake()

    # -- sending ---------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Send soon: what is queued in this turn of the loop shares frames."""
        if self._begun and not (self._scheduled or self._writing or self._closed):
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if not self._closed:
            self._refresher.moved()
        if self._closed:
            return
        try:
            for _ in range(TURN):
                if not self._send_batch():
                    return
        except OSError as error:
            self._lose((error.strerror or str(error)).lower())
            return
        self._wake()

    def _send_batch(self) -> bool:
        """Send one batch; False if there is nothing to send or the socket takes no more for now."""
        if not self._unsent:
            self._unsent = self._out[: self._fill()]
            if not self._unsent:
                return False
        try:
            while self._unsent:
                size = self._sock.send(self._unsent)
                self.sent += size
                self._unsent = self._unsent[size:]
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._sock, self._writable)
            return False
        return True

    def _fill(self) -> int:
        """Put the most urgent frames together; the size of them all."""
        at = 0
        for _ in range(BATCH):
            frame = self._out[at : at + MOST_FRAME]
            sealed = self._refresher.put_frame(frame)
            if sealed:
                acknowledge_along(self._sock)  # one word of a refresh is answered by the next
            else:
                size = self._mux.next_frame(frame[LENGTH_SIZE:-TAG_SIZE], self._splice.read)
                if size == 0:
                    break
                sealed = self._session.seal_in_place(frame, size)
            at += sealed
        return at

    def _writable(self) -> None:
        self._loop.remove_writer(self._sock)
        self._writing = False
        self._send()

    # -- receiving -------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            size = self._sock.recv_into(self._frames.writable())
        except BlockingIOError:
            return
        except OSError as error:
            self._lose((error.strerror or str(error)).lower())
            return
        if size == 0:
            self._lose("closed by the other side")
            return
        self.received += size
        if self._pulse.silence > QUIET:
            acknowledge_along(self._sock)
        self._pulse.heard()
        self._frames.wrote(size)
        try:
            for body in self._frames.frames():
                records = parse_untrusted(self._session.open(body))
                for record in records:
                    if isinstance(record, Refresh):
                        self._refresher.came(record, alone=len(records) == 1)
                    elif (event := self._mux.incoming(record)) is not None:
                        self._handle(event)
                    if self._closed:
                        return
        except Malformed as error:
            self._expose(error)
            return
        self._refresher.moved()
        if not self._mux.idle:
            self._wake()

    def _expose(self, error: Malformed) -> None:
        """The other side broke the rules: tell it, close, and tell the user."""
        self._say_goodbye(Code.MALFORMED, error.message)
        self._lose(f"the other side sent what it may not: {error.message}")

    def _handle(self, event: Message | Ack | Open | Data | Fin | Reset | Pong | GoAway) -> None:
        match event:
            case Data():
                self._splice.on_data(event)
            case Message(purpose=Purpose.ANSWER):
                self._user.answered(self._tag, event.id, bytes(event.payload))
            case Message():
                self._user.requested(self._tag, event.id, event.protocol, bytes(event.payload))
            case Ack():
                self._user.answered(self._tag, event.id, _verdict(event))
            case Open():
                self._splice.on_open(event)
            case Fin():
                self._splice.on_fin(event)
            case Reset():
                self._splice.on_reset(event)
            case GoAway():
                self._lose(f"the other side says: {event.text or 'goodbye'}")
            case Pong():
                self._pulse.pong(event.token)


def _verdict(ack: Ack) -> SpringlineError | None:
    if ack.code == Code.DONE:
        return None
    if ack.code == Code.NO_HANDLER:
        return NoHandler(ack.text or "there is no handler there")
    if ack.code == Code.REFUSED:
        return Refused(ack.text or "refused")
    return HandlerFailed(ack.text or "the handler there failed")
