"""Many messages and streams over one session: what goes into the next frame, and what an incoming record means.

The rule: no sockets, files or clock in here; :class:`Mux` says what may be sent, the layer around it does the reading and
writing. It is used like this::

    stream = mux.open(Priority.BULK, "files", header)   # or .message(…), .ping(…)
    mux.ready(stream)                                   # there is something to read for it
    while size := mux.next_frame(frame[LENGTH_SIZE:-TAG_SIZE], read):
        …                                               # seal in place, send
    for record in parse_untrusted(plaintext):
        event = mux.incoming(record)                    # None, or a record to act upon; Malformed ends the session

``read(stream, view)`` puts bytes of the stream's source straight into the frame and returns how many; 0 parks the stream
until :meth:`Mux.ready`. It may call :meth:`Mux.finish` or :meth:`Mux.reset`.

* *Order.* Small records (pings, credit, ends) come first in each frame. Messages and streams follow by class
  (``transport/schedule.py``). So a ping waits for one frame at most, however much bulk there is.
* *Streams* go both ways; each half ends with FIN, RESET ends both. A sender may be ahead of its receiver by the credit it
  was granted: ``FIRST_CREDIT`` on opening, ``WINDOW`` once the receiver has said :meth:`Mux.widen`, so what nobody has
  accepted yet occupies little. Half a window consumed is granted anew.
* *Messages* of a class are sent one after the other, so at most one per class is incomplete. Per class at most
  ``MOST_UNANSWERED`` messages and ``MESSAGE_WINDOW`` bytes may be without answer; the rest waits with the sender.
* *A peer that exceeds any of this* is Malformed. A record for a stream that has ended crossed our RESET: it is ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from springline.errors import Malformed, Misuse
from springline.transport.records import (
    DATA_OVERHEAD,
    MOST_MESSAGE,
    MOST_NAME,
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
    Reset,
    put_data_head,
)
from springline.transport.schedule import Scheduler

FIRST_CREDIT = 256 << 10
"""Bytes each side may send on a new stream."""

WINDOW = 4 << 20
"""Bytes a sender may be ahead on a stream that was widened: 1 GB/s at 4 ms, 100 MB/s at 40 ms round trip."""

MOST_STREAMS = 256
"""Streams that each side may have opened at a time."""

MOST_UNANSWERED = 256
"""Messages of a class that may be without answer."""

MESSAGE_WINDOW = MOST_MESSAGE
"""Bytes of messages of a class that may be without answer: the largest message fits."""

MOST_CONTROL = 4096
"""Small records that may wait: a peer that makes us owe more does not read what it asks for."""

MOST_CREDIT = 2**40
"""Bytes of credit nobody can mean."""

LEAST_FRAME = 8192
"""Bytes of plaintext that a frame must have room for: more than any record but MESSAGE and DATA needs."""

_LEAST_ROOM = 512
"""Not worth beginning a part of a message or stream in less; more than a part's own overhead."""

_PART_OVERHEAD = 14 + MOST_NAME

Read = Callable[[int, memoryview], int]
Event = Message | Ack | Open | Data | Fin | Reset | Pong | GoAway


@dataclass(slots=True, eq=False)
class _Stream:
    id: int
    priority: Priority
    waiting: bool = False
    ready: bool = False
    credit: int = FIRST_CREDIT
    sent: int = 0
    fin: bytes | None = None
    fin_sent: bool = False
    window: int = FIRST_CREDIT
    granted: int = FIRST_CREDIT
    consumed: int = 0
    received: int = 0
    fin_received: bool = False


@dataclass(slots=True, eq=False)
class _Outbox:
    """The outgoing messages of a class, and those of the peer that we owe an answer."""

    messages: deque[Message] = field(default_factory=deque)
    offset: int = 0
    waiting: bool = False
    unanswered: int = 0
    unanswered_bytes: int = 0
    owed: int = 0
    owed_bytes: int = 0
    incomplete: Message | None = None
    parts: bytearray = field(default_factory=bytearray)


