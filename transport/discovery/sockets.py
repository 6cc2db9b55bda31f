"""The UDP sockets of a node of the distributed table: where they are bound, and where they may send.

The rule: they are where the TCP listeners are, under the same port, because that is the port others know of a device.
If it is taken, any port does: such a node asks and is answered, and others know it once it has asked them.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from springline.errors import LocalFault, PortTaken
from springline.transport.address import Address

EVERYWHERE = "0.0.0.0"  # noqa: S104 - being asked by others is the point


def bind(listeners: Iterable[Address], *, exactly: bool = False) -> list[socket.socket]:
    """UDP sockets at these addresses, one of each family; at any port if theirs is taken.

    :param exactly: at the port that is named, or not at all.
    :raises PortTaken: somebody else has it. :raises LocalFault: there is none that can be bound.
    """
    bound: dict[socket.AddressFamily, socket.socket] = {}
    errors: list[OSError] = []
    for host, port in _wanted(listeners):
        family = family_of(host)
        for attempt in ((port,) if exactly else (port, 0)) if family not in bound else ():
            try:
                bound[family] = _bind(family, host, attempt)
                break
            except OSError as error:
                errors.append(error)
    if not bound:
        why = f": {errors[0].strerror}" if errors else ""
        kind = PortTaken if errors and errors[0].errno == errno.EADDRINUSE else LocalFault
        raise kind(f"no UDP socket could be bound{why}", "give another address")
    return list(bound.values())


def family_of(host: str) -> socket.AddressFamily:
    """Of a host in figures."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _wanted(listeners: Iterable[Address]) -> list[tuple[str, int]]:
    """Hosts and ports to bind: none that depends on an interface; ``::`` means both families."""
    wanted = []
    for listener in listeners:
        if listener.host == "::":
            wanted.append((EVERYWHERE, listener.port))
        if "%" not in listener.host:
            wanted.append((listener.host, listener.port))
    return list(dict.fromkeys(wanted))


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
