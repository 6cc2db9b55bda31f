"""What lies in the distributed table: a sealed record, and a signature that only the two who share a secret can make.

The rule: a place in the table is the hash of a key, and only what that key has signed may lie there. So whoever keeps
the table can tell a value that belongs from one that does not, without knowing what it says, whose it is or who looks
for it; and nobody can put something in its place. (BitTorrent's BEP 44 has the idea.) The key is of one relationship,
one direction and one period, as the record in it is, and is derived from what opens that record.

A parcel (numbers are big-endian)::

    public key 32 · number u64 · record 255 · signature 64          359 bytes

The signature covers ``springline parcel`` · number · record. The number grows with each record: who signs takes the
time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from springline.errors import Malformed
from springline.transport.discovery.records import RECORD_SIZE

PLACE_SIZE = 20
"""Bytes in the name of a place, as in that of a node: the two are compared (Maymounkov and Mazières, 2002)."""

KEY_SIZE = 32
_NUMBER_SIZE = 8
_SIGNATURE_SIZE = 64
PARCEL_SIZE = KEY_SIZE + _NUMBER_SIZE + RECORD_SIZE + _SIGNATURE_SIZE
_MOST_NUMBER = 2**64 - 1
_LABEL = b"springline parcel"


@dataclass(frozen=True, slots=True)
class Parcel:
    """:param key: public, 32 bytes. :param number: the higher, the newer, says who has signed it."""

    key: bytes
    number: int
    record: bytes
    signature: bytes = field(repr=False)

    @property
    def place(self) -> bytes:
        """Where it may lie."""
        return _place(self.key)

    @property
    def packed(self) -> bytes:
        """As it is sent and kept."""
        return self.key + self.number.to_bytes(_NUMBER_SIZE, "big") + self.record + self.signature


def place_of(secret: bytes) -> bytes:
    """Where the parcels lie that are made with that secret (32 bytes): 20 bytes."""
    return _place(_keys(secret)[0])


def make(secret: bytes, record: bytes, number: int) -> Parcel:
    """A parcel for the place of that secret. :param record: of the one size there is."""
    public, private = _keys(secret)
    number = min(max(0, number), _MOST_NUMBER)
    return Parcel(public, number, record, crypto_sign(_signed(number, record), private)[:_SIGNATURE_SIZE])


def parse_untrusted(packed: bytes, place: bytes | None = None) -> Parcel:
    """The parcel in bytes from outside.

    :param place: where it must belong, if that is known. :raises Malformed: it is none, or belongs elsewhere.
    """
    if len(packed) != PARCEL_SIZE:
        raise Malformed("a parcel of the wrong size")
    key, rest = packed[:KEY_SIZE], packed[KEY_SIZE:]
    if place is not None and _place(key) != place:
        raise Malformed("a parcel that belongs elsewhere")
    number, signature = int.from_bytes(rest[:_NUMBER_SIZE], "big"), rest[-_SIGNATURE_SIZE:]
    record = rest[_NUMBER_SIZE:-_SIGNATURE_SIZE]
    try:
        crypto_sign_open(signature + _signed(number, record), key)
    except (BadSignatureError, ValueError):
        raise Malformed("a parcel that its key has not signed") from None
    return Parcel(key, number, record, signature)


def _keys(secret: bytes) -> tuple[bytes, bytes]:
    """The public and the private key for a secret."""
    seed = hashlib.blake2b(key=secret, digest_size=KEY_SIZE, person=b"springline lay").digest()
    public, private = crypto_sign_seed_keypair(seed)
    return public, private


def _place(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=PLACE_SIZE, person=b"springline place").digest()


def _signed(number: int, record: bytes) -> bytes:
    return _LABEL + number.to_bytes(_NUMBER_SIZE, "big") + record
