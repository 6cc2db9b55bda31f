"""What the two handlers of ``trust`` say to each other: CBOR maps in ``Custom`` messages.

    {"have": [ids]}     "this is all I know"        answer   {"facts": [what you lack, at most BATCH]}
    {"facts": [facts]}  "do you know that?"         answer   {"have": [ids of those I know now]}

A fact is 161 bytes, its id 16; ``store/revocation.py`` says what is in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2

from springline.errors import Malformed
from springline.protocols.codec import load_untrusted
from springline.store.revocation import ID_SIZE, MOST_FACTS, MOST_SUPERSEDED, SIZE

VERSION = 1
BATCH = 64
"""Facts in one message."""

_MOST_IDS = MOST_FACTS + MOST_SUPERSEDED
_MOST_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Have:
    """These facts are known here, by id."""

    ids: tuple[bytes, ...]

    def encode(self) -> bytes:
        """CBOR."""
        return cbor2.dumps({"have": list(self.ids)})


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts, as bytes; whether they hold is for the Keystore to find out."""

    facts: tuple[bytes, ...]

    def encode(self) -> bytes:
        """CBOR."""
        return cbor2.dumps({"facts": list(self.facts)})


def from_untrusted(data: bytes) -> Have | Facts:
    """What the other handler says. :raises Malformed: it is neither."""
    said = load_untrusted(data, _MOST_BYTES)
    match said:
        case {"have": ids}:
            return Have(_all(ids, ID_SIZE, _MOST_IDS))
        case {"facts": facts}:
            return Facts(_all(facts, SIZE, BATCH))
        case _:
            raise Malformed("neither facts nor what is known of them")


def _all(items: Any, size: int, most: int) -> tuple[bytes, ...]:
    if not isinstance(items, list) or len(items) > most:
        raise Malformed("not a list, or too long")
    if not all(isinstance(item, bytes) and len(item) == size for item in items):
        raise Malformed(f"something is not {size} bytes")
    return tuple(items)
