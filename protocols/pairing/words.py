"""Twelve words for 128 bits, by BIP 39's English list (https://github.com/bitcoin/bips, bip-0039).

What people type is forgiven: case, spacing, and all but the first four letters of a word, which are unique in the list.
The checksum catches most slips; an error names the word that is wrong, and repeats no other.
"""

from __future__ import annotations

from functools import cache

from mnemonic import Mnemonic

from springline.errors import Misuse

COUNT = 12
SECRET_SIZE = 16
_PREFIX = 4


@cache
def _book() -> Mnemonic:
    return Mnemonic("english")


@cache
def _by_prefix() -> dict[str, str]:
    return {word[:_PREFIX]: word for word in _book().wordlist}


def words_of(secret: bytes) -> str:
    """The twelve words of a secret (16 bytes)."""
    if len(secret) != SECRET_SIZE:
        raise Misuse(f"twelve words hold {SECRET_SIZE} bytes")
    return _book().to_mnemonic(secret)


def secret_of(text: str) -> bytes:
    """The secret (16 bytes) in what a user typed. :raises Misuse: it is not twelve of these words."""
    typed = text.lower().replace(",", " ").split()
    if len(typed) != COUNT:
        raise Misuse(f"an invitation has {COUNT} words, not {len(typed)}")
    words = []
    for number, word in enumerate(typed, start=1):
        found = _by_prefix().get(word[:_PREFIX])
        if found is None:
            raise Misuse(f"word {number} is not in the list", "check its spelling")
        words.append(found)
    try:
        return bytes(_book().to_entropy(words))
    except ValueError:
        raise Misuse("the words do not belong together", "one of them is another word, or their order is") from None
