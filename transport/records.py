"""Records: what the plaintext of a frame is made of. Several small ones share a frame.

A record is ``kind`` (1 byte), ``length`` of what follows (2 bytes), then its body; numbers are unsigned, big-endian:

    ====  =========  ==================================================================================================
    kind  name       body
    ====  =========  ==================================================================================================
    1     MESSAGE    id u64 · purpose u8 (bit 7: more follows) · priority u8 · name length u8 · name · payload
    2     ACK        id u64 · code u8 · text
    3     OPEN       stream u32 · priority u8 · name length u8 · name · header
    4     DATA       stream u32 · bytes
    5     CREDIT     stream u32 · additional bytes u32
    6     FIN        stream u32 · total bytes u64 · BLAKE3 digest (32) or nothing
    7     RESET      stream u32 · code u8 · text
    8     PING       token u64
    9     PONG       token u64
    10    REFRESH    step u8 · bytes; alone in its frame
    11    GOAWAY     code u8 · text
    ====  =========  ==================================================================================================

The rule: a parser raises :class:`~springline.errors.Malformed` or returns records that are within all limits; a frame
is parsed whole before anything in it is acted upon. A record can be encoded only within the same limits (else Misuse).

Why every record has a length: an unknown kind from 128 up is optional and skipped, so a newer peer may send hints to an
older one. An unknown kind below 128 is Malformed: skipping it could lose data, and versions are agreed on before.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from springline.errors import Malformed, Misuse

MOST_NAME = 64
"""Bytes in a protocol's name: ``a-z 0-9 . - _``."""

MOST_MESSAGE = 16 << 20
"""Bytes in the payload of a message, all its parts together."""

MOST_HEADER = 4096
"""Bytes in the header of a stream."""

MOST_TEXT = 500
"""Bytes of UTF-8 in the text of an ACK, RESET or GOAWAY; what is not printable arrives as a space."""

MOST_REFRESH = 1024
"""Bytes that a step of a refresh carries; those of today are a handshake's frames, which have fewer."""

DIGEST_SIZE = 32
"""Bytes in a BLAKE3 digest."""

DATA_OVERHEAD = 7
"""Bytes of a DATA record besides its data."""

FIRST_OPTIONAL = 128
"""Unknown kinds from here on are skipped."""

_MORE = 0x80
_NAME = re.compile(rb"[a-z0-9._-]{1,64}")
_HEAD = struct.Struct(">BH")
_DATA_HEAD = struct.Struct(">BHI")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_MESSAGE = struct.Struct(">QBBB")
_ACK = struct.Struct(">QB")
_OPEN = struct.Struct(">IBB")
_CREDIT = struct.Struct(">II")
_FIN = struct.Struct(">IQ")
_RESET = struct.Struct(">IB")
_REFRESH = struct.Struct(">B")
_GOAWAY = struct.Struct(">B")


class Kind(IntEnum):
    """A record's first byte."""

    MESSAGE = 1
    ACK = 2
    OPEN = 3
    DATA = 4
    CREDIT = 5
    FIN = 6
    RESET = 7
    PING = 8
    PONG = 9
    REFRESH = 10
    GOAWAY = 11


class Priority(IntEnum):
    """Whose turn it is first; see ``transport/mux.py``."""

    CONTROL = 0
    INTERACTIVE = 1
    SYNC = 2
    BULK = 3


class Purpose(IntEnum):
    """What a message is for."""

    SEND = 0
    """Handle it; answered by an ACK."""
    REQUEST = 1
    """Handle it; answered by an ANSWER, or an ACK if there is nothing to say or it failed."""
    ANSWER = 2
    """The answer to the request with this id."""


class RefreshStep(IntEnum):
    """How far a refresh of the keys is; see ``transport/refresh.py``."""

    FIRST = 1
    """The dialler's handshake frame."""
    SECOND = 2
    """The listener's, or nothing: it can't now."""
    SWITCH = 3
    """The dialler's last record under its old key."""
    SWITCH_BACK = 4
    """The listener's last record under its old key."""


