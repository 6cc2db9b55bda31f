"""The messages of a session: in which parts they travel, and which are still without an answer.

The rule: the messages of a class go one after the other, so at most one per class is incomplete. Of each class a sender
has at most ``MOST_UNANSWERED`` messages and ``MESSAGE_WINDOW`` bytes without answer; the rest waits with it. So a slow
receiver holds a bounded number of them, and a class never waits for another. Answers are not counted, and overtake what
waits: were they to wait too, both sides could wait for each other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from springline.errors import Malformed, Misuse
from springline.transport.records import MOST_MESSAGE, MOST_NAME, Message, Priority, Purpose

MOST_UNANSWERED = 256
"""Messages of a class that may be without answer."""

MESSAGE_WINDOW = MOST_MESSAGE
"""Bytes of messages of a class that may be without answer: the largest message fits."""

PART_OVERHEAD = 14 + MOST_NAME
"""Bytes of a part of a message besides its payload, at most."""


@dataclass(slots=True, eq=False)
class Class:
    """The messages of one class, in both directions.

    :param waiting: it is in the scheduler.
    """

    waiting: bool = False
    answers: deque[Message] = field(default_factory=deque)
    messages: deque[Message] = field(default_factory=deque)
    current: Message | None = None
    offset: int = 0
    unanswered: int = 0
    unanswered_bytes: int = 0
    owed: int = 0
    owed_bytes: int = 0
    incomplete: Message | None = None
    parts: bytearray = field(default_factory=bytearray)

    @property
    def may_send(self) -> bool:
        """True if :meth:`Exchange.next_part` has something."""
        if self.current is not None or self.answers:
            return True
        if not self.messages or self.unanswered >= MOST_UNANSWERED:
            return False
        return self.unanswered_bytes + len(self.messages[0].payload) <= MESSAGE_WINDOW


class Exchange:
    """What is to be sent, what waits for an answer, and what we owe one."""

    __slots__ = ("_next_id", "_owed", "_unanswered", "classes")

    def __init__(self) -> None:
        self.classes = {priority: Class() for priority in Priority}
        self._next_id = 1
        self._unanswered: dict[int, tuple[Message, int]] = {}
        self._owed: dict[int, tuple[Message, int]] = {}

    @property
    def backlog(self) -> int:
        """Bytes of messages that have not begun to be sent."""
        return sum(len(m.payload) for c in self.classes.values() for queue in (c.answers, c.messages) for m in queue)

    # -- out -------------------------------------------------------------------------------------------------------

    def send(self, purpose: Purpose, priority: Priority, protocol: str, payload: bytes) -> int:
        """Queue a message; its id. :raises Misuse: it is an answer, or out of range."""
        if purpose is Purpose.ANSWER:
            raise Misuse("an answer needs a request")
        message = _checked(Message(self._next_id, purpose, priority, protocol, payload))
        self.classes[priority].messages.append(message)
        self._next_id += 1
        return message.id

    def answer(self, ident: int, payload: bytes) -> Priority:
        """Queue the answer to the peer's REQUEST; its class. :raises Misuse: we owe none, or it is out of range."""
        asked, _ = self._owes(ident)
        if asked.purpose is not Purpose.REQUEST:
            raise Misuse("that message did not ask for an answer", "acknowledge it")
        answer = _checked(asked._replace(purpose=Purpose.ANSWER, payload=payload))
        self.classes[asked.priority].answers.append(answer)
        return self.settle(ident)

    def settle(self, ident: int) -> Priority:
        """The peer's message is answered; its class. :raises Misuse: we owe no answer."""
        asked, size = self._owes(ident)
        del self._owed[ident]
        box = self.classes[asked.priority]
        box.owed -= 1
        box.owed_bytes -= size
        return asked.priority

    def next_part(self, priority: Priority, room: int) -> bytes:
        """The record to send next, at most ``room`` bytes; ``may_send`` holds and room is over ``PART_OVERHEAD``."""
        box = self.classes[priority]
        message = box.current or self._begin(box)
        end = box.offset + room - PART_OVERHEAD
        more = end < len(message.payload)
        part = message._replace(payload=memoryview(message.payload)[box.offset : end], more=more)
        box.current, box.offset = (message, end) if more else (None, 0)
        return part.encode()

    def _begin(self, box: Class) -> Message:
        if box.answers:
            return box.answers.popleft()
        message = box.messages.popleft()
        size = len(message.payload)
        box.unanswered += 1
        box.unanswered_bytes += size
        self._unanswered[message.id] = message._replace(payload=b""), size
        return message

    def _owes(self, ident: int) -> tuple[Message, int]:
        owed = self._owed.get(ident)
        if owed is None:
            raise Misuse("that message waits for no answer")
        return owed

    # -- in --------------------------------------------------------------------------------------------------------

    def on_part(self, part: Message) -> Message | None:
        """The message that this part completes. :raises Malformed: the peer breaks the rules above."""
        box = self.classes[part.priority]
        before = box.incomplete
        if before is not None and before[:4] != part[:4]:
            raise Malformed("the parts of two messages are mixed up")
        size = len(box.parts) + len(part.payload)
        self._check(box, part, size)
        if part.more:
            box.incomplete = part
            box.parts += part.payload
            return None
        whole = part
        if before is not None:
            whole = part._replace(payload=bytes(box.parts + part.payload))
            box.incomplete, box.parts = None, bytearray()
        if whole.purpose is Purpose.ANSWER:
            self.on_answered(whole.id)
        else:
            self._owed[whole.id] = whole._replace(payload=b""), size
            box.owed += 1
            box.owed_bytes += size
        return whole

    def on_answered(self, ident: int) -> Priority:
        """The peer has answered our message; its class. :raises Malformed: there is none of that id."""
        found = self._unanswered.pop(ident, None)
        if found is None:
            raise Malformed("an answer to what was not sent")
        sent, size = found
        box = self.classes[sent.priority]
        box.unanswered -= 1
        box.unanswered_bytes -= size
        return sent.priority

    def _check(self, box: Class, part: Message, size: int) -> None:
        if size > MOST_MESSAGE or (part.more and not part.payload):
            raise Malformed("a message is too large, or a part of it empty")
        if part.purpose is Purpose.ANSWER:
            found = self._unanswered.get(part.id)
            if found is None or part._replace(purpose=Purpose.REQUEST)[:4] != found[0][:4]:
                raise Malformed("an answer to what was not asked")
        elif part.id in self._owed:
            raise Malformed("a message's id is in use")
        elif box.owed >= MOST_UNANSWERED or box.owed_bytes + size > MESSAGE_WINDOW:
            raise Malformed("more messages than may be without answer")


def _checked(message: Message) -> Message:
    if len(message.payload) > MOST_MESSAGE:
        raise Misuse(f"a message has at most {MOST_MESSAGE} bytes", "send it as a stream")
    message._replace(payload=b"").encode()  # raises now what it would raise when its turn comes
    return message
