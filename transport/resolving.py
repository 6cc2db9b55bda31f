"""From an address to what can be connected to: names are looked up, scopes are found, nonsense is refused.

The rule: an address in figures costs nothing and waits for nobody. The system's resolver blocks and can't be called
off, so a name is looked up in a thread that nobody waits for longer than :data:`PATIENCE`, nor at the exit of the
process; a name that is being looked up already is not looked up again, and no owner has more than :data:`EACH` lookups
under way. So a name that never resolves costs its own device one address, and everybody else nothing.

IPv6 link-local addresses are told between devices without a scope, because it means something on one machine only
(RFC 4007 §6): they are tried on each interface there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from springline.errors import Unreachable
from springline.transport.address import Address
from springline.transport.lineup import Target, objection, plain

PATIENCE = 3.0
"""Seconds a name may take."""

MOST = 64
"""Lookups under way."""

EACH = 4
"""Lookups under way for one owner."""

MOST_FOUND = 8
"""Addresses taken of one name."""

MOST_INTERFACES = 8
"""Interfaces on which a link-local address is looked for."""

Lookup = Callable[..., list[Any]]


class Resolver:
    """The names being looked up in one loop. :param lookup: as ``socket.getaddrinfo``."""

    def __init__(self, lookup: Lookup = socket.getaddrinfo) -> None:
        self._lookup = lookup
        self._under_way: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._owners: Counter[Hashable] = Counter()

    async def resolve(self, address: Address, owner: Hashable = None) -> tuple[Target, ...]:
        """What ``address`` means here, best first; never empty.

        :param owner: on whose account. :raises Unreachable: nothing that can be connected to; the message tells why.
        """
        found = in_figures(address)
        if found is None:
            ips = await self._look_up(address.host, owner)
            found = tuple(Target(address, ip) for ip in dict.fromkeys(ips) if not objection(ip, address.port))
            if not found:
                raise Unreachable(objection(ips[0], address.port) if ips else "the name has no address")
        return found[:MOST_FOUND]

    async def _look_up(self, name: str, owner: Hashable) -> tuple[str, ...]:
        found = self._under_way.get(name)
        if found is None:
            if len(self._under_way) >= MOST or self._owners[owner] >= EACH:
                raise Unreachable("other names are being looked up, and give no answer")
            found = self._start(name, owner)
        done, _ = await asyncio.wait((found,), timeout=PATIENCE)
        if not done:
            raise Unreachable(f"the name was not found in {PATIENCE:g} s")
        return found.result()

    def _start(self, name: str, owner: Hashable) -> asyncio.Future[tuple[str, ...]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[str, ...]] = loop.create_future()
        self._under_way[name] = found
        self._owners[owner] += 1

        def over(ips: tuple[str, ...], failure: str) -> None:
            del self._under_way[name]
            self._owners[owner] -= 1
            self._owners += Counter()  # forgets those at 0
            if failure:
                found.set_exception(Unreachable(failure))
                found.exception()  # whoever asked may be gone
            else:
                found.set_result(ips)

        def work() -> None:
            told = self._ask(name)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
                loop.call_soon_threadsafe(over, *told)

        threading.Thread(target=work, name="lookup", daemon=True).start()
        return found

    def _ask(self, name: str) -> tuple[tuple[str, ...], str]:
        try:
            rows = self._lookup(name, None, type=socket.SOCK_STREAM)
            return tuple(plain(str(row[4][0])) for row in rows), ""
        except socket.gaierror as error:
            temporary = error.errno == socket.EAI_AGAIN
            return (), "no name server answers" if temporary else "the name is not known"
        except (OSError, UnicodeError, ValueError) as error:
            return (), f"the name can't be looked up ({error})"


def in_figures(address: Address) -> tuple[Target, ...] | None:
    """The targets of an address whose host is in figures; None if it is a name.

    :raises Unreachable: nothing can be reached there.
    """
    try:
        ip = plain(address.host)
    except ValueError:
        return None
    if why := objection(ip, address.port):
        raise Unreachable(why)
    if not ipaddress.ip_address(ip).is_link_local or ":" not in ip:
        return (Target(address, ip),)
    scope = address.host.partition("%")[2]
    return tuple(Target(address, ip, index) for index in _scopes(scope))


def _scopes(scope: str) -> list[int]:
    """The interfaces meant. :raises Unreachable: there is none."""
    if scope:
        try:
            return [socket.if_nametoindex(socket.if_indextoname(int(scope)) if scope.isdecimal() else scope)]
        except (OSError, OverflowError):
            raise Unreachable(f"there is no interface {scope} here") from None
    found = [index for index, name in socket.if_nameindex() if not name.startswith("lo")]
    if not found:
        raise Unreachable("there is no interface that a link-local address could be at")
    return found[:MOST_INTERFACES]
