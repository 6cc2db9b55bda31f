"""An invitation as a URI: ``springline://pair?words=apple-…&at=192.168.1.5:7400&at=…``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from springline.errors import Misuse
from springline.protocols.pairing.words import secret_of, words_of
from springline.transport.address import Address

SCHEME = "springline"
MOST_ADDRESSES = 16
MOST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Invited:
    """What a user was given: the secret (16 bytes), and where the other side may be."""

    secret: bytes = field(repr=False)
    addresses: tuple[Address, ...] = ()


def build(secret: bytes, addresses: Sequence[Address]) -> str:
    """The URI of an invitation."""
    words = words_of(secret).replace(" ", "-")
    where = "".join(f"&at={quote(str(address), safe=':[]')}" for address in addresses[:MOST_ADDRESSES])
    return f"{SCHEME}://pair?words={words}{where}"


def parse(text: str) -> Invited:
    """What a user typed or pasted: twelve words, or a URI. :raises Misuse: it is neither."""
    text = text.strip()
    if len(text) > MOST_TEXT:
        raise Misuse("that is too long for an invitation")
    if not text.lower().startswith(f"{SCHEME}:"):
        return Invited(secret_of(text))
    try:
        parts = urlsplit(text)
        fields = parse_qs(parts.query, max_num_fields=MOST_ADDRESSES + 4)
    except ValueError:
        raise Misuse("that URI is none of ours") from None
    if parts.netloc != "pair" or len(fields.get("words", [])) != 1:
        raise Misuse("that URI is no invitation")
    addresses = tuple(Address.parse(address) for address in fields.get("at", []))
    return Invited(secret_of(fields["words"][0].replace("-", " ")), addresses)
