"""NAT-PMP (RFC 6886), the client's side of its four messages: bytes only.

The rule: a router's answer is believed as far as it goes: its form is checked here, what it means in ``keeping.py``.
All of it is twelve or sixteen bytes in network order, on UDP port 5351 of the router.

=================  ==================================================================================================
which is the       question: version 0, operation 0
address outside    answer: version 0, operation 128, result u16, epoch u32, IPv4 address
map a port         question: version 0, operation 1 (UDP) or 2 (TCP), u16 0, port u16, wanted port u16, seconds u32
                   answer: version 0, operation + 128, result u16, epoch u32, port u16, given port u16, seconds u32
=================  ==================================================================================================
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from springline.errors import Malformed

PORT = 5351
MOST_BYTES = 1100
"""In a datagram (RFC 6886 §3.5)."""

_ANSWERS = 128
_OUTSIDE, _UDP, _TCP = 0, 1, 2
_HEAD = struct.Struct("!BBHI")
_MAPPED = struct.Struct("!HHI")
_REFUSALS = {
    1: "it speaks another version",
    2: "it is not allowed there",
    3: "the router has no address itself",
    4: "it has no room for more",
    5: "it does not know how",
}


@dataclass(frozen=True, slots=True)
class Outside:
    """The router's address outside. :param epoch: seconds since it has forgotten everything."""

    epoch: int
    ip: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """:param port: on this machine. :param given: outside. :param seconds: 0 if it is mapped no more."""

    epoch: int
    udp: bool
    port: int
    given: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The router will not. :param why: for people."""

    epoch: int
    why: str


Answer = Outside | Mapped | Refused


def which_outside() -> bytes:
    """Which address has the router outside?"""
    return bytes((0, _OUTSIDE))


def map_port(port: int, wanted: int, seconds: int, *, udp: bool) -> bytes:
    """Map a port. :param wanted: the port outside, if it is free. :param seconds: how long; 0: no more."""
    return struct.pack("!BBHHHI", 0, _UDP if udp else _TCP, 0, port, wanted, seconds)


def answers(question: bytes, answer: Answer) -> bool:
    """True if that is the answer to that question, and not to another one. Refusals don't say which port they mean."""
    match answer:
        case Outside():
            return question[1] == _OUTSIDE
        case Mapped(udp=udp, port=port):
            return question[1] == (_UDP if udp else _TCP) and question[4:6] == port.to_bytes(2, "big")
    return True


def read_untrusted(data: bytes) -> Answer:
    """What the router says. :raises Malformed: it is none of that."""
    if len(data) < _HEAD.size:
        raise Malformed("a router's answer is too short")
    version, kind, result, epoch = _HEAD.unpack_from(data)
    if kind < _ANSWERS:
        raise Malformed("that is no answer")
    if result:  # before the version: one that speaks another says so with its own
        return Refused(epoch, _REFUSALS.get(result, f"it says {result}"))
    if version != 0:
        raise Malformed("a router answers in another version")
    rest = data[_HEAD.size :]
    if kind == _ANSWERS + _OUTSIDE and len(rest) == 4:
        return Outside(epoch, str(ipaddress.IPv4Address(rest)))
    if kind in (_ANSWERS + _UDP, _ANSWERS + _TCP) and len(rest) == _MAPPED.size:
        return Mapped(epoch, kind == _ANSWERS + _UDP, *_MAPPED.unpack(rest))
    raise Malformed("a router's answer is none")
