"""What the two handlers of ``files`` say to each other: CBOR maps in ``Custom`` messages, and the stream's header.

    sender → receiver   {"transfer": 16 bytes, "name": text, "size": bytes, "offset": 0}
    receiver → sender   {"offset": bytes already here}  or  {"done": BLAKE3, "name": text}
    stream header       the same as the offer, with the "offset" it begins at

A refusal is the answer's error, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import cbor2

from springline.errors import Malformed
from springline.protocols.codec import load_untrusted
from springline.protocols.files.naming import MOST_NUMBERED, checked_name

VERSION = 1
DIGEST_SIZE = 32
MOST_BYTES = 2048
_MOST_SIZE = 2**63


@dataclass(frozen=True, slots=True)
class Offer:
    """A file the sender would like to send; also, with ``offset``, the header of its stream.

    :param size: bytes of the whole file. :param offset: bytes the receiver has.
    """

    transfer: UUID
    name: str
    size: int
    offset: int = 0

    def encode(self) -> bytes:
        """CBOR."""
        return cbor2.dumps(
            {"transfer": self.transfer.bytes, "name": self.name, "size": self.size, "offset": self.offset}
        )


@dataclass(frozen=True, slots=True)
class Have:
    """The receiver has so many bytes of it: send the rest."""

    offset: int

    def encode(self) -> bytes:
        """CBOR."""
        return cbor2.dumps({"offset": self.offset})


@dataclass(frozen=True, slots=True)
class AllThere:
    """The receiver has all of it, under that name."""

    blake3: bytes
    name: str

    def encode(self) -> bytes:
        """CBOR."""
        return cbor2.dumps({"done": self.blake3, "name": self.name})


def offer_from_untrusted(data: bytes) -> Offer:
    """An offer, or a stream's header. :raises Malformed: it is none, or its name is not a file's."""
    fields = _map(data)
    size, offset = _number(fields, "size"), _number(fields, "offset")
    if offset > size:
        raise Malformed("an offer begins behind its end")
    return Offer(UUID(bytes=_bytes(fields, "transfer", 16)), checked_name(fields.get("name")), size, offset)


def reply_from_untrusted(data: bytes) -> Have | AllThere:
    """The receiver's answer. :raises Malformed: it is none."""
    fields = _map(data)
    if "done" in fields:
        return AllThere(_bytes(fields, "done", DIGEST_SIZE), checked_name(fields.get("name"), MOST_NUMBERED))
    return Have(_number(fields, "offset"))


def _map(data: bytes) -> dict[Any, Any]:
    fields = load_untrusted(data, MOST_BYTES)
    if not isinstance(fields, dict):
        raise Malformed("not a map")
    return fields


def _number(fields: dict[Any, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < _MOST_SIZE:
        raise Malformed(f"'{name}' is not a size")
    return value


def _bytes(fields: dict[Any, Any], name: str, size: int) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) != size:
        raise Malformed(f"'{name}' is not {size} bytes")
    return value
