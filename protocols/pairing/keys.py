"""What both sides derive from an invitation's secret: each key for one purpose (keyed BLAKE2b, RFC 7693)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class InvitationKeys:
    """:param psk: of the pairing handshake. :param doorbell: mac1 key of its first frame.
    :param tag: what the other side is looked for by.
    """

    psk: bytes = field(repr=False)
    doorbell: bytes = field(repr=False)
    tag: bytes = field(repr=False)


def keys_of(secret: bytes) -> InvitationKeys:
    """The keys (32 bytes each) of an invitation with that secret (16 bytes)."""
    return InvitationKeys(*(_derive(secret, purpose) for purpose in (b"pair psk", b"pair doorbell", b"pair tag")))


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(digest_size=KEY_SIZE, key=secret, person=purpose).digest()
