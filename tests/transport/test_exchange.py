"""Tests of ``springline.transport.exchange``."""

from __future__ import annotations

import pytest

from springline.errors import Malformed, Misuse
from springline.transport.exchange import MESSAGE_WINDOW, MOST_UNANSWERED, PART_OVERHEAD, Exchange
from springline.transport.records import MOST_MESSAGE, Message, Priority, Purpose, parse_untrusted

ROOM = 60000
CLASS = Priority.INTERACTIVE


def carry(sender: Exchange, receiver: Exchange, priority: Priority = CLASS, room: int = ROOM) -> list[Message]:
    """Everything of a class that may be sent, as it arrives."""
    arrived = []
    while sender.classes[priority].may_send:
        record = sender.next_part(priority, room)
        assert len(record) <= room
        (part,) = parse_untrusted(memoryview(record))
        assert isinstance(part, Message)
        whole = receiver.on_part(part)
        if whole is not None:
            arrived.append(whole)
    return arrived


def test_a_request_and_its_answer() -> None:
    ours, theirs = Exchange(), Exchange()
    ident = ours.send(Purpose.REQUEST, CLASS, "echo", b"hello")
    assert carry(ours, theirs) == [Message(ident, Purpose.REQUEST, CLASS, "echo", b"hello")]
    assert theirs.answer(ident, b"olleh") is CLASS
    assert carry(theirs, ours) == [Message(ident, Purpose.ANSWER, CLASS, "echo", b"olleh")]
    with pytest.raises(Misuse):
        theirs.answer(ident, b"again")
    with pytest.raises(Malformed):
        ours.on_answered(ident)


@pytest.mark.parametrize("size", [0, 1, ROOM - PART_OVERHEAD, ROOM - PART_OVERHEAD + 1, MOST_MESSAGE])
def test_any_size_arrives_whole(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    ours, theirs = Exchange(), Exchange()
    ours.send(Purpose.SEND, CLASS, "x" * 64, payload)
    (arrived,) = carry(ours, theirs)
    assert arrived.payload == payload
    assert not arrived.more


def test_what_is_too_large_or_wrong_is_misuse() -> None:
    ours = Exchange()
    with pytest.raises(Misuse):
        ours.send(Purpose.SEND, CLASS, "x", bytes(MOST_MESSAGE + 1))
    with pytest.raises(Misuse):
        ours.send(Purpose.SEND, CLASS, "X", b"")
    with pytest.raises(Misuse):
        ours.send(Purpose.ANSWER, CLASS, "x", b"")
    with pytest.raises(Misuse):
        ours.answer(1, b"")
    assert ours.send(Purpose.SEND, CLASS, "x", b"") == 1


def test_only_so_many_may_be_without_answer() -> None:
    ours, theirs = Exchange(), Exchange()
    for _ in range(MOST_UNANSWERED + 1):
        ours.send(Purpose.SEND, CLASS, "x", b"")
    arrived = carry(ours, theirs)
    assert len(arrived) == MOST_UNANSWERED
    assert ours.backlog == 0
    with pytest.raises(Malformed):
        theirs.on_part(Message(9999, Purpose.SEND, CLASS, "x", b""))
    assert theirs.on_part(Message(9999, Purpose.SEND, Priority.BULK, "x", b"")) is not None, "classes are apart"
    theirs.settle(1)
    ours.on_answered(1)
    assert [m.id for m in carry(ours, theirs)] == [MOST_UNANSWERED + 1]


def test_only_so_many_bytes_may_be_without_answer() -> None:
    ours, theirs = Exchange(), Exchange()
    half = bytes(MESSAGE_WINDOW // 2)
    for _ in range(3):
        ours.send(Purpose.SEND, CLASS, "x", half)
    assert ours.backlog == 3 * len(half)
    assert len(carry(ours, theirs)) == 2
    assert ours.backlog == len(half)
    with pytest.raises(Malformed):
        theirs.on_part(Message(9, Purpose.SEND, CLASS, "x", b"x", more=True))
    theirs.settle(2)
    ours.on_answered(2)
    assert len(carry(ours, theirs)) == 1


def test_answers_do_not_wait_behind_messages_that_may_not_be_sent() -> None:
    ours, theirs = Exchange(), Exchange()
    for side in (ours, theirs):
        for _ in range(MOST_UNANSWERED + 1):
            side.send(Purpose.REQUEST, CLASS, "x", b"")
    for message in carry(ours, theirs):
        theirs.answer(message.id, b"")
    for message in carry(theirs, ours):
        if message.purpose is Purpose.REQUEST:
            ours.answer(message.id, b"")
    assert len([m for m in carry(ours, theirs) if m.purpose is Purpose.ANSWER]) == MOST_UNANSWERED


REQUEST = Message(1, Purpose.REQUEST, CLASS, "x", b"part", more=True)


@pytest.mark.parametrize(
    "part",
    [
        REQUEST._replace(id=2),
        REQUEST._replace(purpose=Purpose.SEND),
        REQUEST._replace(protocol="y"),
        REQUEST._replace(payload=b""),
        REQUEST._replace(payload=bytes(MOST_MESSAGE)),
        REQUEST._replace(payload=bytes(MOST_MESSAGE), more=False),
    ],
)
def test_parts_must_belong_together(part: Message) -> None:
    receiver = Exchange()
    receiver.on_part(REQUEST)
    with pytest.raises(Malformed):
        receiver.on_part(part)


def test_an_id_is_used_once_at_a_time() -> None:
    receiver = Exchange()
    message = REQUEST._replace(more=False)
    receiver.on_part(message)
    with pytest.raises(Malformed):
        receiver.on_part(message)
    receiver.settle(1)
    assert receiver.on_part(message) == message


def test_answers_are_to_requests_only() -> None:
    ours, theirs = Exchange(), Exchange()
    sent = ours.send(Purpose.SEND, CLASS, "x", b"")
    asked = ours.send(Purpose.REQUEST, CLASS, "x", b"")
    carry(ours, theirs)
    with pytest.raises(Misuse):
        theirs.answer(sent, b"")
    for wrong in (
        Message(sent, Purpose.ANSWER, CLASS, "x", b""),
        Message(7, Purpose.ANSWER, CLASS, "x", b""),
        Message(asked, Purpose.ANSWER, Priority.BULK, "x", b""),
        Message(asked, Purpose.ANSWER, CLASS, "y", b"", more=True),
    ):
        with pytest.raises(Malformed):
            ours.on_part(wrong)
