"""A session at work: one socket, one asyncio loop, messages and files in both directions.

The rule: this is where bytes move, and nothing is decided here. What is sent next is the mux's business, whether the
other side lives is ``liveness``'s; what an incoming message or stream means is the user's (:class:`ChannelUser`). A
channel ends once: by :meth:`Channel.goodbye`, or by telling ``channel_lost`` why it broke. Either way every stream on
it ends first, so nobody waits for one for ever.

Files are spliced: the descriptor is read straight into the frame that is encrypted in place, and what comes in is
written straight from the frame it was decrypted in. Each stream's FIN carries the BLAKE3 of the whole file; the
receiver has hashed what it wrote and says FIN in turn only if they agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass, field
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
from springline.transport.framing import LENGTH_SIZE, MOST_FRAME, FrameBuffer
from springline.transport.liveness import Liveness, Verdict
from springline.transport.mux import Mux
from springline.transport.noise import TAG_SIZE, SessionKeys
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
    Reset,
    parse_untrusted,
)
from springline.transport.session import LEAST_BODY, Session

BATCH = 4
"""Frames put together for one ``send``."""

TURN = 16
"""Batches sent before the loop gets to do something else."""

MOST_BACKLOG = 64 << 20
"""Bytes of messages that may wait to be sent."""

UNSENT = 256 << 10
"""Bytes the kernel may hold unsent (``TCP_NOTSENT_LOWAT``): what is urgent must not queue behind more."""

PROGRESS = 0.1
"""Seconds between two reports of a stream's progress."""


class ChannelUser(Protocol):
    """What a channel tells. ``tag`` names the channel."""

    def channel_lost(self, tag: int, reason: str) -> None:
        """It is broken and closed."""

    def requested(self, tag: int, request: int, protocol: str, payload: bytes) -> None:
        """A message came in; owe it :meth:`Channel.send_answer`."""

    def answered(self, tag: int, request: int, answer: bytes | SpringlineError | None) -> None:
        """The answer to a message of ours."""

    def stream_offered(self, tag: int, stream: int, protocol: str, header: bytes) -> None:
        """The other side opened a stream; owe it ``accept_stream`` or ``refuse_stream``."""

    def stream_moved(self, tag: int, stream: int, done: int) -> None:
        """So many bytes of the file are on their way."""

    def stream_ended(self, tag: int, end: StreamEnd) -> None:
        """A stream is over."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream has ended.

    :param total: bytes of the whole file up to where it got.
    :param blake3: of the whole file, if all of it was transferred; with an error, it is not what was sent.
    :param error: why it did not end well, or ``""``.
    """

    stream: int
    protocol: str
    header: bytes
    incoming: bool = False
    total: int = 0
    blake3: bytes = b""
    error: str = ""


@dataclass(slots=True)
class _Outgoing:
    """A file being sent."""

    protocol: str
    header: bytes
    fd: int
    offset: int
    size: int
    digest: blake3
    told_at: float = 0.0


@dataclass(slots=True)
class _Incoming:
    """A stream being received: until it is accepted what came early is kept, at most the initial credit."""

    protocol: str
    header: bytes
    fd: int = -1
    offset: int = 0
    digest: blake3 | None = None
    early: list[bytes] = field(default_factory=list)
    fin: Fin | None = None


