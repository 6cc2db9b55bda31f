"""What would help: from what was seen to one line that a person can act on. Pure.

The rule: advice is concrete. It names the command, the port and the side on which to do something; where nothing can be
done, or need be, it says that. It goes by kinds (``transport/trouble.py``), never by the words of an error.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from shlex import quote

from springline.actors.finding import Found, Tried
from springline.actors.messages import DeviceStatus
from springline.store.devices import TrustLevel
from springline.store.trust import BARRED
from springline.transport.address import Address
from springline.transport.link import Phase
from springline.transport.trouble import Trouble

CLOCK_MARGIN = timedelta(minutes=10)
"""What clocks may differ by before anybody is told."""


# -- addresses of a device -----------------------------------------------------------------------------------------


def about_address(tried: Tried, name: str) -> str:
    """What would help with one of ``name``'s addresses."""
    port, host = tried.address.port, tried.address.host
    match tried.trouble:
        case None:
            return ""
        case Trouble.REFUSED:
            return f"nothing listens on port {port} there: start springline on {name}; 'status' there shows its port"
        case Trouble.SILENT:
            return f"{name} is off or away, or a firewall or router on the way drops calls: allow TCP port {port} there"
        case Trouble.NO_ROUTE:
            return "this machine has no way into that network: join it, or switch the VPN on"
        case Trouble.FORBIDDEN:
            return f"the firewall of this machine forbids calls to port {port}: allow them"
        case Trouble.NAME:
            return f"check the name {host}; or give the address in figures: {_give_address(name)}"
        case Trouble.INTERFACE:
            return "it is valid on an interface that is not here (any more): no harm if another address answers"
        case Trouble.NOWHERE:
            return f"no device can be there; give a better one: {_give_address(name)}"
        case Trouble.ITSELF:
            return f"{name} had that address in another network, where you have it: no harm if another one answers"
        case Trouble.SEVERAL:
            return f"none of the addresses behind {host} leads to {name}: is the name up to date?"
        case Trouble.MUTE:
            return f"springline hangs on {name}, or another program has the port: restart it there and see its port"
        case Trouble.FOREIGN:
            return f"another program has port {port} there now: see in 'status' on {name} where springline listens"
        case Trouble.HANGS_UP:
            return f"another device is there, or {name} has revoked this one: see 'devices' on {name}, or pair again"
        case Trouble.IMPOSTOR:
            return f"another device has that address now; if {name} was made anew, pair again"
        case Trouble.HERE:
            return tried.hint or "that is this side's trouble: see 'springline status' and the node's log"


def _give_address(name: str) -> str:
    return f"springline connect {quote(name)} --address HOST:PORT"


# -- the link to a device ------------------------------------------------------------------------------------------


def about_link(status: DeviceStatus, tried: Sequence[Tried] | None = None) -> str:
    """What would help with a device's link.

    :param tried: how its addresses did; None if they were not tried.
    """
    device, name = status.device, status.device.info.name
    if device.trust is TrustLevel.REVOKED:
        return "revoked is for good; to have it back, pair it again: springline invite"
    if device.trust in BARRED:
        return "pair it again: springline invite; if this device's clock is wrong, set it first"
    if not device.auto_connect:
        return f"it is kept down because you said so: springline connect {quote(name)}"
    if status.link.state == Phase.CONNECTED.value:
        return ""
    if tried is None:
        return f"springline doctor {quote(name)}"
    if not tried:
        return f"no address is known: {_give_address(name)}, or have mDNS or the DHT find it"
    answering = [one.address for one in tried if one.answers]
    if answering:
        return f"it answers at {answering[0]}, so the link may be up any moment; else springline why {quote(name)}"
    if all(one.trouble is Trouble.HERE for one in tried):
        return about_address(tried[0], name)
    return "none of its addresses answers: what would help is said with each"


# -- this device ---------------------------------------------------------------------------------------------------


def about_own_addresses(addresses: Iterable[Address]) -> str:
    """What would help others to reach this device. :param addresses: its own, a router's that maps a port included."""
    ips = [ipaddress.ip_address(address.host.partition("%")[0]) for address in addresses]
    if not ips:
        return "this machine has no network address: is its network up?"
    if all(ip.is_loopback for ip in ips):
        return "only this machine can call it: have the network up, or start it with --listen 0.0.0.0"
    if not any(ip.is_global for ip in ips):
        return "from outside the local network it can't be called; it still calls others"
    return ""


def about_clock(now: datetime, moments: Iterable[datetime]) -> str:
    """Is this device's clock to be believed? What is wrong with it, or ``""``.

    :param moments: when things have happened, by this clock.
    """
    latest = max(moments, default=now)
    if latest - now <= CLOCK_MARGIN:
        return ""
    return f"this device has seen {latest.astimezone():%Y-%m-%d %H:%M} already: its clock was ahead, or is behind"


def about_their_clock(found: Found, now: float, name: str) -> str:
    """Is one of the two clocks wrong, going by what the device says of itself? :param now: wall-clock seconds."""
    ahead = timedelta(seconds=found.issued_at - now)
    if ahead <= CLOCK_MARGIN:
        return ""
    return f"{name} says what it says {_roughly(ahead)} from now: its clock is ahead, or this one is behind"


def _roughly(span: timedelta) -> str:
    if span.days >= 2:
        return f"{span.days} days"
    return f"{span.total_seconds() / 3600:.1f} hours"
