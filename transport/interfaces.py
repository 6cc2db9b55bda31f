"""Where this machine can be reached: its own addresses, as far as they make sense to others."""

from __future__ import annotations

import ifaddr

from springline.transport.address import Address

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound
MOST = 8


def own_addresses(listener: Address) -> tuple[Address, ...]:
    """The addresses to tell others, for a socket that listens at ``listener``.

    A socket bound to one address is there only. One bound to all of them is at every interface's address; loopback
    comes last, because it means another machine everywhere else.
    """
    if listener.host not in _EVERYWHERE:
        return (listener,)
    found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    found.sort(key=lambda ip: ip.startswith("127."))
    return tuple(Address(ip, listener.port) for ip in found[:MOST])
