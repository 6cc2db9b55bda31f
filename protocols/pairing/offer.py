"""What both sides say inside the pairing handshake: which versions they speak, and what the inviter commits to.

A CBOR map, in the padded payload of Pair's first and second message: ``{"v": [lowest, highest]}``, the inviter's with
``"c"``, its commitment (``sas.py``). Both ranges are encrypted, authenticated and part of the handshake's hash, and
both sides take the newest version they have in common: nobody in between can talk them down to an older one. Unknown
keys are ignored: room for later versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import cbor2

from springline.errors import Malformed
from springline.protocols.codec import load_untrusted
from springline.protocols.pairing.sas import COMMITMENT_SIZE
from springline.transport.hello import VERSION

MOST = 256
_MOST_VERSION = 65535


@dataclass(frozen=True, slots=True)
class Offer:
    """One side's.

    :param lowest: oldest protocol version spoken. :param highest: newest.
    :param commitment: the inviter's, 32 bytes; the joiner makes none.
    """

    lowest: int = VERSION
    highest: int = VERSION
    commitment: bytes = b""

    def encode(self) -> bytes:
        """The content of the payload."""
        fields: dict[str, object] = {"v": [self.lowest, self.highest]}
        if self.commitment:
            fields["c"] = self.commitment
        return cbor2.dumps(fields)

    def agree(self, other: Offer) -> int | None:
        """The newest version both speak, or None."""
        newest = min(self.highest, other.highest)
        return newest if newest >= max(self.lowest, other.lowest) else None


def decode_untrusted(content: bytes, *, committed: bool) -> Offer:
    """Parse the other side's.

    :param committed: whether it must hold a commitment: the inviter's does. :raises Malformed: it is none.
    """
    fields = load_untrusted(content, MOST)
    if not isinstance(fields, dict):
        raise Malformed("the other side's offer is not a map")
    versions, commitment = fields.get("v"), fields.get("c", b"")
    if not (isinstance(versions, list) and len(versions) == 2 and all(map(_is_version, versions))):
        raise Malformed("the other side has not said which versions it speaks")
    if not isinstance(commitment, bytes) or len(commitment) != (COMMITMENT_SIZE if committed else 0):
        raise Malformed("the other side's commitment is missing, or not its to make")
    return Offer(int(versions[0]), int(versions[1]), commitment)


def _is_version(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_VERSION