class Code(IntEnum):
    """Why. Codes unknown here arrive as plain integers and mean "something else"."""

    DONE = 0
    """ACK: handled. GOAWAY: the node stops."""
    NO_HANDLER = 1
    """Nobody is registered for the protocol."""
    FAILED = 2
    """The handler raised, died, or was too late."""
    REFUSED = 3
    """It is not wanted."""
    CANCELLED = 4
    """Whoever began it does not want it any more."""
    FULL = 5
    """No room: on the disk, or for one stream more."""
    DAMAGED = 6
    """What arrived is not what was sent: the digest differs."""
    REPLACED = 7
    """GOAWAY: a newer session has taken over."""
    UNWANTED = 8
    """GOAWAY: the user has disconnected."""
    REVOKED = 9
    """GOAWAY: the device is not trusted any more."""
    MALFORMED = 10
    """GOAWAY: something arrived that breaks this protocol."""


class Message(NamedTuple):
    """A message, or a part of one.

    :param id: chosen by the sender, unique within a session and direction; an ANSWER has the id of its request.
    :param more: True if further parts follow; they repeat all but the payload.
    """

    id: int
    purpose: Purpose
    priority: Priority
    protocol: str
    payload: bytes | memoryview
    more: bool = False

    def encode(self) -> bytes:
        """The record. :raises Misuse: a field is out of range."""
        name = _name(self.protocol)
        purpose = self.purpose | (_MORE if self.more else 0)
        return _record(Kind.MESSAGE, _MESSAGE, (self.id, purpose, self.priority, len(name)), name + self.payload)


class Ack(NamedTuple):
    """The message with this id was handled (``DONE``), or why not."""

    id: int
    code: int = Code.DONE
    text: str = ""

    def encode(self) -> bytes:
        """The record; the text is cut to fit. :raises Misuse: a field is out of range."""
        return _record(Kind.ACK, _ACK, (self.id, self.code), _text(self.text))


class Open(NamedTuple):
    """A new stream; its number is even if the dialler opens it, odd if the listener does."""

    stream: int
    priority: Priority
    protocol: str
    header: bytes

    def encode(self) -> bytes:
        """The record. :raises Misuse: a field is out of range."""
        name = _name(self.protocol)
        if len(self.header) > MOST_HEADER:
            raise Misuse(f"a stream's header has at most {MOST_HEADER} bytes")
        return _record(Kind.OPEN, _OPEN, (self.stream, self.priority, len(name)), name + self.header)


class Data(NamedTuple):
    """Bytes of a stream, at least one. When parsed, a view into the frame: good only as long as the frame is."""

    stream: int
    data: bytes | memoryview

    def encode(self) -> bytes:
        """The record, with a copy of the data; :func:`put_data_head` does without. :raises Misuse: out of range."""
        if not self.data:
            raise Misuse("a DATA record has data")
        return _record(Kind.DATA, _U32, (self.stream,), bytes(self.data))


class Credit(NamedTuple):
    """The other side may send that many bytes more on this stream."""

    stream: int
    size: int

    def encode(self) -> bytes:
        """The record. :raises Misuse: a field is out of range."""
        if self.size == 0:
            raise Misuse("a credit is for at least one byte")
        return _record(Kind.CREDIT, _CREDIT, (self.stream, self.size))


class Fin(NamedTuple):
    """The sender's half of the stream ends here, as it should.

    :param total: bytes of DATA it has sent on this stream.
    :param digest: BLAKE3 of what the protocol says (32 bytes), or ``b""``.
    """

    stream: int
    total: int
    digest: bytes = b""

    def encode(self) -> bytes:
        """The record. :raises Misuse: a field is out of range."""
        if len(self.digest) not in (0, DIGEST_SIZE):
            raise Misuse(f"a digest has {DIGEST_SIZE} bytes")
        return _record(Kind.FIN, _FIN, (self.stream, self.total), self.digest)


