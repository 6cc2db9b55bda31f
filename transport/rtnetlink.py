"""What the Linux kernel says about interfaces, addresses and routes: rtnetlink(7), as far as we need it.

The rule: messages are read here and nothing is decided. Whoever reads the socket (``transport/netlink.py``) sees to it
that only the kernel is heard; still nothing is believed of a length: whatever the bytes are, the work is linear in
them, and only :class:`Malformed` is raised.

A datagram is a row of messages: ``length u32, type u16, flags u16, sequence u32, port u32``, a header of the type's
own, then attributes ``length u16, type u16, value``, each padded to four bytes, in the machine's byte order. What is
gone is told in the same form as what is new. Numbers and names are those of ``linux/netlink.h``, ``linux/rtnetlink.h``,
``linux/if_link.h`` and ``linux/if_addr.h``.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from springline.errors import Malformed

GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
"""To subscribe to: links; addresses and routes of both families; rules, which choose between tables of routes."""

AF_INET, AF_INET6 = 2, 10  # Linux's, also where this module is only tested

_ERROR, _DONE, _OVERRUN = 2, 3, 4
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWRULE, _DELRULE = 32, 33
_REQUEST, _DUMP = 0x1, 0x300

_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x1, 0x8, 0x40
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_EXT_MASK = 3, 18, 29
_IFLA_INFO_SLAVE_KIND = 4
_SKIP_STATS = 8
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_DADFAILED, _IFA_F_OPTIMISTIC, _IFA_F_TENTATIVE = 0x08, 0x04, 0x40
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_VIA = 1, 4, 5, 18
_TYPE_MASK = 0x3FFF  # the two high bits of an attribute's type are flags

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface.

    :param running: up, and its cable is in (or it needs none).
    :param member: of a bridge or a bond, which speaks for it.
    """

    index: int
    name: str
    running: bool
    loopback: bool = False
    member: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """An address on an interface. :param usable: nobody else claims it, as far as is known."""

    index: int
    ip: str
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """:param prefix: bits of its destination; 0 is everywhere. :param gateway: ``""`` if there is none.

    :param index: its interface, 0 if there is none.
    """

    family: int
    prefix: int
    index: int
    gateway: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a question. :param errno: 0 is "done as told"."""

    errno: int


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a long answer."""


@dataclass(frozen=True, slots=True)
class Other:
    """Something that is not looked into, but may matter: a rule, or that messages were lost."""


News = Link | Placed | Route | Refused | Done | Other

# -- questions -----------------------------------------------------------------------------------------------------


def all_links() -> bytes:
    """Which interfaces are there? Counters are left out."""
    mask = _ATTRIBUTE.pack(8, _IFLA_EXT_MASK) + struct.pack("=I", _SKIP_STATS)
    return _message(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0) + mask)


def all_addresses() -> bytes:
    """Which addresses are there?"""
    return _message(_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0))


def route_to(ip: str) -> bytes:
    """Which way would a packet to ``ip`` go? Nothing is sent there."""
    packed = ipaddress.ip_address(ip).packed
    family = AF_INET if len(packed) == 4 else AF_INET6
    header = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    return _message(_GETROUTE, 0, header + _ATTRIBUTE.pack(4 + len(packed), _RTA_DST) + packed)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


# -- what is told --------------------------------------------------------------------------------------------------


def read_untrusted(datagram: bytes) -> tuple[News, ...]:
    """The messages of a datagram that mean something here. :raises Malformed: it is none."""
    found: list[News] = []
    at = 0
    while at < len(datagram):
        if len(datagram) - at < _HEADER.size:
            raise Malformed("a netlink message is cut off")
        length, kind, *_ = _HEADER.unpack_from(datagram, at)
        if not _HEADER.size <= length <= len(datagram) - at:
            raise Malformed("a netlink message has a wrong length")
        news = _read(kind, datagram[at + _HEADER.size : at + length])
        if news is not None:
            found.append(news)
        at += _aligned(length)
    return tuple(found)


def _read(kind: int, body: bytes) -> News | None:
    if kind in (_NEWLINK, _DELLINK):
        return _link(body)
    if kind in (_NEWADDR, _DELADDR):
        return _placed(body)
    if kind in (_NEWROUTE, _DELROUTE):
        return _route(body)
    if kind == _ERROR:
        return Refused(-struct.unpack("=i", _start(body, 4))[0])
    if kind == _DONE:
        return Done()
    return Other() if kind in (_NEWRULE, _DELRULE, _OVERRUN) else None


def _link(body: bytes) -> Link | None:
    family, _, index, flags, _ = _LINK.unpack(_start(body, _LINK.size))
    if family != 0:  # a bridge says something about its ports
        return None
    name, member = "", False
    for kind, value in _attributes(body[_LINK.size :]):
        if kind == _IFLA_IFNAME:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif kind == _IFLA_LINKINFO:
            member = any(
                inner == _IFLA_INFO_SLAVE_KIND and part.rstrip(b"\0") in (b"bridge", b"bond", b"team")
                for inner, part in _attributes(value)
            )
    running = flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING
    return Link(index, name, running, bool(flags & _IFF_LOOPBACK), member)


def _placed(body: bytes) -> Placed | None:
    family, _, flags, _, index = _ADDRESS.unpack(_start(body, _ADDRESS.size))
    if family not in (AF_INET, AF_INET6):
        return None
    far = near = ""
    for kind, value in _attributes(body[_ADDRESS.size :]):
        if kind == _IFA_ADDRESS:
            far = _ip(value)
        elif kind == _IFA_LOCAL:
            near = _ip(value)
        elif kind == _IFA_FLAGS and len(value) == 4:
            flags = struct.unpack("=I", value)[0]
    if not (near or far):
        raise Malformed("an address message has no address")
    unsure = flags & _IFA_F_DADFAILED or (flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC)
    return Placed(index, near or far, not unsure)  # on a line between two, the plain address is the other end's


def _route(body: bytes) -> Route | None:
    family, prefix, *_ = _ROUTE.unpack(_start(body, _ROUTE.size))
    if family not in (AF_INET, AF_INET6):
        return None
    index, gateway = 0, ""
    for kind, value in _attributes(body[_ROUTE.size :]):
        if kind == _RTA_OIF and len(value) == 4:
            index = struct.unpack("=I", value)[0]
        elif kind == _RTA_GATEWAY:
            gateway = _ip(value)
        elif kind == _RTA_VIA and len(value) > 2:  # a gateway of the other family
            gateway = _ip(value[2:])
    return Route(family, prefix, index, gateway)


def _start(body: bytes, size: int) -> bytes:
    if len(body) < size:
        raise Malformed("a netlink message is too short")
    return body[:size]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE.size:
            raise Malformed("a netlink attribute is cut off")
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            raise Malformed("a netlink attribute has a wrong length")
        yield kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _ip(value: bytes) -> str:
    if len(value) not in (4, 16):
        raise Malformed("an address has a wrong length")
    return str(ipaddress.ip_address(value))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
