"""A port on the router: when to ask for it, what to believe, when to ask again, when to give it back. Pure.

The rule: one question is under way at most, and whatever a router does — be silent, refuse, lie, forget, change its
address — costs a bounded number of questions and one line for people. What it grants is told to others as one more
address to try: they believe it when this device has answered there (``protocols/where``), so a lie sends nobody astray.

A mapping is renewed at half its time and looked at in between, because routers get new addresses and forget. A router
that grants nothing is asked again ever more rarely, and at once when the network has changed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from springline.transport.address import Address
from springline.transport.network import Way, duration

LIFETIME = 7200
"""Seconds asked for (RFC 6886 §3.3)."""

LEAST_LIFETIME, MOST_LIFETIME = 120, 86400
"""What a granted lifetime counts as, at least and at most: so renewals are neither a flood nor forgotten."""

LOOK = 300.0
"""Seconds between two looks at whether the router's address and memory are as they were."""

SETTLED = 1.0
"""Seconds after a change of the network: routers and addresses come in several steps."""

FIRST_RETRY, MOST_RETRY = 30.0, 3600.0
"""Seconds until a router that grants nothing is asked again; doubled each time."""

LATE = 2.0
"""Seconds a router's clock may be behind (RFC 6886 §3.6)."""


@dataclass(frozen=True, slots=True)
class Router:
    """Who is asked. :param own: this machine's address towards it. :param way: the way out."""

    own: str
    way: Way


@dataclass(frozen=True, slots=True)
class Grant:
    """What a router has granted.

    :param method: by which way of asking, for people. :param outside: where it passes on what comes in.
    :param udp: datagrams too. :param lifetime: seconds. :param epoch: seconds since the router has forgotten
        everything, or None if it does not say.
    """

    method: str
    outside: Address
    udp: bool
    lifetime: float
    epoch: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A grant that holds. Times are monotonic seconds."""

    grant: Grant
    at: float
    renew_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Keeping:
    """The state.

    :param router: None if there is nobody to ask. :param asking: number of the question under way, or 0.
    :param asked: how many there were. :param told: the address the transport knows of.
    :param trouble: why there is none, for people. :param due_at: when to ask, or None.
    """

    router: Router | None = None
    kept: Kept | None = None
    asking: int = 0
    asked: int = 0
    failures: int = 0
    told: Address | None = None
    trouble: str = ""
    due_at: float | None = None


# -- events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Routed:
    """The network has changed, or was looked at for the first time. :param trouble: why there is no router to ask."""

    router: Router | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """``due_at`` has come."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The port is mapped."""

    number: int
    grant: Grant


@dataclass(frozen=True, slots=True)
class Looked:
    """The router was looked at.

    :param ip: its address outside. :param epoch: as of :class:`Grant`. :param there: the mapping is there, as far as it
        tells.
    """

    number: int
    ip: str
    epoch: float | None = None
    there: bool = True


@dataclass(frozen=True, slots=True)
class Denied:
    """A question was not answered, or with no. :param why: for people."""

    number: int
    why: str


Event = Routed | Due | Granted | Looked | Denied

# -- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Map:
    """Ask the router for the port; answer with that number.

    :param known: what it has granted before: to be asked the same way, for the same port.
    """

    number: int
    router: Router
    known: Grant | None


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the router whether it is as it was; answer with that number."""

    number: int
    router: Router
    grant: Grant


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the transport."""

    address: Address | None


Effect = Map | Look | Tell


def step(keeping: Keeping, event: Event, now: float) -> tuple[Keeping, tuple[Effect, ...]]:
    """What follows from an event. :param now: monotonic seconds."""
    match event:
        case Routed(router=router, trouble=trouble):
            after = _routed(keeping, router, trouble, now)
        case Due() if keeping.due_at is not None and keeping.due_at <= now:
            return _ask(keeping, now)
        case Granted(number=number, grant=grant) if number == keeping.asking != 0:
            after = _granted(keeping, grant, now)
        case Looked(number=number) if number == keeping.asking != 0:
            return _looked(keeping, event, now)
        case Denied(number=number, why=why) if number == keeping.asking != 0:
            after = _denied(keeping, why, now)
        case _:  # an answer to a question that is not asked any more
            return keeping, ()
    return _told(after)


