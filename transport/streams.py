"""The streams of a session: their numbers, how far each side may be ahead, and when they are over.

The rule: for each half of a stream, what is granted, what is received and not yet consumed, and what is consumed and
not yet granted anew always add up to the window. A sender that goes beyond its grant breaks the protocol. Each half
ends with FIN; RESET ends both. Numbers are used once and in order, even ones by the dialler and odd ones by the
listener, so a look at a number tells "has ended" (ignored: it crossed our RESET) from "never was" (Malformed).
"""

from __future__ import annotations

from dataclasses import dataclass

from springline.errors import Malformed, Misuse
from springline.transport.records import Priority

FIRST_CREDIT = 256 << 10
"""Bytes each side may send on a new stream."""

WINDOW = 4 << 20
"""Bytes a sender may be ahead on a stream that was widened: 1 GB/s at 4 ms, 100 MB/s at 40 ms round trip."""

MOST_STREAMS = 256
"""Streams that each side may have opened at a time."""

MOST_CREDIT = 2**40
"""Bytes of credit nobody can mean."""


@dataclass(slots=True, eq=False)
class Stream:
    """One stream, as one side sees it.

    :param waiting: it is in the scheduler. :param ready: its source has something to read. :param over: dropped.
    :param credit: bytes we may send. :param sent: bytes of DATA we have sent.
    :param fin: digest of our FIN once our half is finished. :param fin_sent: that FIN is in a frame.
    :param window: bytes the peer may be ahead. :param granted: bytes it may send now.
    :param consumed: bytes consumed and not yet granted anew. :param received: bytes of DATA received.
    """

    number: int
    priority: Priority
    waiting: bool = False
    ready: bool = False
    over: bool = False
    credit: int = FIRST_CREDIT
    sent: int = 0
    fin: bytes | None = None
    fin_sent: bool = False
    window: int = FIRST_CREDIT
    granted: int = FIRST_CREDIT
    consumed: int = 0
    received: int = 0
    fin_received: bool = False

    @property
    def may_send(self) -> bool:
        """True if it is to be read for."""
        return self.ready and self.credit > 0 and self.fin is None and not self.over

    def widen(self, window: int) -> int:
        """Bytes of credit to grant so that the peer may be ahead by ``window``."""
        size = max(0, window - self.window)
        self.window += size
        self.granted += size
        return size

    def consume(self, size: int) -> int:
        """Bytes of credit to grant after ``size`` more were consumed. :raises Misuse: so many were not received."""
        self.consumed += size
        if size < 0 or self.consumed + self.granted > self.window:
            raise Misuse("more was consumed than received")
        if self.fin_received or 2 * self.consumed < self.window:
            return 0
        size, self.consumed = self.consumed, 0
        self.granted += size
        return size

    def on_data(self, size: int) -> None:
        """DATA came in. :raises Malformed: beyond its credit, or after FIN."""
        if self.fin_received or size > self.granted:
            raise Malformed("data after a stream's end, or beyond its credit")
        self.granted -= size
        self.received += size

    def on_credit(self, size: int) -> None:
        """CREDIT came in. :raises Malformed: it is absurd."""
        self.credit += size
        if self.credit > MOST_CREDIT:
            raise Malformed("credit beyond all measure")

    def on_fin(self, total: int) -> None:
        """FIN came in. :raises Malformed: for the second time, or some DATA is missing."""
        if self.fin_received or total != self.received:
            raise Malformed("a stream ends twice, or with another length than it had")
        self.fin_received = True


class Streams:
    """Those that are open.

    :param dialler: True on the side that dialled: its streams have even numbers.
    """

    __slots__ = ("_next_ours", "_next_theirs", "_open", "_parity")

    def __init__(self, dialler: bool) -> None:
        self._open: dict[int, Stream] = {}
        self._parity = 0 if dialler else 1
        self._next_ours, self._next_theirs = (2, 1) if dialler else (1, 2)

    def open(self, priority: Priority) -> Stream:
        """A new stream of ours. :raises Misuse: too many are open."""
        if self._count(self._parity) >= MOST_STREAMS:
            raise Misuse("too many streams are open", "wait until one has ended")
        stream = self._open[self._next_ours] = Stream(self._next_ours, priority)
        self._next_ours += 2
        return stream

    def on_open(self, number: int, priority: Priority) -> None:
        """OPEN came in. :raises Malformed: it is not the next number, or one stream too many."""
        if number != self._next_theirs:
            raise Malformed("a stream's number is not the next one")
        if self._count(1 - self._parity) >= MOST_STREAMS:
            raise Malformed("more streams than may be open")
        self._open[number] = Stream(number, priority)
        self._next_theirs += 2

    def get(self, number: int) -> Stream | None:
        """The open stream of that number."""
        return self._open.get(number)

    def find_untrusted(self, number: int) -> Stream | None:
        """The stream the peer names, or None if it has ended. :raises Malformed: there never was one."""
        stream = self._open.get(number)
        if stream is None:
            bound = self._next_ours if number % 2 == self._parity else self._next_theirs
            if not 0 < number < bound:
                raise Malformed("a record for a stream that nobody has opened")
        return stream

    def drop(self, stream: Stream) -> None:
        """The stream is over in both directions."""
        stream.over = True
        self._open.pop(stream.number, None)

    def drop_if_finished(self, stream: Stream) -> None:
        """Drop it if both halves have ended."""
        if stream.fin_sent and stream.fin_received:
            self.drop(stream)

    def _count(self, parity: int) -> int:
        return sum(number % 2 == parity for number in self._open)