class Channel:
    """One session.

    :param sock: connected, non-blocking; this object's to close.
    :param keys: of the handshake. :param dialled: whether this side dialled.
    :param keepalive: seconds of silence before a probe.
    :param tag: given back in every call of ``user``.
    """

    def __init__(
        self, sock: socket.socket, keys: SessionKeys, *, dialled: bool, keepalive: float, user: ChannelUser, tag: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._session = Session.after_confirm(keys, initiator=dialled)
        self._mux = Mux(dialled)
        self._frames = FrameBuffer(LEAST_BODY)
        self._user = user
        self._tag = tag
        self._out = memoryview(bytearray(BATCH * MOST_FRAME))
        self._unsent = self._out[:0]
        self._sources: dict[int, _Outgoing] = {}
        self._sinks: dict[int, _Incoming] = {}
        self._liveness = Liveness(keepalive, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._writing = self._scheduled = self._begun = self._closed = False
        sock.setblocking(False)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):  # an optimisation; not every socket is a TCP one in tests
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    # -- life ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start to receive and to send; again does no harm."""
        if self._begun or self._closed:
            return
        self._begun = True
        self._loop.add_reader(self._sock, self._readable)
        self._watch()
        self._wake()

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
        if self._timer is not None:
            self._timer.cancel()
        if self._begun:
            self._loop.remove_reader(self._sock)
        if self._writing:
            self._loop.remove_writer(self._sock)
        self._sock.close()
        for stream in list(self._sources):
            self._end_source(stream, error=reason)
        for stream in list(self._sinks):
            self._end_sink(stream, error=reason)

    def probe(self) -> None:
        """Something casts doubt on the session: find out at once."""
        self._liveness = self._liveness.suspect(self._loop.time())
        self._check()

    def _watch(self) -> None:
        self._timer = self._loop.call_at(self._liveness.deadline, self._check)

    def _check(self) -> None:
        if self._closed:
            return
        now = self._loop.time()
        self._liveness, verdict = self._liveness.check(now)
        if verdict is Verdict.DEAD:
            self._lose(f"no sign of life for {now - self._liveness.heard_at:.0f} s")
            return
        if verdict is Verdict.PROBE:
            self._mux.ping(0)
            self._wake()
        if self._timer is not None:
            self._timer.cancel()
        self._watch()

    def _spoke(self) -> None:
        """Something was sent that wants an answer: silence is suspicious from now on."""
        before = self._liveness
        self._liveness = before.spoke(self._loop.time())
        if self._timer is not None and self._liveness.deadline < self._timer.when():
            self._timer.cancel()
            self._watch()

    # -- messages --------------------------------------------------------------------------------------------------

    def send_request(self, protocol: str, payload: bytes, priority: int) -> int:
        """Send a message; its id, which comes back in ``answered``.

        :raises Misuse: it can't be sent. :raises Busy: it can't be sent now.
        """
        if self._mux.backlog > MOST_BACKLOG:
            raise Busy(f"{self._mux.backlog >> 20} MiB wait to be sent to the device")
        request = self._mux.message(Purpose.REQUEST, Priority(priority), protocol, payload)
        self._spoke()
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

    # -- streams ---------------------------------------------------------------------------------------------------

    def open_stream(self, protocol: str, header: bytes, fd: int, offset: int, size: int, digest: blake3) -> int:
        """Send the rest of a file; its number, which comes back in ``stream_moved`` and ``stream_ended``.

        :param fd: the file, this object's to close from here on.
        :param offset: bytes the other side has. :param size: bytes of the whole file.
        :param digest: of the first ``offset`` bytes.
        """
        try:
            stream = self._mux.open(Priority.BULK, protocol, header)
        except BaseException:
            os.close(fd)
            raise
        self._sources[stream] = _Outgoing(protocol, header, fd, offset, size, digest)
        self._mux.ready(stream)
        self._wake()
        return stream

    def accept_stream(self, stream: int, fd: int, offset: int, digest: blake3) -> None:
        """Write an offered stream into a file from ``offset``; arguments as of :meth:`open_stream`."""
        sink = self._sinks.get(stream)
        if sink is None:
            os.close(fd)
            return
        sink.fd, sink.offset, sink.digest = fd, offset, digest
        self._mux.widen(stream)
        early, sink.early = sink.early, []
        for data in early:
            self._write(stream, sink, memoryview(data))
        if sink.fin is not None and stream in self._sinks:
            self._finish_sink(stream, sink, sink.fin)
        self._wake()

    def refuse_stream(self, stream: int, reason: str) -> None:
        """Say why an offered stream is not wanted."""
        if self._sinks.pop(stream, None) is not None:
            self._mux.reset(stream, Code.REFUSED, reason)
            self._wake()

    def _read(self, stream: int, view: memoryview) -> int:
        """Called by the mux: put the next bytes of a file into the frame."""
        source = self._sources[stream]
        try:
            got = os.preadv(source.fd, [view[: source.size - source.offset]], source.offset)
        except OSError as error:
            self._abandon(stream, f"the file can't be read: {error.strerror}")
            return 0
        if got == 0 and source.offset < source.size:
            self._abandon(stream, "the file has become shorter while it was sent")
            return 0
        source.digest.update(view[:got])
        source.offset += got
        self._spoke()
        if source.offset >= source.size:
            self._mux.finish(stream, source.digest.digest())
        else:
            self._tell_progress(stream, source)
        return got

    def _tell_progress(self, stream: int, source: _Outgoing) -> None:
        now = self._loop.time()
        if now - source.told_at >= PROGRESS:
            source.told_at = now
            self._user.stream_moved(self._tag, stream, source.offset)

    def _abandon(self, stream: int, reason: str) -> None:
        self._mux.reset(stream, Code.CANCELLED, reason)
        self._end_source(stream, error=reason)

    def _end_source(self, stream: int, blake3: bytes = b"", error: str = "") -> None:
        source = self._sources.pop(stream)
        os.close(source.fd)
        end = StreamEnd(stream, source.protocol, source.header, False, source.offset, blake3, error)
        self._user.stream_ended(self._tag, end)

    def _write(self, stream: int, sink: _Incoming, data: memoryview) -> None:
        """Put received bytes into the file."""
        assert sink.digest is not None  # noqa: S101 - accepted
        size = len(data)
        sink.digest.update(data)
        try:
            while data:
                done = os.pwrite(sink.fd, data, sink.offset)
                sink.offset += done
                data = data[done:]
        except OSError as error:
            reason = f"the file can't be written: {(error.strerror or str(error)).lower()}"
            self._mux.reset(stream, Code.FULL, reason)
            self._end_sink(stream, error=reason)
            return
        self._mux.consumed(stream, size)

    def _finish_sink(self, stream: int, sink: _Incoming, fin: Fin) -> None:
        assert sink.digest is not None  # noqa: S101 - accepted
        digest = sink.digest.digest()
        if digest == fin.digest:
            self._mux.finish(stream)
            self._end_sink(stream, blake3=digest)
        else:
            self._mux.reset(stream, Code.DAMAGED, "what arrived is not what was sent")
            self._end_sink(stream, blake3=digest, error="what arrived is not what was sent")

    def _end_sink(self, stream: int, blake3: bytes = b"", error: str = "") -> None:
        sink = self._sinks.pop(stream)
        if sink.fd >= 0:
            os.close(sink.fd)
            end = StreamEnd(stream, sink.protocol, sink.header, True, sink.offset, blake3, error)
            self._user.stream_ended(self._tag, end)

    # -- sending ---------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Send soon: what is queued in this turn of the loop shares frames."""
        if self._begun and not (self._scheduled or self._writing or self._closed):
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
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
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
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
            size = self._mux.next_frame(frame[LENGTH_SIZE:-TAG_SIZE], self._read)
            if size == 0:
                break
            at += self._session.seal_in_place(frame, size)
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
        self._liveness = self._liveness.heard(self._loop.time())
        self._frames.wrote(size)
        try:
            for body in self._frames.frames():
                for record in parse_untrusted(self._session.open(body)):
                    event = self._mux.incoming(record)
                    if event is not None:
                        self._handle(event)
                    if self._closed:
                        return
        except Malformed as error:
            self._expose(error)
            return
        if not self._mux.idle:
            self._wake()

    def _expose(self, error: Malformed) -> None:
        """The other side broke the rules: tell it, close, and tell the user."""
        self._say_goodbye(Code.MALFORMED, error.message)
        self._lose(f"the other side sent what it may not: {error.message}")

    def _handle(self, event: Message | Ack | Open | Data | Fin | Reset | Pong | GoAway) -> None:
        match event:
            case Data():
                self._on_data(event)
            case Message(purpose=Purpose.ANSWER):
                self._user.answered(self._tag, event.id, bytes(event.payload))
            case Message():
                self._user.requested(self._tag, event.id, event.protocol, bytes(event.payload))
            case Ack():
                self._user.answered(self._tag, event.id, _verdict(event))
            case Open():
                self._sinks[event.stream] = _Incoming(event.protocol, event.header)
                self._user.stream_offered(self._tag, event.stream, event.protocol, event.header)
            case Fin():
                self._on_fin(event)
            case Reset():
                self._on_reset(event)
            case GoAway():
                self._lose(f"the other side says: {event.text or 'goodbye'}")
            case Pong():
                pass  # it was heard, that is all a probe wants

    def _on_data(self, event: Data) -> None:
        sink = self._sinks.get(event.stream)
        if event.stream in self._sources:
            self._abandon(event.stream, "this stream takes no data")
        elif sink is None:
            self._mux.reset(event.stream, Code.REFUSED, "this stream takes no data")
        elif sink.fd < 0:
            sink.early.append(bytes(event.data))
        else:
            self._write(event.stream, sink, memoryview(event.data))

    def _on_fin(self, event: Fin) -> None:
        source = self._sources.get(event.stream)
        if source is not None and source.offset < source.size:
            self._abandon(event.stream, "the other side had enough too early")
            return
        if source is not None:  # the receiver has it all, and it is the same
            self._end_source(event.stream, source.digest.digest())
            return
        sink = self._sinks.get(event.stream)
        if sink is not None and sink.fd < 0:
            sink.fin = event
        elif sink is not None:
            self._finish_sink(event.stream, sink, event)

    def _on_reset(self, event: Reset) -> None:
        why = event.text or "the other side gave it up"
        if event.stream in self._sources:
            self._end_source(event.stream, error=why)
        elif event.stream in self._sinks:
            self._end_sink(event.stream, error=why)


def _verdict(ack: Ack) -> SpringlineError | None:
    if ack.code == Code.DONE:
        return None
    if ack.code == Code.NO_HANDLER:
        return NoHandler(ack.text or "there is no handler there")
    if ack.code == Code.REFUSED:
        return Refused(ack.text or "refused")
    return HandlerFailed(ack.text or "the handler there failed")


def digest_of(fd: int, size: int) -> blake3:
    """BLAKE3 of the first ``size`` bytes of a file; blocks. :raises OSError: the file has fewer."""
    digest, at = blake3(), 0
    while at < size:
        block = os.pread(fd, min(1 << 20, size - at), at)
        if not block:
            raise OSError(f"the file has {at} bytes where {size} are due")
        digest.update(block)
        at += len(block)
    return digest
