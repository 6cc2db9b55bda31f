"""What kind of thing went wrong on the way to an address, for whoever says what would help.

The rule: what fails raises what it knows, and its message is for people. Advice goes by the kind, so that a better
wording never changes what is advised; the kinds that no other error tells apart have a class here.
"""

from __future__ import annotations

import errno
import ipaddress
from enum import Enum

from springline.errors import Malformed, Refused, Unreachable
from springline.transport.address import Address


class Trouble(Enum):
    """Values are what scripts read."""

    NAME = "name not found"
    INTERFACE = "no such interface"
    NOWHERE = "no such address"
    REFUSED = "refused"
    SILENT = "no answer"
    NO_ROUTE = "no route"
    FORBIDDEN = "forbidden"
    ITSELF = "this device"
    SEVERAL = "several"
    MUTE = "says nothing"
    FOREIGN = "another program"
    HANGS_UP = "hangs up"
    IMPOSTOR = "another device"
    HERE = "this side"


class Silent(Unreachable):
    """Nobody has taken the call."""


class Itself(Unreachable):
    """The address leads back to this device."""


class Mute(Unreachable):
    """The call was taken, and then nothing was said."""


class HungUp(Refused):
    """The call was taken, and ended without an answer."""


class Foreign(Malformed):
    """What answers does not speak our protocol."""


class Impostor(Malformed):
    """What answers speaks our protocol and is not who was called."""


_ERRNO = {
    errno.ECONNREFUSED: Trouble.REFUSED,
    errno.ECONNRESET: Trouble.HANGS_UP,
    errno.ETIMEDOUT: Trouble.SILENT,
    errno.ENETUNREACH: Trouble.NO_ROUTE,
    errno.EHOSTUNREACH: Trouble.NO_ROUTE,
    errno.EADDRNOTAVAIL: Trouble.NO_ROUTE,
    errno.ENETDOWN: Trouble.NO_ROUTE,
    errno.EPERM: Trouble.FORBIDDEN,
    errno.EACCES: Trouble.FORBIDDEN,
}
_KINDS: dict[type[Exception], Trouble] = {
    Silent: Trouble.SILENT,
    Itself: Trouble.ITSELF,
    Mute: Trouble.MUTE,
    HungUp: Trouble.HANGS_UP,
    Foreign: Trouble.FOREIGN,
    Impostor: Trouble.IMPOSTOR,
}


def trouble_of(step: str, error: Exception, address: Address) -> Trouble:
    """The kind of ``error``, in which a trial of ``address`` has ended at that step."""
    if step == "resolve":
        return _unresolved(address)
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, Trouble.HERE)
    known = _KINDS.get(type(error))
    if known is not None:
        return known
    return Trouble.SEVERAL if step == "connect" else Trouble.HERE  # a race's one error stands for all of its targets


def _unresolved(address: Address) -> Trouble:
    plain, percent, _ = address.host.partition("%")
    try:
        ip = ipaddress.ip_address(plain)
    except ValueError:
        return Trouble.NAME
    return Trouble.INTERFACE if percent or ip.is_link_local else Trouble.NOWHERE
