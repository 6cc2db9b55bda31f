"""``session_keys.json``: the relationship key two devices share, and how it comes about.

It is the psk of every later handshake between the two, never a session's key: those come from fresh Diffie-Hellman and
are not stored. The first one is derived from what both sides contribute at pairing and from the Diffie-Hellman of
their static keys, which only their Keystores can compute; each later one from the secret of a finished handshake, which
contains the one before it. So who has come by one of them can't use it once the key has rotated twice. Who has copied
an opened store can: it holds the recovery key, too, whose use both sides write down.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from springline.errors import Damaged, InternalFault
from springline.store import migrate

ROLE = "session_keys"
KEY_SIZE = 32
ID_SIZE = 8
MOST_PENDING = 10
"""Keys a follower keeps of rotations that did not come to an end. The leader can take up none but its latest eight."""


@dataclass(frozen=True, slots=True)
class EncryptedSessionKeys:
    """What the file holds, under its seal: the relationship's key, and those it is about to be or has just been.

    One of the two devices, the one with the lower id, *leads*: it alone begins rotations. A rotation has two phases, so
    that whatever is lost or killed in between, each side accepts a key that the other one dials with:

    1. the follower stores the new key as *pending*: it accepts it, and still dials with the present one;
    2. the leader hears so, makes it the present one and keeps the *previous*, which it still accepts;
    3. the follower hears the leader name the new key, makes it the present one and wipes all others;
    4. the leader sees that, and wipes the previous one.

    All steps return what is to be written before the next message leaves; they change nothing if they come again.

    :param relationship_key: 32 bytes. :param expires_at: from when on only the recovery key begins a session, or None.
    :param previous: the key before it, or ``b""``.
    :param pending: the follower's new keys, oldest first; or, of a leader, older ones after a renewed pairing.
    :param recovery: opens the relationship to a reinstalled device, whose other keys are old.
    :param stale: this is a copy of an earlier time: dial with the recovery key.
    :param renewed: the present key is a renewed pairing's, which the peer may not have stored.
    """

    relationship_key: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    previous: bytes = field(default=b"", repr=False)
    pending: tuple[bytes, ...] = field(default=(), repr=False)
    recovery: bytes = field(default=b"", repr=False)
    stale: bool = False
    renewed: bool = False

    def __post_init__(self) -> None:
        if not self.recovery:
            object.__setattr__(self, "recovery", recovery_key(self.relationship_key))
        sizes = {len(key) for key in (self.relationship_key, self.recovery, *self.pending)}
        if sizes != {KEY_SIZE} or len(self.previous) not in (0, KEY_SIZE):
            raise InternalFault(f"a relationship key has {KEY_SIZE} bytes")

    def encode(self) -> bytes:
        """JSON, to be sealed."""
        fields = {
            "version": migrate.newest(ROLE),
            "relationship_key": _text(self.relationship_key),
            "previous": _text(self.previous),
            "pending": [_text(key) for key in self.pending],
            "recovery": _text(self.recovery),
            "stale": self.stale,
            "renewed": self.renewed,
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }
        return json.dumps(fields).encode()

    # -- which key opens a handshake -------------------------------------------------------------------------------

    @property
    def current(self) -> bytes:
        """The id of the present key."""
        return key_id(self.relationship_key)

    def to_dial(self, turn: int) -> bytes:
        """The key to dial with; while a former one may be the only one the peer has, they take turns."""
        if self.stale:
            return self.recovery
        keys = tuple(filter(None, (self.relationship_key, self.previous, *(self.pending if self.renewed else ()))))
        return keys[turn % len(keys)]

    def accepted(self, ident: bytes) -> bytes | None:
        """The key of that id, if it opens a handshake with us."""
        keys = (self.relationship_key, self.previous, *self.pending, self.recovery)
        return next((key for key in keys if key and key_id(key) == ident), None)

    def are_over(self, now: datetime) -> bool:
        """Whether they were to be used up to a moment that has passed. The recovery key is not among them."""
        return self.expires_at is not None and self.expires_at <= now

    # -- how it changes --------------------------------------------------------------------------------------------

    def learn(self, ident: bytes, now: datetime, *, leads: bool) -> EncryptedSessionKeys:
        """The peer has named the key of that id as its present one."""
        if ident == self.current:
            settled = replace(self, previous=b"", pending=(), renewed=False)
            return settled if leads or self.previous else self
        found = () if leads else tuple(key for key in self.pending if key_id(key) == ident)
        if not found:
            return self  # a leader takes nothing up that it has not begun itself
        return EncryptedSessionKeys(found[0], now, self.expires_at, recovery=self.recovery)

    def prepare(self, key: bytes) -> EncryptedSessionKeys:
        """The follower stores a new key. One that nobody took up makes room for later ones."""
        if key in self.pending or key == self.relationship_key:
            return self
        return replace(self, pending=(*self.pending, key)[-MOST_PENDING:])

    def adopt(self, key: bytes, now: datetime) -> EncryptedSessionKeys:
        """The leader hears that the follower has stored the new key."""
        if key == self.relationship_key:
            return self
        former = self.relationship_key
        return replace(self, relationship_key=key, created_at=now, previous=former, stale=False, renewed=False)

    def revert(self, ident: bytes) -> EncryptedSessionKeys:
        """The peer has only a former key: a renewed pairing did not get through to it."""
        former = (self.previous, *self.pending) if self.renewed else ()
        found = next((key for key in former if key and key_id(key) == ident), None)
        if found is None:
            return self
        others = tuple(key for key in self.pending if key != found)
        return replace(self, relationship_key=found, previous=b"", pending=others, renewed=False)

    def give_up(self, ident: bytes) -> EncryptedSessionKeys:
        """The follower has heard of our present key, and names that one as its own: it was set back to earlier times.

        What it has then is what we had before, or a key we do not know any more; then a former key is of no use.
        """
        if not self.previous or ident == self.current:
            return self
        present = self.previous if key_id(self.previous) == ident else self.relationship_key
        return replace(self, relationship_key=present, previous=b"", pending=(), renewed=False)

    def renew(self, key: bytes, now: datetime) -> EncryptedSessionKeys:
        """Paired again: what the peer may still use is accepted until it is known to have the new key too."""
        pending = (*self.pending, *filter(None, (self.previous,)))[-MOST_PENDING:]
        return EncryptedSessionKeys(
            key, now, previous=self.relationship_key, pending=pending, recovery=self.recovery, renewed=True
        )


def decode(data: bytes) -> EncryptedSessionKeys:
    """The keys in an opened seal. :raises Damaged: there are none."""
    fields = migrate.parse(ROLE, data)
    try:
        expires = fields["expires_at"]
        return EncryptedSessionKeys(
            _bytes(fields["relationship_key"]),
            datetime.fromisoformat(fields["created_at"]),
            datetime.fromisoformat(expires) if expires else None,
            _bytes(fields["previous"]),
            tuple(_bytes(key) for key in fields["pending"]),
            _bytes(fields["recovery"]),
            bool(fields["stale"]),
            bool(fields["renewed"]),
        )
    except (InternalFault, ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("a relationship key is not what was written") from None


def key_id(key: bytes) -> bytes:
    """How a key is named between the two devices: 8 bytes that tell nothing of it."""
    return hashlib.blake2b(digest_size=ID_SIZE, key=key, person=b"springline kid").digest()


def recovery_key(first: bytes) -> bytes:
    """The recovery key (32 bytes) of a relationship that began with that key."""
    return hashlib.blake2b(digest_size=KEY_SIZE, key=first, person=b"springline back").digest()


def rotated_key(secret: bytes) -> bytes:
    """The new relationship key (32 bytes) that both Keystores derive from a finished handshake's secret."""
    return hashlib.blake2b(digest_size=KEY_SIZE, key=secret, person=b"springline rot").digest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


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