def _routed(keeping: Keeping, router: Router | None, trouble: str, now: float) -> Keeping:
    if router is None:
        return Keeping(asked=keeping.asked, told=keeping.told, trouble=trouble)
    kept = keeping.kept if router == keeping.router else None
    return replace(keeping, router=router, kept=kept, asking=0, failures=0, trouble="", due_at=now + SETTLED)


def _ask(keeping: Keeping, now: float) -> tuple[Keeping, tuple[Effect, ...]]:
    if keeping.router is None or keeping.asking:
        return replace(keeping, due_at=None), ()
    kept, number = keeping.kept, keeping.asked + 1
    after = replace(keeping, asking=number, asked=number, due_at=None)
    if kept is not None and now < kept.renew_at:
        return after, (Look(number, keeping.router, kept.grant),)
    return after, (Map(number, keeping.router, None if kept is None else kept.grant),)


def _looked(keeping: Keeping, event: Looked, now: float) -> tuple[Keeping, tuple[Effect, ...]]:
    kept = keeping.kept
    if kept is None:
        return keeping, ()
    if event.there and event.ip == kept.grant.outside.host and not has_forgotten(kept, event.epoch, now):
        due_at = min(now + LOOK, kept.renew_at)
        return replace(keeping, asking=0, failures=0, trouble="", due_at=due_at), ()
    return _ask(replace(keeping, asking=0, kept=replace(kept, renew_at=now)), now)


def _granted(keeping: Keeping, grant: Grant, now: float) -> Keeping:
    why = objection(grant, keeping.router)
    if why:
        return _denied(keeping, f"{grant.method} grants {grant.outside}: {why}", now, lost=True)
    lifetime = min(max(grant.lifetime, LEAST_LIFETIME), MOST_LIFETIME)
    kept = Kept(grant, now, now + lifetime / 2, now + lifetime)
    due_at = min(now + LOOK, kept.renew_at)
    return replace(keeping, kept=kept, asking=0, failures=0, trouble="", due_at=due_at)


def _denied(keeping: Keeping, why: str, now: float, *, lost: bool = False) -> Keeping:
    kept = keeping.kept
    if kept is not None and (lost or now >= kept.ends_at):
        kept = None
    pause = min(FIRST_RETRY * 2**min(keeping.failures, 20), MOST_RETRY)
    due_at = now + pause if kept is None else min(now + pause, max(now + SETTLED, kept.ends_at))
    return replace(keeping, kept=kept, asking=0, failures=keeping.failures + 1, trouble=why, due_at=due_at)


def _told(keeping: Keeping) -> tuple[Keeping, tuple[Effect, ...]]:
    address = None if keeping.kept is None else keeping.kept.grant.outside
    if address == keeping.told:
        return keeping, ()
    return replace(keeping, told=address), (Tell(address),)


# -- what to believe -----------------------------------------------------------------------------------------------


def objection(grant: Grant, router: Router | None) -> str:
    """Why nobody can be at that address, or ``""``."""
    ip = ipaddress.ip_address(grant.outside.host)
    if not grant.outside.port:
        return "that is no port"
    if ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local or ip.is_reserved:
        return "that is no address outside"
    if router is not None and grant.outside.host == router.own:
        return "that is this machine's own address"
    return ""


def has_forgotten(kept: Kept, epoch: float | None, now: float) -> bool:
    """True if the router has begun anew since: its clock is behind where it must be (RFC 6886 §3.6)."""
    if epoch is None or kept.grant.epoch is None:
        return False
    return epoch < kept.grant.epoch + (now - kept.at) * 7 / 8 - LATE


def is_behind_another(outside: Address) -> bool:
    """True if the address a router has outside is one that the world does not know (RFC 1918, RFC 6598)."""
    ip = ipaddress.ip_address(outside.host)
    return ip.is_private or ip in ipaddress.ip_network("100.64.0.0/10")


def needs_no_router(own: str) -> bool:
    """True if the world knows this machine's own address: nobody translates."""
    return ipaddress.ip_address(own).is_global


def describe(keeping: Keeping, now: float) -> str:
    """One line for people."""
    kept = keeping.kept
    if kept is None:
        return keeping.trouble or ("the router is being asked" if keeping.router else "no router has been asked yet")
    what = "TCP and UDP" if kept.grant.udp else "TCP"
    line = f"{kept.grant.outside} ({what}) by {kept.grant.method}, for {duration(kept.ends_at - now)} more"
    if is_behind_another(kept.grant.outside):
        line += "; the router is itself behind another one, so not the whole world gets there"
    return f"{line}; {keeping.trouble}" if keeping.trouble else line
