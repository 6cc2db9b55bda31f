"""The short authentication string: six digits that both users compare, so that nobody sits between the two devices.

Who has come by the words can pair with each side and pass itself off as the other. Then the two sides have two
handshakes, and their digits differ. The digits alone would not do: twenty bits of a hash are found by trying, and who
sits in between may vary its messages until both hashes fit. Therefore each side's contribution goes into them, and the
inviter's is fixed by a commitment in the handshake, before the joiner's is known, and shown after it: whoever sits in
between must choose before it sees, and guesses right once in a million (Vaudenay, "Secure Communications over Insecure
Channels Based on Short Authenticated Strings", CRYPTO 2005; ZRTP does so too, RFC 6189 §4.4.1.1).

Digits rather than words or pictures: they are read aloud alike in every language, have no case and look alike nowhere.
"""

from __future__ import annotations

import hashlib
from typing import Final

DIGITS: Final = 6
COMMITMENT_SIZE = 32


def commitment_to(contribution: bytes) -> bytes:
    """What the inviter fixes its contribution (32 random bytes) by, without showing it; 32 bytes."""
    return hashlib.blake2b(contribution, digest_size=COMMITMENT_SIZE, person=b"springline pact").digest()


def short_string(handshake_hash: bytes, inviter: bytes, joiner: bytes) -> str:
    """Six digits in two groups, e.g. ``"123 456"``; the same on both sides of one handshake.

    :param handshake_hash: Noise's ``h``, 32 bytes.
    :param inviter: its contribution, 32 bytes. :param joiner: its contribution, 32 bytes.
    """
    digest = hashlib.blake2b(inviter + joiner, key=handshake_hash, digest_size=16, person=b"springline sas").digest()
    digits = f"{int.from_bytes(digest) % 10**DIGITS:0{DIGITS}}"
    return f"{digits[: DIGITS // 2]} {digits[DIGITS // 2 :]}"
