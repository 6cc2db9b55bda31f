"""Files spliced into streams: the bytes of a file go from the page cache into a frame, and out of a frame into a file.

The rule: a file's descriptor belongs to its stream; when the stream ends, however it ends, the descriptor is closed and
the user hears of it exactly once. The sender's FIN carries the BLAKE3 of the whole file; the receiver has hashed what
it wrote and says FIN in turn only if they agree, so both sides know the outcome.

What comes before a stream is accepted is kept in memory; the mux grants little credit until then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from blake3 import blake3

from springline.transport.mux import Mux
from springline.transport.records import Code, Data, Fin, Open, Priority, Reset

PROGRESS = 0.1
"""Seconds between two reports of a stream's progress."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream has ended.

    :param total: bytes of the whole file up to where it got. :param blake3: of those.
    :param error: why it did not end well, or ``""``.
    """

    stream: int
    protocol: str
    header: bytes
    incoming: bool = False
    total: int = 0
    blake3: bytes = b""
    error: str = ""


class StreamUser(Protocol):
    """What is told of streams. ``tag`` names the channel."""

    def stream_offered(self, tag: int, stream: int, protocol: str, header: bytes) -> None:
        """The other side opened a stream; owe it ``accept_stream`` or ``refuse_stream``."""

    def stream_moved(self, tag: int, stream: int, done: int) -> None:
        """So many bytes of the file are on their way."""

    def stream_ended(self, tag: int, end: StreamEnd) -> None:
        """A stream is over."""


@dataclass(slots=True)
class _Source:
    """A file being sent."""

    protocol: str
    header: bytes
    fd: int
    offset: int
    size: int
    digest: blake3
    told_at: float = 0.0


@dataclass(slots=True)
class _Sink:
    """A stream being received; without a file until it is accepted.

    :param limit: bytes the file may have.
    """

    protocol: str
    header: bytes
    fd: int = -1
    offset: int = 0
    limit: int = 0
    digest: blake3 = field(default_factory=blake3)
    early: list[bytes] = field(default_factory=list)
    fin: Fin | None = None


class Splice:
    """The files of one session's streams.

    :param clock: monotonic seconds. :param spoke: called when something was sent that wants an answer.
    """

    def __init__(
        self, mux: Mux, user: StreamUser, tag: int, clock: Callable[[], float], spoke: Callable[[], None]
    ) -> None:
        self._mux = mux
        self._user = user
        self._tag = tag
        self._clock = clock
        self._spoke = spoke
        self._sources: dict[int, _Source] = {}
        self._sinks: dict[int, _Sink] = {}

    def end_all(self, reason: str) -> None:
        """The session is over."""
        for stream in list(self._sources):
            self._end_source(stream, error=reason)
        for stream in list(self._sinks):
            self._end_sink(stream, error=reason)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, protocol: str, header: bytes, fd: int, offset: int, size: int, digest: blake3) -> int:
        """Open a stream with the rest of a file; its number.

        :param fd: the file, this object's to close from here on.
        :param offset: bytes the other side has. :param size: bytes of the whole file.
        :param digest: of the first ``offset`` bytes.
        """
        try:
            stream = self._mux.open(Priority.BULK, protocol, header)
        except BaseException:
            os.close(fd)
            raise
        self._sources[stream] = _Source(protocol, header, fd, offset, size, digest)
        self._mux.ready(stream)
        return stream

    def read(self, stream: int, view: memoryview) -> int:
        """Called by the mux: put the next bytes of a file into the frame."""
        source = self._sources[stream]
        try:
            got = os.preadv(source.fd, [view[: source.size - source.offset]], source.offset)
        except OSError as error:
            self._abandon(stream, f"the file can't be read: {_why(error)}")
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

    def _tell_progress(self, stream: int, source: _Source) -> None:
        now = self._clock()
        if now - source.told_at >= PROGRESS:
            source.told_at = now
            self._user.stream_moved(self._tag, stream, source.offset)

    def _abandon(self, stream: int, reason: str) -> None:
        self._mux.reset(stream, Code.CANCELLED, reason)
        self._end_source(stream, error=reason)

    def _end_source(self, stream: int, digest: bytes = b"", error: str = "") -> None:
        source = self._sources.pop(stream)
        os.close(source.fd)
        end = StreamEnd(stream, source.protocol, source.header, False, source.offset, digest, error)
        self._user.stream_ended(self._tag, end)

    # -- receiving -------------------------------------------------------------------------------------------------

    def accept(self, stream: int, fd: int, offset: int, limit: int, digest: blake3) -> None:
        """Write an offered stream into a file from ``offset``, up to ``limit`` bytes of it.

        :param fd: the file, this object's to close from here on. :param digest: of its first ``offset`` bytes.
        """
        sink = self._sinks.get(stream)
        if sink is None:
            os.close(fd)
            return
        sink.fd, sink.offset, sink.limit, sink.digest = fd, offset, limit, digest
        self._mux.widen(stream)
        early, sink.early = sink.early, []
        for data in early:
            if stream in self._sinks:  # else a write has failed
                self._write(stream, sink, memoryview(data))
        if sink.fin is not None and stream in self._sinks:
            self._finish_sink(stream, sink, sink.fin)

    def refuse(self, stream: int, reason: str) -> None:
        """Say why an offered stream is not wanted."""
        if self._sinks.pop(stream, None) is not None:
            self._mux.reset(stream, Code.REFUSED, reason)

    def _write(self, stream: int, sink: _Sink, data: memoryview) -> None:
        size = len(data)
        if sink.offset + size > sink.limit:
            self._give_up(stream, Code.REFUSED, "more came than was offered")
            return
        sink.digest.update(data)
        try:
            while data:
                done = os.pwrite(sink.fd, data, sink.offset)
                sink.offset += done
                data = data[done:]
        except OSError as error:
            self._give_up(stream, Code.FULL, f"the file can't be written: {_why(error)}")
            return
        self._mux.consumed(stream, size)

    def _give_up(self, stream: int, code: Code, reason: str, digest: bytes = b"") -> None:
        self._mux.reset(stream, code, reason)
        self._end_sink(stream, digest, reason)

    def _finish_sink(self, stream: int, sink: _Sink, fin: Fin) -> None:
        digest = sink.digest.digest()
        if digest == fin.digest:
            self._mux.finish(stream)
            self._end_sink(stream, digest)
        else:
            self._give_up(stream, Code.DAMAGED, "what arrived is not what was sent", digest)

    def _end_sink(self, stream: int, digest: bytes = b"", error: str = "") -> None:
        sink = self._sinks.pop(stream)
        if sink.fd >= 0:  # nobody waits for one that was not accepted
            os.close(sink.fd)
            end = StreamEnd(stream, sink.protocol, sink.header, True, sink.offset, digest, error)
            self._user.stream_ended(self._tag, end)

    # -- what has come in ------------------------------------------------------------------------------------------

    def on_open(self, event: Open) -> None:
        """The other side opens a stream."""
        self._sinks[event.stream] = _Sink(event.protocol, event.header)
        self._user.stream_offered(self._tag, event.stream, event.protocol, event.header)

    def on_data(self, event: Data) -> None:
        """Bytes of a stream: into the file, or kept until there is one."""
        sink = self._sinks.get(event.stream)
        if event.stream in self._sources:
            self._abandon(event.stream, "this stream takes no data")
        elif sink is None:
            self._mux.reset(event.stream, Code.REFUSED, "this stream takes no data")
        elif sink.fd < 0:
            sink.early.append(bytes(event.data))
        else:
            self._write(event.stream, sink, memoryview(event.data))

    def on_fin(self, event: Fin) -> None:
        """The other side's half is over: it has sent all, or it has received all of ours."""
        source, sink = self._sources.get(event.stream), self._sinks.get(event.stream)
        if source is not None and source.offset < source.size:
            self._abandon(event.stream, "the other side had enough too early")
        elif source is not None:  # the receiver has it all, and it is the same
            self._end_source(event.stream, source.digest.digest())
        elif sink is not None and sink.fd < 0:
            sink.fin = event
        elif sink is not None:
            self._finish_sink(event.stream, sink, event)

    def on_reset(self, event: Reset) -> None:
        """The other side gives a stream up."""
        why = event.text or "the other side gave it up"
        if event.stream in self._sources:
            self._end_source(event.stream, error=why)
        elif event.stream in self._sinks:
            self._end_sink(event.stream, error=why)


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


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
