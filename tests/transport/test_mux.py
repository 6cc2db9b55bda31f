"""Tests of ``springline.transport.mux``."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from springline.errors import Malformed, Misuse
from springline.transport.mux import LEAST_FRAME, MOST_CONTROL, Event, Mux
from springline.transport.records import (
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
    RefreshStep,
    Reset,
    parse_untrusted,
)
from springline.transport.session import MOST_PLAINTEXT
from springline.transport.streams import FIRST_CREDIT

from .test_records import RECORDS

WINDOW = 1 << 20


class Side:
    """A mux with sources in memory, and everything that has come out of it."""

    def __init__(self, dialler: bool) -> None:
        self.mux = Mux(dialler, window=WINDOW)
        self.sources: dict[int, bytearray] = {}
        self.received: dict[int, bytearray] = {}
        self.unconsumed: dict[int, int] = {}
        self.events: list[Event] = []

    def read(self, stream: int, view: memoryview) -> int:
        source = self.sources[stream]
        size = min(len(view), len(source))
        view[:size] = source[:size]
        del source[:size]
        return size

    def frame(self, size: int = MOST_PLAINTEXT) -> bytes:
        frame = memoryview(bytearray(size))
        return bytes(frame[: self.mux.next_frame(frame, self.read)])

    def feed(self, stream: int, data: bytes) -> None:
        self.sources.setdefault(stream, bytearray()).extend(data)
        self.mux.ready(stream)

    def take(self, plaintext: bytes) -> list[Event]:
        """A frame has come in; what is to be acted upon."""
        events = [self.mux.incoming(record) for record in parse_untrusted(memoryview(plaintext))]
        fresh = [event for event in events if event is not None]
        for event in fresh:
            if isinstance(event, Open):
                self.received[event.stream] = bytearray()
            if isinstance(event, Data):
                self.received.setdefault(event.stream, bytearray()).extend(event.data)
                self.unconsumed[event.stream] = self.unconsumed.get(event.stream, 0) + len(event.data)
        self.events += [event for event in fresh if not isinstance(event, Data)]
        return fresh

    def consume(self, stream: int) -> None:
        self.mux.consumed(stream, self.unconsumed.pop(stream, 0))


def pair() -> tuple[Side, Side]:
    return Side(dialler=True), Side(dialler=False)


def carry(sender: Side, receiver: Side, size: int = MOST_PLAINTEXT) -> list[Event]:
    """Everything the sender may send now."""
    fresh: list[Event] = []
    while frame := sender.frame(size):
        fresh += receiver.take(frame)
    return fresh


def records(plaintext: bytes) -> list[Record]:
    return parse_untrusted(memoryview(plaintext))


# -- streams -------------------------------------------------------------------------------------------------------


def test_a_stream_from_open_to_end() -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"header")
    ours.feed(stream, b"contents")
    assert carry(ours, theirs) == [Open(stream, Priority.BULK, "files", b"header"), Data(stream, b"contents")]
    ours.mux.finish(stream, b"d" * 32)
    assert carry(ours, theirs) == [Fin(stream, 8, b"d" * 32)]
    theirs.mux.finish(stream)
    assert carry(theirs, ours) == [Fin(stream, 0, b"")]
    assert ours.mux.idle
    assert theirs.mux.idle
    for side in (ours, theirs):  # it has ended: nothing happens any more
        side.mux.ready(stream)
        side.mux.finish(stream)
        side.mux.reset(stream, Code.CANCELLED)
        side.mux.widen(stream)
        side.mux.consumed(stream, 8)
        assert side.mux.idle


def test_streams_go_both_ways() -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.INTERACTIVE, "echo", b"")
    carry(ours, theirs)
    theirs.feed(stream, b"hello")
    theirs.mux.finish(stream)
    with pytest.raises(Misuse):
        theirs.mux.finish(stream)
    ours.feed(stream, b"olleh")
    assert carry(theirs, ours)[-1] == Fin(stream, 0)
    assert carry(ours, theirs)[-1] == Data(stream, b"olleh")


def test_finishing_means_no_more_is_read() -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"")
    ours.feed(stream, bytes(10))
    ours.mux.finish(stream)
    assert carry(ours, theirs)[1:] == [Fin(stream, 0)]


@pytest.mark.parametrize("end", ["finish", "reset"])
def test_a_source_may_end_its_stream_while_it_is_read(end: str) -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"")

    def read(stream: int, view: memoryview) -> int:
        view[:4] = b"last"
        if end == "finish":
            ours.mux.finish(stream)
        else:
            ours.mux.reset(stream, Code.FAILED)
        return 4

    ours.mux.ready(stream)
    frame = memoryview(bytearray(MOST_PLAINTEXT))
    fresh = theirs.take(bytes(frame[: ours.mux.next_frame(frame, read)]))
    if end == "finish":
        assert fresh[1:] == [Data(stream, b"last"), Fin(stream, 4)]
    else:
        assert fresh[1:] == [Reset(stream, Code.FAILED)]
    assert ours.mux.idle


def test_a_source_that_has_nothing_is_asked_again_when_ready() -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"")
    ours.feed(stream, b"")
    carry(ours, theirs)
    ours.sources[stream] += b"late"
    assert ours.frame() == b""
    ours.mux.ready(stream)
    assert carry(ours, theirs) == [Data(stream, b"late")]


def test_a_source_that_lies_is_misuse() -> None:
    ours, _ = pair()
    ours.mux.ready(ours.mux.open(Priority.BULK, "files", b""))
    with pytest.raises(Misuse):
        ours.mux.next_frame(memoryview(bytearray(LEAST_FRAME)), lambda _stream, view: len(view) + 1)


def test_credit_stops_the_sender_and_is_renewed() -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"")
    ours.feed(stream, bytes(3 * WINDOW))
    carry(ours, theirs)
    assert len(theirs.received[stream]) == FIRST_CREDIT
    theirs.mux.widen(stream)
    assert records(theirs.frame()) == [Credit(stream, WINDOW - FIRST_CREDIT)]
    ours.take(Credit(stream, WINDOW - FIRST_CREDIT).encode())
    carry(ours, theirs)
    assert len(theirs.received[stream]) == WINDOW
    theirs.mux.consumed(stream, WINDOW // 2 - 1)
    assert theirs.mux.idle
    theirs.mux.consumed(stream, 1)
    carry(theirs, ours)
    carry(ours, theirs)
    assert len(theirs.received[stream]) == WINDOW + WINDOW // 2
    with pytest.raises(Malformed):
        theirs.take(Data(stream, b"x").encode())


def test_what_crosses_a_reset_is_ignored() -> None:
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"")
    carry(ours, theirs)
    theirs.mux.reset(stream, Code.REFUSED, "no")
    ours.feed(stream, b"data")
    ours.mux.widen(stream)
    ours.mux.finish(stream)
    assert carry(ours, theirs) == []
    assert carry(theirs, ours) == [Reset(stream, Code.REFUSED, "no")]
    assert theirs.take(Reset(stream, Code.CANCELLED).encode()) == []
    assert ours.mux.idle


def test_a_stream_is_announced_before_its_data() -> None:
    ours, theirs = pair()
    streams = [ours.mux.open(Priority.CONTROL, "files", bytes(4096)) for _ in range(9)]
    for stream in streams:
        ours.feed(stream, b"x")
    carry(ours, theirs, LEAST_FRAME)
    assert all(theirs.received[stream] == b"x" for stream in streams)


def test_failing_to_open_uses_up_no_number() -> None:
    ours, theirs = pair()
    with pytest.raises(Misuse):
        ours.mux.open(Priority.BULK, "Not a name", b"")
    ours.mux.open(Priority.BULK, "name", b"")
    assert len(carry(ours, theirs)) == 1


# -- order ---------------------------------------------------------------------------------------------------------


def busy_pair() -> tuple[Side, Side]:
    """The first side has bulk to send for a long time."""
    ours, theirs = pair()
    stream = ours.mux.open(Priority.BULK, "files", b"")
    ours.feed(stream, bytes(4 << 20))
    carry(ours, theirs)
    theirs.mux.widen(stream)
    carry_credit = theirs.frame()
    ours.take(carry_credit)
    assert len(ours.frame()) == MOST_PLAINTEXT
    return ours, theirs


def test_pings_and_their_answers_overtake_bulk() -> None:
    ours, theirs = busy_pair()
    ours.mux.ping(7)
    first, *rest = records(ours.frame())
    assert first == Ping(7)
    assert [type(record) for record in rest] == [Data]
    ours.take(Ping(8).encode())
    assert records(ours.frame())[0] == Pong(8)
    assert theirs.mux.incoming(Ping(7)) is None
    assert ours.take(theirs.frame()) == [Pong(7)]


def test_messages_overtake_bulk_and_bulk_goes_on() -> None:
    ours, _ = busy_pair()
    ours.mux.message(Purpose.SEND, Priority.INTERACTIVE, "notes", b"first")
    ours.mux.message(Purpose.SEND, Priority.SYNC, "sync", b"second")
    kinds = [type(record) for record in records(ours.frame())]
    assert kinds == [Message, Message, Data]


def test_a_large_message_does_not_starve_bulk() -> None:
    ours, _ = busy_pair()
    ours.mux.message(Purpose.SEND, Priority.INTERACTIVE, "notes", bytes(8 << 20))
    kinds = [type(record) for _ in range(40) for record in records(ours.frame())]
    assert kinds.count(Data) >= 2
    assert kinds.count(Message) >= 16


def test_small_records_share_a_frame() -> None:
    ours, theirs = pair()
    for number in range(20):
        ours.mux.ping(number)
        ours.mux.message(Purpose.SEND, Priority.INTERACTIVE, "notes", b"x")
    assert len(theirs.take(ours.frame())) == 20
    assert ours.mux.idle
    assert ours.frame() == b""


def test_too_small_a_frame_is_misuse() -> None:
    with pytest.raises(Misuse):
        pair()[0].frame(LEAST_FRAME - 1)


# -- messages and the session --------------------------------------------------------------------------------------


def test_messages_are_answered_or_acknowledged() -> None:
    ours, theirs = pair()
    asked = ours.mux.message(Purpose.REQUEST, Priority.INTERACTIVE, "echo", b"hi")
    sent = ours.mux.message(Purpose.SEND, Priority.INTERACTIVE, "echo", b"yo")
    assert ours.mux.backlog == 4
    carry(ours, theirs)
    assert ours.mux.backlog == 0
    theirs.mux.answer(asked, b"ih")
    theirs.mux.acknowledge(sent, Code.FAILED, "it raised")
    with pytest.raises(Misuse):
        theirs.mux.acknowledge(sent)
    assert carry(theirs, ours) == [
        Ack(sent, Code.FAILED, "it raised"),
        Message(asked, Purpose.ANSWER, Priority.INTERACTIVE, "echo", b"ih"),
    ]
    with pytest.raises(Malformed):
        ours.take(Ack(sent).encode())


@pytest.mark.parametrize("purpose", [Purpose.SEND, Purpose.REQUEST])
def test_answers_let_waiting_messages_go(purpose: Purpose) -> None:
    ours, theirs = pair()
    for _ in range(1000):
        ours.mux.message(purpose, Priority.SYNC, "x", b"")
    handled = 0
    while fresh := [event for event in carry(ours, theirs) if isinstance(event, Message)]:
        handled += len(fresh)
        for message in fresh:
            if purpose is Purpose.REQUEST:
                theirs.mux.answer(message.id, b"")
            else:
                theirs.mux.acknowledge(message.id)
        carry(theirs, ours)
    assert handled == 1000


def test_a_refresh_is_not_for_the_mux() -> None:
    ours, _ = pair()
    with pytest.raises(Malformed):
        ours.mux.incoming(Refresh(RefreshStep.SWITCH))


def test_going_away_is_told() -> None:
    ours, theirs = pair()
    ours.mux.go_away(Code.REVOKED, "bye")
    assert carry(ours, theirs) == [GoAway(Code.REVOKED, "bye")]


def test_a_peer_that_asks_without_reading_is_malformed() -> None:
    ours, _ = pair()
    for token in range(MOST_CONTROL + 1):
        ours.mux.incoming(Ping(token))
    with pytest.raises(Malformed):
        ours.mux.incoming(Ping(0))


@given(st.lists(RECORDS, max_size=30), st.booleans())
def test_any_records_are_taken_or_malformed(hostile: list[Record], dialler: bool) -> None:
    side = Side(dialler)
    side.mux.open(Priority.BULK, "x", b"")
    side.mux.message(Purpose.REQUEST, Priority.SYNC, "x", b"x")
    side.frame()
    try:
        side.take(b"".join(record.encode() for record in hostile))
    except Malformed:
        return
    side.frame()


# -- two machines, back to back ------------------------------------------------------------------------------------


class TwoMachines(RuleBasedStateMachine):
    """Both sides do anything they may, frames are delivered whenever; nothing is lost, mixed up or out of credit."""

    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.sides = pair()
        self.wires: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.fed: dict[tuple[int, int], bytearray] = {}
        self.finished: set[tuple[int, int]] = set()
        self.reset: set[int] = set()
        self.sent: list[list[tuple[int, bytes]]] = [[], []]
        self.pings: list[list[int]] = [[], []]

    @rule(target=streams, who=st.integers(0, 1), priority=st.sampled_from(Priority), widen=st.booleans())
    def open(self, who: int, priority: Priority, widen: bool) -> Any:
        stream = self.sides[who].mux.open(priority, "stream", b"h")
        if widen:
            self.sides[who].mux.widen(stream)
        return multiple((who, stream), (1 - who, stream))

    @rule(half=streams, data=st.binary(max_size=50) | st.integers(0, 3 * FIRST_CREDIT).map(bytes))
    def feed(self, half: tuple[int, int], data: bytes) -> None:
        who, stream = half
        if half in self.finished or (who != self._opener(stream) and stream not in self.sides[who].received):
            return
        self.sides[who].feed(stream, data)
        self.fed.setdefault(half, bytearray()).extend(data)

    @rule(half=consumes(streams))
    def finish(self, half: tuple[int, int]) -> None:
        self.finished.add(half)  # happens at the end, when everything was read

    @rule(half=streams)
    def reset_stream(self, half: tuple[int, int]) -> None:
        who, stream = half
        if who == self._opener(stream) or stream in self.sides[who].received:
            self.sides[who].mux.reset(stream, Code.CANCELLED)
            self.reset.add(stream)

    @rule(half=streams)
    def widen(self, half: tuple[int, int]) -> None:
        self.sides[half[0]].mux.widen(half[1])

    @rule(half=streams)
    def consume(self, half: tuple[int, int]) -> None:
        self.sides[half[0]].consume(half[1])

    @rule(
        who=st.integers(0, 1),
        purpose=st.sampled_from([Purpose.SEND, Purpose.REQUEST]),
        priority=st.sampled_from(Priority),
        payload=st.binary(max_size=20) | st.integers(0, 200_000).map(bytes),
    )
    def message(self, who: int, purpose: Purpose, priority: Priority, payload: bytes) -> None:
        ident = self.sides[who].mux.message(purpose, priority, "message", payload)
        self.sent[who].append((ident, payload))

    @rule(who=st.integers(0, 1), token=st.integers(0, 2**64 - 1))
    def ping(self, who: int, token: int) -> None:
        self.sides[who].mux.ping(token)
        self.pings[who].append(token)

    @rule(who=st.integers(0, 1), size=st.integers(LEAST_FRAME, MOST_PLAINTEXT))
    def send_frame(self, who: int, size: int) -> None:
        frame = self.sides[who].frame(size)
        if frame:
            self.wires[who].append(frame)

    @rule(who=st.integers(0, 1))
    def deliver(self, who: int) -> None:
        if self.wires[who]:
            receiver = self.sides[1 - who]
            for event in receiver.take(self.wires[who].popleft()):
                if isinstance(event, Message) and event.purpose is Purpose.REQUEST:
                    receiver.mux.answer(event.id, bytes(event.payload))
                elif isinstance(event, Message) and event.purpose is Purpose.SEND:
                    receiver.mux.acknowledge(event.id)

    @invariant()
    def what_has_arrived_is_what_was_sent(self) -> None:
        for (who, stream), data in self.fed.items():
            received = self.sides[1 - who].received.get(stream, b"")
            assert data.startswith(received)

    def teardown(self) -> None:
        self._settle()
        for who, stream in self.finished:
            self.sides[who].mux.finish(stream)
        self._settle()
        for (who, stream), data in self.fed.items():
            if stream not in self.reset:
                assert self.sides[1 - who].received.get(stream, b"") == data
                ends = [e for e in self.sides[1 - who].events if isinstance(e, Fin) and e.stream == stream]
                assert [end.total for end in ends] == ([len(data)] if (who, stream) in self.finished else [])
        for who, side in enumerate(self.sides):
            arrived = [e for e in self.sides[1 - who].events if isinstance(e, Message)]
            assert sorted((m.id, m.payload) for m in arrived if m.purpose is not Purpose.ANSWER) == self.sent[who]
            answered = [e.id for e in side.events if isinstance(e, Ack)]
            answered += [e.id for e in side.events if isinstance(e, Message) and e.purpose is Purpose.ANSWER]
            assert sorted(answered) == [ident for ident, _ in self.sent[who]]
            assert [e.token for e in side.events if isinstance(e, Pong)] == self.pings[who]

    def _settle(self) -> None:
        """Send, deliver and consume until nothing moves any more."""
        while True:
            for who, side in enumerate(self.sides):
                for stream in list(side.unconsumed):
                    side.consume(stream)
                self.send_frame(who, MOST_PLAINTEXT)
            if not any(self.wires):
                return
            for who in (0, 1):
                while self.wires[who]:
                    self.deliver(who)

    @staticmethod
    def _opener(stream: int) -> int:
        return stream % 2  # side 0 has dialled: its streams are even


TwoMachines.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTwoMachines = TwoMachines.TestCase