class Mux:
    """One side's view of a session.

    :param dialler: True on the side that dialled: its streams have even numbers.
    :param window: bytes a peer may be ahead on a stream after :meth:`widen`.
    """

    def __init__(self, dialler: bool, window: int = WINDOW) -> None:
        self._window = window
        self._parity = 0 if dialler else 1
        self._next_stream = 2 if dialler else 1
        self._next_theirs = 1 if dialler else 2
        self._next_message = 1
        self._streams: dict[int, _Stream] = {}
        self._outboxes = {priority: _Outbox() for priority in Priority}
        self._unanswered: dict[int, tuple[Priority, Purpose, int]] = {}
        self._owed: dict[int, tuple[Priority, str, int]] = {}
        self._control: deque[bytes | _Stream] = deque()
        self._turns: Scheduler[_Stream | _Outbox] = Scheduler()

    # -- what is to be sent ----------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True if :meth:`next_frame` has nothing to send now."""
        return not self._control and not self._turns

    @property
    def backlog(self) -> int:
        """Bytes of messages that wait here to be sent."""
        return sum(len(m.payload) for box in self._outboxes.values() for m in box.messages)

    def message(self, purpose: Purpose, priority: Priority, protocol: str, payload: bytes) -> int:
        """Send a message; its id is returned, and comes back in the :class:`Ack` or answer.

        :param purpose: SEND or REQUEST. :param payload: 0 … ``MOST_MESSAGE`` bytes.
        :raises Misuse: it is too large or the protocol's name is none.
        """
        if purpose is Purpose.ANSWER:
            raise Misuse("an answer is sent with answer()")
        ident = self._next_message
        self._send(Message(ident, purpose, priority, protocol, payload))
        self._next_message += 1
        return ident

    def answer(self, ident: int, payload: bytes) -> None:
        """Answer the peer's request. :raises Misuse: it is not (any more) without answer, or too large a payload."""
        priority, protocol, _ = self._owes(ident)
        self._send(Message(ident, Purpose.ANSWER, priority, protocol, payload))
        self._settle(ident)

    def acknowledge(self, ident: int, code: int = Code.DONE, text: str = "") -> None:
        """The peer's message was handled, or why not. :raises Misuse: it is not (any more) without answer."""
        self._owes(ident)
        self._control.append(Ack(ident, code, text).encode())
        self._settle(ident)

    def open(self, priority: Priority, protocol: str, header: bytes) -> int:
        """Open a stream; its number. :raises Misuse: too many are open, or an argument is out of range."""
        if self._open_streams(self._parity) >= MOST_STREAMS:
            raise Misuse("too many streams are open", "wait until one has ended")
        stream = self._next_stream
        self._control.append(Open(stream, priority, protocol, header).encode())
        self._next_stream += 2
        self._streams[stream] = _Stream(stream, priority)
        return stream

    def ready(self, stream: int) -> None:
        """The stream's source has something to read. An ended stream is ignored."""
        state = self._streams.get(stream)
        if state is not None:
            state.ready = True
            self._queue_stream(state)

    def finish(self, stream: int, digest: bytes = b"") -> None:
        """End our half of the stream, behind everything that was read for it. An ended stream is ignored.

        :param digest: what the protocol says is to be compared, 32 bytes, or ``b""``.
        :raises Misuse: it was finished before.
        """
        state = self._streams.get(stream)
        if state is None:
            return
        if state.fin is not None:
            raise Misuse("the stream is finished already")
        Fin(stream, 0, digest).encode()  # checks the digest
        state.fin = digest
        self._control.append(state)

    def reset(self, stream: int, code: int, text: str = "") -> None:
        """End the stream at once, in both directions. An ended stream is ignored."""
        if stream in self._streams:
            self._control.append(Reset(stream, code, text).encode())
            del self._streams[stream]

    def widen(self, stream: int) -> None:
        """Accept the stream: the peer may be ahead by a whole window from now on. An ended stream is ignored."""
        state = self._streams.get(stream)
        if state is not None and state.window < self._window:
            self._grant(state, self._window - state.window)
            state.window = self._window

    def consumed(self, stream: int, size: int) -> None:
        """``size`` bytes of received DATA are out of memory. An ended stream is ignored.

        :raises Misuse: that is more than was received.
        """
        state = self._streams.get(stream)
        if state is None or state.fin_received:
            return
        state.consumed += size
        if state.consumed + state.granted > state.window:
            raise Misuse("more was consumed than received")
        if 2 * state.consumed >= state.window:
            self._grant(state, state.consumed)
            state.consumed = 0

    def ping(self, token: int) -> None:
        """Ask for a sign of life; a :class:`Pong` with this token (u64) comes back."""
        self._control.append(Ping(token).encode())

    def go_away(self, code: int, text: str = "") -> None:
        """Tell the peer that the session ends, and why; send what :meth:`next_frame` gives, then close."""
        self._control.append(GoAway(code, text).encode())

    # -- frames ----------------------------------------------------------------------------------------------------

    def next_frame(self, frame: memoryview, read: Read) -> int:
        """Fill a frame's plaintext with what is most urgent.

        :param frame: where to put it; at least ``LEAST_FRAME`` bytes.
        :param read: see the module's header; what it raises passes through, with this frame lost.
        :returns: bytes of the plaintext; 0 if there is nothing to send.
        """
        if len(frame) < LEAST_FRAME:
            raise Misuse(f"a frame has room for at least {LEAST_FRAME} bytes")
        at = self._put_control(frame, 0)
        while not self._control and len(frame) - at >= _LEAST_ROOM:
            turn = self._turns.take()
            if turn is None:
                break
            priority, flow = turn
            flow.waiting = False
            room = frame[at:]
            size = self._put_data(flow, room, read) if isinstance(flow, _Stream) else self._put_message(flow, room)
            self._turns.charge(priority, size)
            at = self._put_control(frame, at + size)
        return at

    def _put_control(self, frame: memoryview, at: int) -> int:
        while self._control:
            item = self._control[0]
            record = self._fin(item) if isinstance(item, _Stream) else item
            end = at + len(record)
            if end > len(frame):
                break
            frame[at:end] = record
            at = end
            self._control.popleft()
            if isinstance(item, _Stream):
                item.fin_sent = True
                self._drop_if_over(item)
        return at

    def _fin(self, state: _Stream) -> bytes:
        if self._streams.get(state.id) is not state:
            return b""  # reset meanwhile
        return Fin(state.id, state.sent, state.fin or b"").encode()

    def _put_data(self, state: _Stream, room: memoryview, read: Read) -> int:
        if not self._may_send(state):
            return 0
        limit = min(len(room) - DATA_OVERHEAD, state.credit)
        size = read(state.id, room[DATA_OVERHEAD : DATA_OVERHEAD + limit])
        if not 0 <= size <= limit:
            raise Misuse(f"{size} bytes were read where {limit} had room")
        if size == 0:
            state.ready = False
            return 0
        if self._streams.get(state.id) is not state:
            return 0
        put_data_head(room, state.id, size)
        state.credit -= size
        state.sent += size
        self._queue_stream(state)
        return DATA_OVERHEAD + size

    def _put_message(self, box: _Outbox, room: memoryview) -> int:
        message = box.messages[0]
        if box.offset == 0 and not self._begin(box, message):
            return 0
        size = len(room) - _PART_OVERHEAD
        end = min(box.offset + size, len(message.payload))
        more = end < len(message.payload)
        part = message._replace(payload=memoryview(message.payload)[box.offset : end], more=more).encode()
        room[: len(part)] = part
        box.offset = end if more else 0
        if not more:
            box.messages.popleft()
        self._queue_box(message.priority, box)
        return len(part)

    def _begin(self, box: _Outbox, message: Message) -> bool:
        """Account for a message; False if it has to wait for answers to earlier ones."""
        if message.purpose is Purpose.ANSWER:
            return True
        size = len(message.payload)
        if box.unanswered >= MOST_UNANSWERED or box.unanswered_bytes + size > MESSAGE_WINDOW:
            return False
        box.unanswered += 1
        box.unanswered_bytes += size
        self._unanswered[message.id] = message.priority, message.purpose, size
        return True

    # -- what has come in ------------------------------------------------------------------------------------------

    def incoming(self, record: Record) -> Event | None:
        """What the layer around is to act upon, if anything.

        A :class:`Message` is whole: acknowledge or answer it (an ANSWER needs neither). A :class:`Data` is in order and
        within its credit: say :meth:`consumed`. An :class:`Open` is to be widened or reset. After :class:`Fin` no more
        is to come; :meth:`finish` or :meth:`reset` our half.

        :raises Malformed: the peer breaks the rules; the session is over.
        """
        if len(self._control) > MOST_CONTROL:
            raise Malformed("the other side asks, but does not read what it is told")
        return self._HANDLERS[type(record)](self, record)

    def _on_message(self, part: Message) -> Message | None:
        box = self._outboxes[part.priority]
        before = box.incomplete
        if before is not None and before[:4] != part[:4]:
            raise Malformed("the parts of two messages are mixed up")
        size = len(box.parts) + len(part.payload)
        self._check_part(box, part, size)
        if before is None and not part.more:
            whole = part
        else:
            box.parts += part.payload
            box.incomplete = part
            if part.more:
                return None
            whole = part._replace(payload=bytes(box.parts))
            box.incomplete, box.parts = None, bytearray()
        if whole.purpose is Purpose.ANSWER:
            self._answered(whole.id)
        else:
            self._owed[whole.id] = whole.priority, whole.protocol, size
            box.owed += 1
            box.owed_bytes += size
        return whole

    def _check_part(self, box: _Outbox, part: Message, size: int) -> None:
        if size > MOST_MESSAGE or (part.more and not part.payload):
            raise Malformed("a message is too large, or has a part that is empty")
        if part.purpose is Purpose.ANSWER:
            asked = self._unanswered.get(part.id)
            if asked is None or asked[:2] != (part.priority, Purpose.REQUEST):
                raise Malformed("an answer to what was not asked")
        elif part.id in self._owed:
            raise Malformed("a message's id is in use")
        elif box.owed >= MOST_UNANSWERED or box.owed_bytes + size > MESSAGE_WINDOW:
            raise Malformed("more messages than may be without answer")

    def _on_ack(self, ack: Ack) -> Ack:
        if ack.id not in self._unanswered:
            raise Malformed("an acknowledgement of what was not sent")
        self._answered(ack.id)
        return ack

    def _on_open(self, opened: Open) -> Open:
        if opened.stream != self._next_theirs:
            raise Malformed("a stream's number is not the next one")
        if self._open_streams(1 - self._parity) >= MOST_STREAMS:
            raise Malformed("more streams than may be open")
        self._next_theirs += 2
        self._streams[opened.stream] = _Stream(opened.stream, opened.priority)
        return opened

    def _on_data(self, data: Data) -> Data | None:
        state = self._stream(data.stream)
        if state is None:
            return None
        size = len(data.data)
        if state.fin_received or size > state.granted:
            raise Malformed("data after a stream's end, or beyond its credit")
        state.granted -= size
        state.received += size
        return data

    def _on_credit(self, credit: Credit) -> None:
        state = self._stream(credit.stream)
        if state is not None:
            state.credit += credit.size
            if state.credit > MOST_CREDIT:
                raise Malformed("credit beyond all measure")
            self._queue_stream(state)

    def _on_fin(self, fin: Fin) -> Fin | None:
        state = self._stream(fin.stream)
        if state is None:
            return None
        if state.fin_received or fin.total != state.received:
            raise Malformed("a stream ends twice, or with another length than it had")
        state.fin_received = True
        self._drop_if_over(state)
        return fin

    def _on_reset(self, reset: Reset) -> Reset | None:
        if self._stream(reset.stream) is None:
            return None
        del self._streams[reset.stream]
        return reset

    def _on_ping(self, ping: Ping) -> None:
        self._control.append(Pong(ping.token).encode())

    def _pass_on(self, record: Pong | GoAway) -> Pong | GoAway:
        return record

    _HANDLERS: ClassVar[dict[type[Record], Callable[[Mux, Any], Event | None]]] = {
        Message: _on_message,
        Ack: _on_ack,
        Open: _on_open,
        Data: _on_data,
        Credit: _on_credit,
        Fin: _on_fin,
        Reset: _on_reset,
        Ping: _on_ping,
        Pong: _pass_on,
        GoAway: _pass_on,
    }

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        if len(message.payload) > MOST_MESSAGE:
            raise Misuse(f"a message has at most {MOST_MESSAGE} bytes", "send it as a stream")
        message._replace(payload=b"").encode()  # checks the rest now rather than when its turn comes
        box = self._outboxes[message.priority]
        box.messages.append(message)
        self._queue_box(message.priority, box)

    def _queue_box(self, priority: Priority, box: _Outbox) -> None:
        if box.messages and not box.waiting:
            box.waiting = True
            self._turns.add(priority, box)

    def _queue_stream(self, state: _Stream) -> None:
        if not state.waiting and self._may_send(state):
            state.waiting = True
            self._turns.add(state.priority, state)

    def _may_send(self, state: _Stream) -> bool:
        alive = self._streams.get(state.id) is state
        return alive and state.ready and state.fin is None and state.credit > 0

    def _answered(self, ident: int) -> None:
        priority, _, size = self._unanswered.pop(ident)
        box = self._outboxes[priority]
        box.unanswered -= 1
        box.unanswered_bytes -= size
        self._queue_box(priority, box)

    def _owes(self, ident: int) -> tuple[Priority, str, int]:
        owed = self._owed.get(ident)
        if owed is None:
            raise Misuse("that message waits for no answer")
        return owed

    def _settle(self, ident: int) -> None:
        priority, _, size = self._owed.pop(ident)
        self._outboxes[priority].owed -= 1
        self._outboxes[priority].owed_bytes -= size

    def _stream(self, number: int) -> _Stream | None:
        """The stream, or None if it has ended. :raises Malformed: there was never one of that number."""
        state = self._streams.get(number)
        if state is None:
            bound = self._next_stream if number % 2 == self._parity else self._next_theirs
            if not 0 < number < bound:
                raise Malformed("a record for a stream that nobody has opened")
        return state

    def _open_streams(self, parity: int) -> int:
        return sum(number % 2 == parity for number in self._streams)

    def _grant(self, state: _Stream, size: int) -> None:
        self._control.append(Credit(state.id, size).encode())
        state.granted += size

    def _drop_if_over(self, state: _Stream) -> None:
        if state.fin_sent and state.fin_received:
            self._streams.pop(state.id, None)
