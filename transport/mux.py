"""Many messages and streams over one session: what goes into the next frame, and what an incoming record means.

The rule: no sockets, files or clock in here. :class:`Mux` says what may be sent, the layer around it does the reading
and writing. It is used like this::

    stream = mux.open(Priority.BULK, "files", header)   # or .message(…), .ping(…)
    mux.ready(stream)                                   # there is something to read for it
    while size := mux.next_frame(frame[LENGTH_SIZE:-TAG_SIZE], read):
        …                                               # seal in place, send
    for record in parse_untrusted(plaintext):
        event = mux.incoming(record)                    # None, or a record to act upon; Malformed ends the session

``read(stream, view)`` puts bytes of the stream's source straight into the frame and returns how many; 0 parks the
stream until :meth:`Mux.ready`. It must not raise, and may call :meth:`Mux.finish` and :meth:`Mux.reset`.

Small records (pings, credit, ends) come first in each frame, then messages and streams by class
(``transport/schedule.py``): a ping waits for one frame at most, however much bulk there is. The limits of streams are
in ``transport/streams.py``, those of messages in ``transport/exchange.py``; a peer that exceeds any is Malformed. A
stream is opened with a little credit; only :meth:`Mux.widen` gives it the whole window, so what nobody has accepted yet
occupies little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from springline.errors import Malformed, Misuse
from springline.transport.exchange import Class, Exchange
from springline.transport.records import (
    DATA_OVERHEAD,
    Ack,
    Code,
    Credit,
    Data,
    Fin,
    GoAway,
    Message,
    Open,
    Ping,
    Pong,
    Priority,
    Purpose,
    Record,
    Refresh,
    Reset,
    put_data_head,
)
from springline.transport.schedule import Scheduler
from springline.transport.streams import WINDOW, Stream, Streams

MOST_CONTROL = 4096
"""Small records that may wait: a peer that makes us owe more does not read what it asks for."""

LEAST_FRAME = 8192
"""Bytes of plaintext that a frame must have room for: more than any record but MESSAGE and DATA needs."""

_LEAST_ROOM = 512
"""Bytes of a frame in which a part of a message or stream is not worth beginning."""

Read = Callable[[int, memoryview], int]
Event = Message | Ack | Open | Data | Fin | Reset | Pong | GoAway


class Mux:
    """One side's view of a session.

    :param dialler: True on the side that dialled: its streams have even numbers.
    :param window: bytes a peer may be ahead on a stream after :meth:`widen`.
    """

    __slots__ = ("_control", "_exchange", "_streams", "_turns", "_window")

    def __init__(self, dialler: bool, window: int = WINDOW) -> None:
        self._window = window
        self._streams = Streams(dialler)
        self._exchange = Exchange()
        self._control: deque[bytes | Stream] = deque()  # a stream stands for its FIN, which is made when its turn comes
        self._turns: Scheduler[Stream | Class] = Scheduler()

    # -- messages --------------------------------------------------------------------------------------------------

    def message(self, purpose: Purpose, priority: Priority, protocol: str, payload: bytes) -> int:
        """Send a message; its id is returned, and comes back in the :class:`Ack` or answer.

        :param purpose: SEND or REQUEST. :param payload: 0 … ``MOST_MESSAGE`` bytes.
        :raises Misuse: an argument is out of range.
        """
        ident = self._exchange.send(purpose, priority, protocol, payload)
        self._wait(priority, self._exchange.classes[priority])
        return ident

    def answer(self, ident: int, payload: bytes) -> None:
        """Answer the peer's REQUEST. :raises Misuse: it waits for no answer (any more), or this one is too large."""
        priority = self._exchange.answer(ident, payload)
        self._wait(priority, self._exchange.classes[priority])

    def acknowledge(self, ident: int, code: int = Code.DONE, text: str = "") -> None:
        """The peer's message was handled, or why not. :raises Misuse: it waits for no answer (any more)."""
        ack = Ack(ident, code, text).encode()
        self._exchange.settle(ident)
        self._control.append(ack)

    @property
    def backlog(self) -> int:
        """Bytes of messages that have not begun to be sent."""
        return self._exchange.backlog

    # -- streams; calls for one that has ended do nothing -------------------------------------------------------------

    def open(self, priority: Priority, protocol: str, header: bytes) -> int:
        """Open a stream; its number. :raises Misuse: too many are open, or an argument is out of range."""
        Open(0, priority, protocol, header).encode()  # raises before a number is used up
        stream = self._streams.open(priority)
        self._control.append(Open(stream.number, priority, protocol, header).encode())
        return stream.number

    def ready(self, stream: int) -> None:
        """The stream's source has something to read."""
        state = self._streams.get(stream)
        if state is not None:
            state.ready = True
            self._wait(state.priority, state)

    def finish(self, stream: int, digest: bytes = b"") -> None:
        """End our half of the stream, behind everything that was read for it.

        :param digest: what the protocol says is to be compared, 32 bytes, or ``b""``.
        :raises Misuse: it was finished before, or the digest has another size.
        """
        state = self._streams.get(stream)
        if state is None:
            return
        if state.fin is not None:
            raise Misuse("the stream is finished already")
        Fin(stream, 0, digest).encode()
        state.fin = digest
        self._control.append(state)

    def reset(self, stream: int, code: int, text: str = "") -> None:
        """End the stream at once, in both directions."""
        state = self._streams.get(stream)
        if state is not None:
            self._control.append(Reset(stream, code, text).encode())
            self._streams.drop(state)

    def widen(self, stream: int) -> None:
        """Accept the stream: the peer may be ahead by a whole window from now on."""
        state = self._streams.get(stream)
        if state is not None:
            self._grant(stream, state.widen(self._window))

    def consumed(self, stream: int, size: int) -> None:
        """``size`` bytes of received DATA are out of memory. :raises Misuse: more than was received."""
        state = self._streams.get(stream)
        if state is not None:
            self._grant(stream, state.consume(size))

    # -- the session -----------------------------------------------------------------------------------------------

    def ping(self, token: int) -> None:
        """Ask for a sign of life: a :class:`Pong` with this token (u64) comes back."""
        self._control.append(Ping(token).encode())

    def go_away(self, code: int, text: str = "") -> None:
        """Tell the peer that the session ends, and why; send what :meth:`next_frame` still gives, then close."""
        self._control.append(GoAway(code, text).encode())

    @property
    def idle(self) -> bool:
        """True if :meth:`next_frame` has nothing to send now."""
        return not self._control and not self._turns

    # -- frames ----------------------------------------------------------------------------------------------------

    def next_frame(self, frame: memoryview, read: Read) -> int:
        """Fill a frame's plaintext with what is most urgent.

        :param frame: where to put it; at least ``LEAST_FRAME`` bytes.
        :param read: see the module's header.
        :returns: bytes of the plaintext; 0 if there is nothing to send.
        """
        if len(frame) < LEAST_FRAME:
            raise Misuse(f"a frame has room for at least {LEAST_FRAME} bytes")
        at = self._put_control(frame, 0)
        # While a small record waits for room nothing may overtake it: it may be the OPEN of what would follow.
        while not self._control and len(frame) - at >= _LEAST_ROOM:
            turn = self._turns.take()
            if turn is None:
                break
            priority, flow = turn
            flow.waiting = False
            if flow.may_send:
                room = frame[at:]
                size = self._read(flow, room, read) if isinstance(flow, Stream) else self._part(priority, room)
                self._turns.charge(priority, size)
                self._wait(priority, flow)
                at += size
            at = self._put_control(frame, at)
        return at

    def _put_control(self, frame: memoryview, at: int) -> int:
        while self._control:
            item = self._control[0]
            record = _fin(item) if isinstance(item, Stream) else item
            end = at + len(record)
            if end > len(frame):
                break
            frame[at:end] = record
            at = end
            self._control.popleft()
            if isinstance(item, Stream):
                item.fin_sent = True
                self._streams.drop_if_finished(item)
        return at

    def _read(self, stream: Stream, room: memoryview, read: Read) -> int:
        limit = min(len(room) - DATA_OVERHEAD, stream.credit)
        size = read(stream.number, room[DATA_OVERHEAD : DATA_OVERHEAD + limit])
        if not 0 <= size <= limit:
            raise Misuse(f"{size} bytes were read where {limit} had room")
        if size == 0:
            stream.ready = False
        if size == 0 or stream.over:
            return 0
        put_data_head(room, stream.number, size)
        stream.credit -= size
        stream.sent += size
        return DATA_OVERHEAD + size

    def _part(self, priority: Priority, room: memoryview) -> int:
        part = self._exchange.next_part(priority, len(room))
        room[: len(part)] = part
        return len(part)

    def _wait(self, priority: Priority, flow: Stream | Class) -> None:
        if not flow.waiting and flow.may_send:
            flow.waiting = True
            self._turns.add(priority, flow)

    def _grant(self, stream: int, size: int) -> None:
        if size:
            self._control.append(Credit(stream, size).encode())

    # -- what has come in ------------------------------------------------------------------------------------------

    def incoming(self, record: Record) -> Event | None:
        """What the layer around is to act upon, if anything.

        A :class:`Message` is whole: acknowledge or answer it, unless it is an ANSWER. An :class:`Open` is to be widened
        or reset. A :class:`Data` is in order and within its credit: say :meth:`consumed` when it is out of memory.
        After :class:`Fin` no more is to come: finish or reset our half.

        :raises Malformed: the peer breaks the rules; the session is over.
        """
        if len(self._control) > MOST_CONTROL:
            raise Malformed("the other side asks, but does not read the answers")
        match record:
            case Data():
                return self._on_data(record)
            case Message():
                whole = self._exchange.on_part(record)
                self._wait(record.priority, self._exchange.classes[record.priority])  # an ANSWER makes room
                return whole
            case Ack():
                priority = self._exchange.on_answered(record.id)
                self._wait(priority, self._exchange.classes[priority])
                return record
            case Open():
                self._streams.on_open(record.stream, record.priority)
                return record
            case Credit():
                self._on_credit(record)
                return None
            case Fin():
                return self._on_fin(record)
            case Reset():
                return self._on_reset(record)
            case Ping():
                self._control.append(Pong(record.token).encode())
                return None
            case Pong() | GoAway():
                return record
            case Refresh():
                raise Malformed("a refresh is none of the streams' and messages' business")

    def _on_data(self, data: Data) -> Data | None:
        stream = self._streams.find_untrusted(data.stream)
        if stream is None:
            return None
        stream.on_data(len(data.data))
        return data

    def _on_credit(self, credit: Credit) -> None:
        stream = self._streams.find_untrusted(credit.stream)
        if stream is not None:
            stream.on_credit(credit.size)
            self._wait(stream.priority, stream)

    def _on_fin(self, fin: Fin) -> Fin | None:
        stream = self._streams.find_untrusted(fin.stream)
        if stream is None:
            return None
        stream.on_fin(fin.total)
        self._streams.drop_if_finished(stream)
        return fin

    def _on_reset(self, reset: Reset) -> Reset | None:
        stream = self._streams.find_untrusted(reset.stream)
        if stream is None:
            return None
        self._streams.drop(stream)
        return reset


def _fin(stream: Stream) -> bytes:
    return b"" if stream.over else Fin(stream.number, stream.sent, stream.fin or b"").encode()
