"""What nodes of the distributed table say to each other, one UDP datagram each. Pure.

The rule: a fixed layout, no nesting, no lengths but of what can be counted; whatever else comes is ``Malformed``.
Nobody is sent more bytes than it has sent itself before it has shown that it is where it seems to be: that is what the
token is for, which must be repeated. Without a good one the answer is AGAIN, and shorter than the question. So a node
can't be used to flood somebody else, and what is stored is on the account of a host that exists.

Numbers are big-endian. Every datagram begins ``kind u8 · call 8 · node 20``: which call it is, random, and who speaks.
Then ::

    1 FIND     guest u8 · token 8 · place 20             what lies there, and who is near?
    2 STORE    guest u8 · token 8 · parcel 359           keep this
    3 AGAIN    token 8                                   ask again with this token
    4 TOLD     token 8 · n u8 · n contacts · n u8 · n parcels
    5 STORED   token 8 · kept u8

    contact    node 20 · 4 · IPv4 4 · port u16           or    node 20 · 6 · IPv6 16 · port u16

``guest`` is 1 if who asks can't be asked itself, because it is behind a router that lets nobody in. A token that is not
known yet is zeros.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from springline.errors import Malformed
from springline.transport.discovery.parcels import PARCEL_SIZE, PLACE_SIZE

MOST_SIZE = 1232
"""Bytes in a datagram: what fits everywhere without being cut (RFC 8200 §5, less the headers)."""

MOST_CONTACTS = 8
MOST_PARCELS = 2
NODE_SIZE = PLACE_SIZE
CALL_SIZE = 8
TOKEN_SIZE = 8
NO_TOKEN = bytes(TOKEN_SIZE)
_HEAD = 1 + CALL_SIZE + NODE_SIZE
_IP_SIZES = {4: 4, 6: 16}


@dataclass(frozen=True, slots=True)
class Contact:
    """A node and where it is. :param ip: in figures, without scope."""

    node: bytes
    ip: str
    port: int

    @property
    def at(self) -> tuple[str, int]:
        """Its IP address and port."""
        return self.ip, self.port


@dataclass(frozen=True, slots=True)
class Find:
    """What lies at that place, and who is near it?"""

    call: bytes
    node: bytes
    guest: bool
    token: bytes
    place: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """Keep that parcel; it has not been checked."""

    call: bytes
    node: bytes
    guest: bool
    token: bytes
    parcel: bytes


@dataclass(frozen=True, slots=True)
class Again:
    """The token was not good; this one is."""

    call: bytes
    node: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to :class:`Find`. The parcels have not been checked."""

    call: bytes
    node: bytes
    token: bytes
    contacts: tuple[Contact, ...] = ()
    parcels: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer to :class:`Store`."""

    call: bytes
    node: bytes
    token: bytes
    kept: bool


Question = Find | Store
Answer = Again | Told | Stored
_KINDS: dict[int, type[Question | Answer]] = {1: Find, 2: Store, 3: Again, 4: Told, 5: Stored}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def pack(said: Question | Answer) -> bytes:
    """The datagram."""
    head = bytes([_NUMBERS[type(said)]]) + said.call + said.node
    match said:
        case Find():
            return head + bytes([said.guest]) + said.token + said.place
        case Store():
            return head + bytes([said.guest]) + said.token + said.parcel
        case Again():
            return head + said.token
        case Told():
            contacts = b"".join(map(_pack_contact, said.contacts))
            counts = bytes([len(said.contacts)]), bytes([len(said.parcels)])
            return head + said.token + counts[0] + contacts + counts[1] + b"".join(said.parcels)
        case Stored():
            return head + said.token + bytes([said.kept])


def parse_untrusted(datagram: bytes) -> Question | Answer:
    """What a datagram says. :raises Malformed: nothing that is in this protocol."""
    if not _HEAD + TOKEN_SIZE <= len(datagram) <= MOST_SIZE:
        raise Malformed("a datagram of a size that none has")
    kind = _KINDS.get(datagram[0])
    if kind is None:
        raise Malformed("a datagram of a kind that is not known")
    call, node, rest = datagram[1 : 1 + CALL_SIZE], datagram[1 + CALL_SIZE : _HEAD], datagram[_HEAD:]
    if kind is Find or kind is Store:
        guest, token, body = rest[0], rest[1 : 1 + TOKEN_SIZE], rest[1 + TOKEN_SIZE :]
        _expect(guest <= 1 and len(body) == (PLACE_SIZE if kind is Find else PARCEL_SIZE))
        return kind(call, node, bool(guest), token, body)
    token, body = rest[:TOKEN_SIZE], rest[TOKEN_SIZE:]
    if kind is Again:
        _expect(not body)
        return Again(call, node, token)
    if kind is Stored:
        _expect(len(body) == 1 and body[0] <= 1)
        return Stored(call, node, token, bool(body[0]))
    return Told(call, node, token, *_parse_told(body))


def _parse_told(body: bytes) -> tuple[tuple[Contact, ...], tuple[bytes, ...]]:
    _expect(bool(body) and body[0] <= MOST_CONTACTS)
    count, rest, contacts = body[0], body[1:], []
    for _ in range(count):
        _expect(len(rest) > NODE_SIZE and rest[NODE_SIZE] in _IP_SIZES)
        end = NODE_SIZE + 1 + _IP_SIZES[rest[NODE_SIZE]]
        _expect(len(rest) >= end + 2)
        ip, port = ipaddress.ip_address(rest[NODE_SIZE + 1 : end]), int.from_bytes(rest[end : end + 2], "big")
        contacts.append(Contact(rest[:NODE_SIZE], str(ip), port))
        rest = rest[end + 2 :]
    _expect(bool(rest) and rest[0] <= MOST_PARCELS and len(rest) == 1 + rest[0] * PARCEL_SIZE)
    parcels = tuple(rest[at : at + PARCEL_SIZE] for at in range(1, len(rest), PARCEL_SIZE))
    return tuple(contacts), parcels


def _pack_contact(contact: Contact) -> bytes:
    ip = ipaddress.ip_address(contact.ip)
    return contact.node + bytes([ip.version]) + ip.packed + contact.port.to_bytes(2, "big")


def _expect(holds: bool) -> None:
    if not holds:
        raise Malformed("a datagram that breaks off, or goes on, where none does")