class Reset(NamedTuple):
    """The stream is over at once, in both directions."""

    stream: int
    code: int
    text: str = ""

    def encode(self) -> bytes:
        """The record; the text is cut to fit. :raises Misuse: a field is out of range."""
        return _record(Kind.RESET, _RESET, (self.stream, self.code), _text(self.text))


class Ping(NamedTuple):
    """Answer this at once with the same token."""

    token: int

    def encode(self) -> bytes:
        """The record. :raises Misuse: the token is out of range."""
        return _record(Kind.PING, _U64, (self.token,))


class Pong(NamedTuple):
    """The answer to the ping with this token."""

    token: int

    def encode(self) -> bytes:
        """The record. :raises Misuse: the token is out of range."""
        return _record(Kind.PONG, _U64, (self.token,))


class Refresh(NamedTuple):
    """A step towards new keys."""

    step: RefreshStep
    frame: bytes = b""

    def encode(self) -> bytes:
        """The record. :raises Misuse: the frame is too long."""
        if len(self.frame) > MOST_REFRESH:
            raise Misuse(f"a refresh carries at most {MOST_REFRESH} bytes")
        return _record(Kind.REFRESH, _REFRESH, (self.step,), self.frame)


class GoAway(NamedTuple):
    """The last record of a session: why it ends."""

    code: int
    text: str = ""

    def encode(self) -> bytes:
        """The record; the text is cut to fit. :raises Misuse: the code is out of range."""
        return _record(Kind.GOAWAY, _GOAWAY, (self.code,), _text(self.text))


Record = Message | Ack | Open | Data | Credit | Fin | Reset | Ping | Pong | Refresh | GoAway


def put_data_head(view: memoryview, stream: int, size: int) -> None:
    """Write the first ``DATA_OVERHEAD`` bytes of a DATA record in front of ``size`` bytes that are already there."""
    _DATA_HEAD.pack_into(view, 0, Kind.DATA, size + _U32.size, stream)


# -- parsing -------------------------------------------------------------------------------------------------------


def parse_untrusted(plaintext: memoryview) -> list[Record]:
    """All records of one frame, in order.

    :param plaintext: stays where it is: a :class:`Data` refers to it, everything else is copied out.
    :raises Malformed: it is not a sequence of records, or one of them is out of range.
    """
    records: list[Record] = []
    at, end = 0, len(plaintext)
    while at < end:
        body = at + _HEAD.size
        if body > end:
            raise Malformed("a record's head is cut off")
        kind = plaintext[at]
        at = body + (plaintext[at + 1] << 8 | plaintext[at + 2])
        if at > end:
            raise Malformed("a record is longer than its frame")
        parse = _PARSERS.get(kind)
        if parse is not None:
            records.append(parse(plaintext[body:at]))
        elif kind < FIRST_OPTIONAL:
            raise Malformed(f"a record of unknown kind {kind}")
    return records


def _message(body: memoryview) -> Message:
    ident, purpose, priority, size = _unpack(_MESSAGE, body)
    name, payload = _split_name(body[_MESSAGE.size :], size)
    plain = purpose & ~_MORE
    if plain not in _PURPOSES:
        raise Malformed("a message of unknown purpose")
    return Message(ident, _PURPOSES[plain], _priority(priority), name, bytes(payload), bool(purpose & _MORE))


def _ack(body: memoryview) -> Ack:
    ident, code = _unpack(_ACK, body)
    return Ack(ident, code, _text_untrusted(body[_ACK.size :]))


def _open(body: memoryview) -> Open:
    stream, priority, size = _unpack(_OPEN, body)
    name, header = _split_name(body[_OPEN.size :], size)
    if len(header) > MOST_HEADER:
        raise Malformed("a stream's header is too long")
    return Open(stream, _priority(priority), name, bytes(header))


def _data(body: memoryview) -> Data:
    if len(body) <= _U32.size:
        raise Malformed("a DATA record without data")
    return Data(_U32.unpack_from(body)[0], body[_U32.size :])


