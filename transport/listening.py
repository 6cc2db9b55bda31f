"""Listening sockets: how they are bound, what they are called, and when they have to be bound anew.

The rule: the port is kept whatever happens, because others have written it down. A socket bound to an address stays
good while the address is away, and works again when it is back; one bound to an interface (IPv6 link-local) is lost
with it, even if another one of that name comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from springline.errors import SpringlineError
from springline.transport.address import Address
from springline.transport.dialing import reason
from springline.transport.lineup import plain
from springline.transport.resolving import in_figures

BACKLOG = 1024
"""Calls the kernel keeps waiting, e.g. while the transport is being restarted."""

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with
"""Where a socket that listens everywhere is called from its own machine."""

KNOCK_PATIENCE = 5.0
"""Seconds until nobody takes a call."""


def bound(address: Address, *, only_v6: bool = False) -> socket.socket:
    """A socket that listens at ``address``; port 0 means any.

    :param only_v6: ``::`` means IPv6 alone, not both families. :raises OSError: as the system says.
    """
    v6 = ":" in address.host
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6 or address.host != "::"))
        host, _, scope = address.host.partition("%")
        if scope:
            index = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
            sock.bind((host, address.port, 0, index))
        else:
            sock.bind((host, address.port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def address_of(sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """What a socket calls one of its ends: IPv4 as such, and IPv6 link-local with the name of its interface."""
    host, port = plain(sockaddr[0]), sockaddr[1]
    if len(sockaddr) == 4 and sockaddr[3] and ":" in host:
        with contextlib.suppress(OSError):
            return Address(f"{host}%{socket.if_indextoname(sockaddr[3])}", port)
    return Address(host, port)


async def knock(address: Address) -> tuple[tuple[str, float, str], ...]:
    """Call a listening socket of this very process, as strangers do: does anybody take the call?

    Whoever takes it reads the end of our side, and hangs up.

    :param address: where it is bound. :returns: ``(step, seconds, error)``, as of ``Tried``.
    """
    loop = asyncio.get_running_loop()
    home = Address(LOOPBACK.get(address.host, address.host), address.port)
    step, began = "connect", loop.time()
    steps = []
    try:
        (target, *_) = in_figures(home) or ()
        with socket.socket(target.family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            async with asyncio.timeout(KNOCK_PATIENCE):
                await loop.sock_connect(sock, target.sockaddr)
                steps.append((step, loop.time() - began, ""))
                step, began = "accept", loop.time()
                sock.shutdown(socket.SHUT_WR)
                await loop.sock_recv(sock, 1)
    except (SpringlineError, OSError) as error:
        failed = "nobody takes the call" if isinstance(error, TimeoutError) else reason(error)
        return (*steps, (step, loop.time() - began, failed))
    return (*steps, (step, loop.time() - began, ""))


@dataclass(slots=True)
class Listener:
    """One of a node's listening sockets. :param address: where it is bound, as long as it lives."""

    sock: socket.socket
    address: Address

    @classmethod
    def of(cls, fd: int, address: Address | None = None) -> Listener:
        """For a descriptor, which becomes its own. :param address: where it was bound, if that is known."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        if address is not None:
            return cls(sock, address)
        name = sock.getsockname()
        host = name[0] if name[0] in ("0.0.0.0", "::") else address_of(name).host  # noqa: S104 - compared with
        return cls(sock, Address(host, name[1]))

    @property
    def is_lost(self) -> bool:
        """True if nothing will ever come in any more."""
        try:
            scope = self.sock.getsockname()[3:4]
            if scope and scope[0] and "%" in self.address.host:
                return bool(scope[0] != socket.if_nametoindex(self.address.host.partition("%")[2]))
            return not self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except (OSError, AttributeError):
            return False

    def renewed(self) -> Listener:
        """Another one at the same address and port. :raises OSError: not (yet) possible."""
        sock = bound(self.address)
        sock.setblocking(False)
        return Listener(sock, self.address)
