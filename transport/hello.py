"""What the two sides say inside the first two handshake messages: versions, features and the session's epoch.

Layout: CBOR map ``{"v": [lowest, highest], "f": [feature, …], "e": epoch, "k": used, "n": current}``, padded with zeros
to ``FIRST_PAYLOAD`` bytes by ``noise.pad``, so that every handshake has the same length on the wire. The responder
answers with the one version it chose (lowest = highest) and the epoch it assigned. ``k`` and ``n`` are ids of
relationship keys (8 bytes each): the one this handshake uses, the initiator's choice, and the speaker's present one.
Unknown keys are ignored: room for later versions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import cbor2

from springline.errors import Malformed
from springline.transport.noise import FIRST_PAYLOAD, pad, unpad_untrusted

VERSION = 1
MOST_EPOCH = 2**63 - 1
_MOST_FEATURES = 8
ID_SIZE = 8
"""Bytes in the id of a relationship key."""


@dataclass(frozen=True, slots=True)
class Hello:
    """One side's part of the agreement.

    :param lowest: oldest protocol version spoken. :param highest: newest.
    :param epoch: initiator: the highest epoch known for this pair, responder: the one assigned (``0 … 2**63-1``).
    :param features: short ASCII names.
    :param used: id of the relationship key this handshake uses, or ``b""`` if the responder speaks.
    :param current: id of the speaker's present relationship key.
    """

    lowest: int = VERSION
    highest: int = VERSION
    epoch: int = 0
    features: tuple[str, ...] = ()
    used: bytes = b""
    current: bytes = b""

    def encode(self) -> bytes:
        """``FIRST_PAYLOAD`` bytes."""
        fields = {"v": [self.lowest, self.highest], "f": list(self.features), "e": self.epoch}
        fields |= {"k": self.used, "n": self.current}
        return pad(cbor2.dumps(fields), FIRST_PAYLOAD)

    def agree(self, other: Hello) -> int | None:
        """The newest version both speak, or None."""
        newest = min(self.highest, other.highest)
        return newest if newest >= max(self.lowest, other.lowest) else None


def decode_untrusted(payload: bytes) -> Hello:
    """Parse an authenticated peer's hello. :raises Malformed: it is not one."""
    try:
        fields = cbor2.load(io.BytesIO(unpad_untrusted(payload)))
    except (cbor2.CBORDecodeError, ValueError, RecursionError, MemoryError) as error:
        raise Malformed("the hello is not CBOR") from error
    if not isinstance(fields, dict):
        raise Malformed("the hello is not a map")
    versions, features, epoch = fields.get("v"), fields.get("f", []), fields.get("e")
    if not (isinstance(versions, list) and len(versions) == 2 and all(_small(v, 65535) for v in versions)):
        raise Malformed("the hello has no version range")
    if not _small(epoch, MOST_EPOCH):
        raise Malformed("the hello has no epoch")
    if not (isinstance(features, list) and len(features) <= _MOST_FEATURES and all(_name(f) for f in features)):
        raise Malformed("the hello's features are not names")
    used, current = fields.get("k", b""), fields.get("n", b"")
    if not all(isinstance(ident, bytes) and len(ident) in (0, ID_SIZE) for ident in (used, current)):
        raise Malformed("the hello's key ids are none")
    return Hello(int(versions[0]), int(versions[1]), int(epoch or 0), tuple(features), used, current)


def _small(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 16 and value.isascii()