def _credit(body: memoryview) -> Credit:
    stream, size = _unpack_all(_CREDIT, body)
    if size == 0:
        raise Malformed("a credit of nothing")
    return Credit(stream, size)


def _fin(body: memoryview) -> Fin:
    digest = bytes(body[_FIN.size :])
    if len(digest) not in (0, DIGEST_SIZE):
        raise Malformed("a digest of the wrong size")
    stream, total = _unpack(_FIN, body)
    return Fin(stream, total, digest)


def _reset(body: memoryview) -> Reset:
    stream, code = _unpack(_RESET, body)
    return Reset(stream, code, _text_untrusted(body[_RESET.size :]))


def _ping(body: memoryview) -> Ping:
    return Ping(*_unpack_all(_U64, body))


def _pong(body: memoryview) -> Pong:
    return Pong(*_unpack_all(_U64, body))


def _refresh(body: memoryview) -> Refresh:
    (number,) = _unpack(_REFRESH, body)
    step = _STEPS.get(number)
    if step is None or len(body) > _REFRESH.size + MOST_REFRESH:
        raise Malformed("an unknown step of a refresh, or one too long")
    return Refresh(step, bytes(body[_REFRESH.size :]))


def _goaway(body: memoryview) -> GoAway:
    (code,) = _unpack(_GOAWAY, body)
    return GoAway(code, _text_untrusted(body[_GOAWAY.size :]))


_PARSERS: dict[int, Callable[[memoryview], Record]] = {
    Kind.MESSAGE: _message,
    Kind.ACK: _ack,
    Kind.OPEN: _open,
    Kind.DATA: _data,
    Kind.CREDIT: _credit,
    Kind.FIN: _fin,
    Kind.RESET: _reset,
    Kind.PING: _ping,
    Kind.PONG: _pong,
    Kind.REFRESH: _refresh,
    Kind.GOAWAY: _goaway,
}
_PURPOSES = {int(purpose): purpose for purpose in Purpose}
_PRIORITIES = {int(priority): priority for priority in Priority}
_STEPS = {int(step): step for step in RefreshStep}


def _unpack(layout: struct.Struct, body: memoryview) -> tuple[int, ...]:
    if len(body) < layout.size:
        raise Malformed("a record is too short")
    return layout.unpack_from(body)


def _unpack_all(layout: struct.Struct, body: memoryview) -> tuple[int, ...]:
    if len(body) != layout.size:
        raise Malformed("a record of the wrong size")
    return layout.unpack(body)


def _split_name(rest: memoryview, size: int) -> tuple[str, memoryview]:
    name = bytes(rest[:size])
    if len(name) < size or not _NAME.fullmatch(name):
        raise Malformed("a protocol's name is not one")
    return name.decode("ascii"), rest[size:]


def _priority(value: int) -> Priority:
    priority = _PRIORITIES.get(value)
    if priority is None:
        raise Malformed("an unknown priority")
    return priority


def _text_untrusted(data: memoryview) -> str:
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None
    if len(data) > MOST_TEXT:
        raise Malformed("a text is too long")
    # It may end up on a terminal. Not Malformed: what is printable depends on the Unicode version of either side.
    return "".join(char if char.isprintable() else " " for char in text)


# -- building ------------------------------------------------------------------------------------------------------


def _record(kind: Kind, layout: struct.Struct, fields: tuple[int, ...], tail: bytes = b"") -> bytes:
    try:
        return _HEAD.pack(kind, layout.size + len(tail)) + layout.pack(*fields) + tail
    except struct.error:
        raise Misuse(f"a {kind.name} record does not allow that") from None


def _name(protocol: str) -> bytes:
    name = protocol.encode("utf-8", "replace")
    if not _NAME.fullmatch(name):
        raise Misuse(f"{protocol!r} is not a protocol's name", f"use 1 to {MOST_NAME} of a-z 0-9 . - _")
    return name


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:MOST_TEXT].decode("utf-8", "ignore").encode()
