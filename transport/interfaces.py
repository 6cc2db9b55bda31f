"""Where this machine can be reached: its own addresses, as far as they make sense to others.

The rule: the likeliest first, and of each kind a few. Loopback comes last, because it means another machine everywhere
else. IPv6 link-local addresses go without their scope, which means something on one machine only (RFC 4007 §6); the
device that dials tries them on each of its interfaces.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

import ifaddr

from springline.transport.address import Address
from springline.transport.dialing import EVERYWHERE
from springline.transport.network import OUTSIDE, Place, View, Way

MOST_OF = {"v4": 4, "v6": 3, "mapped": 1, "link-local": 2, "loopback": 1}
"""How many of each kind are told, in the order in which they are told."""


def own_addresses(listeners: Sequence[Address], mapped: Address | None = None) -> tuple[Address, ...]:
    """The addresses to tell others, for sockets that listen at ``listeners``.

    A socket bound to one address is there only, and only while an interface has it. One bound to all of them is at
    every interface's address; ``::`` means both families.

    :param mapped: where a router passes on what comes in.
    """
    return chosen(listeners, here(), mapped)


def here() -> frozenset[str]:
    """The addresses of all interfaces, without scopes."""
    ips = (ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    return frozenset(str(ip.ip) if ip.is_IPv4 else str(ip.ip[0]).partition("%")[0] for ip in ips)


def look_around() -> View:
    """The network as every system shows it: by name and address, without cables and gateways.

    :raises OSError: it does not.
    """
    ips = [(adapter.nice_name, ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    named = [(name, ip if isinstance(ip, str) else ip[0].partition("%")[0]) for name, ip in ips]
    places = frozenset(Place(name, ip) for name, ip in named if not ipaddress.ip_address(ip).is_loopback)
    ways = frozenset(way for family in OUTSIDE if (way := _way_out(family, places)) is not None)
    return View(places, frozenset(place.interface for place in places), ways)


def _way_out(family: int, places: Iterable[Place]) -> Way | None:
    """Connecting a datagram socket sends nothing, and tells which address would be sent from."""
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((OUTSIDE[family], 9))
        except OSError:
            return None
        own = sock.getsockname()[0].partition("%")[0]
    return next((Way(family, place.interface) for place in places if place.ip == own), None)


def chosen(listeners: Sequence[Address], present: Iterable[str], mapped: Address | None) -> tuple[Address, ...]:
    """The pure part of :func:`own_addresses`. :param present: the addresses of all interfaces."""
    at = set(present)
    kinds: dict[str, dict[Address, None]] = {kind: {} for kind in MOST_OF}
    for listener in listeners:
        for ip in _covered(listener.host.partition("%")[0], at):
            kinds[_kind(ip)][Address(ip, listener.port)] = None
    if mapped is not None:
        kinds["mapped"][mapped] = None
    return tuple(dict.fromkeys(address for kind, most in MOST_OF.items() for address in list(kinds[kind])[:most]))


def _covered(host: str, at: set[str]) -> list[str]:
    """Which of these addresses a listener at ``host`` is at."""
    if host not in EVERYWHERE:
        return [host] if host in at or _kind(host) == "loopback" else []
    return sorted(ip for ip in at if ip != "::1" and (host == "::" or ":" not in ip))


def _kind(host: str) -> str:
    ip = ipaddress.ip_address(host)
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return "v4" if ip.version == 4 else "v6"
