"""``session_keys.json``: the relationship key two devices share, and how it comes about.

It is the psk of every later handshake between the two, never a session's key: those come from fresh Diffie-Hellman and
are not stored. It is derived from what both sides contribute at pairing and from the Diffie-Hellman of their static
keys, which only their Keystores can compute.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from springline.errors import Damaged, InternalFault, Newer

VERSION = 1
KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class EncryptedSessionKeys:
    """What the file holds, under its seal.

    :param relationship_key: 32 bytes. :param expires_at: when it must not be used any more, or None.
    """

    relationship_key: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.relationship_key) != KEY_SIZE:
            raise InternalFault(f"a relationship key has {KEY_SIZE} bytes, not {len(self.relationship_key)}")

    def encode(self) -> bytes:
        """JSON, to be sealed."""
        fields = {
            "version": VERSION,
            "relationship_key": base64.b64encode(self.relationship_key).decode(),
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }
        return json.dumps(fields).encode()


def decode(data: bytes) -> EncryptedSessionKeys:
    """The keys in an opened seal. :raises Damaged: there are none."""
    try:
        fields = json.loads(data)
        if fields["version"] > VERSION:
            raise Newer("a relationship key was written by a newer version")
        key = base64.b64decode(fields["relationship_key"], validate=True)
        if len(key) != KEY_SIZE:
            raise Damaged("a relationship key has the wrong size")
        expires = fields["expires_at"]
        return EncryptedSessionKeys(
            key,
            datetime.fromisoformat(fields["created_at"]),
            datetime.fromisoformat(expires) if expires else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("a relationship key is not what was written") from None


def relationship_key(shared: bytes, handshake_hash: bytes, contributions: Mapping[UUID, bytes]) -> bytes:
    """The key (32 bytes) two devices share; the same on both sides.

    :param shared: X25519 of the two static keys, 32 bytes.
    :param handshake_hash: of their pairing handshake, 32 bytes.
    :param contributions: 32 random bytes of each, by device id.
    """
    if len(contributions) != 2:
        raise InternalFault("a relationship has two sides")
    digest = hashlib.blake2b(digest_size=KEY_SIZE, key=shared, person=b"springline rel")
    digest.update(handshake_hash)
    for device in sorted(contributions):
        digest.update(device.bytes + contributions[device])
    return digest.digest()
