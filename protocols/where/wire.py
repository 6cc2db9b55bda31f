"""What the two handlers of ``where`` say to each other, and which of it is worth a try. Pure.

    {"at": ["192.0.2.5:7400", "[2001:db8::5]:7400", …]}     "I listen there", the likeliest first; no answer

Addresses are in figures: a name in what another device says would make this one ask name servers for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cbor2

from springline.errors import Malformed
from springline.protocols.codec import load_untrusted
from springline.transport.address import Address
from springline.transport.lineup import objection, plain

VERSION = 1
MOST = 16
"""Addresses in one message."""

MOST_TRIED = 6
"""Addresses of one message that are tried: each that answers costs both sides a handshake, and the Keystore remembers
eight of a device, of which the link's own must stay one."""

MOST_PORTS = 2
"""Ports tried at the address a device has called from."""

_MOST_BYTES = 2048


def encode(addresses: Sequence[Address]) -> bytes:
    """CBOR; the first :data:`MOST` of them."""
    return cbor2.dumps({"at": [str(address) for address in addresses[:MOST]]})


def from_untrusted(data: bytes) -> tuple[Address, ...]:
    """The addresses in figures, without scopes: those mean something to the sender only.

    :raises Malformed: it says something else, or too much.
    """
    match load_untrusted(data, _MOST_BYTES):
        case {"at": list() as texts} if len(texts) <= MOST:
            told = [Address.parse_untrusted(text) for text in texts]
        case _:
            raise Malformed("nothing that is said about where a device is")
    return tuple(dict.fromkeys(found for address in told if (found := _in_figures(address)) is not None))


def worth_trying(told: Sequence[Address], observed: str, known: Sequence[Address]) -> tuple[Address, ...]:
    """What to try: what is told and not known, and the told ports where the device has called from.

    :param observed: the host of its last call, or ``""``.
    """
    ports = list(dict.fromkeys(address.port for address in told))[:MOST_PORTS]
    seen = [Address(observed, port) for port in ports] if observed else []
    fresh = dict.fromkeys(address for address in (*told, *seen) if address not in known)
    return tuple(address for address in fresh if not objection(plain(address.host), address.port))[:MOST_TRIED]


def _in_figures(address: Address) -> Address | None:
    try:
        return Address(plain(address.host), address.port)
    except ValueError:
        return None
