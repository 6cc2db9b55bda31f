"""Where a device can be reached: a host and a TCP port.

The text form is ``host:port``; an IPv6 host stands in brackets and may name its scope (RFC 4007 §11):
``[fe80::1%eth0]:7400``. ``tcp://`` before it is accepted and dropped, so that an address can be pasted from a URI.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from springline.errors import Malformed, Misuse

MOST_HOST = 255
"""Characters in the longest host name (RFC 1035 §2.3.4)."""

_SCHEME = "tcp://"
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_SCOPE = re.compile(r"[A-Za-z0-9_.:-]{1,32}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A TCP endpoint.

    :param host: host name, IPv4 or IPv6 address, the last without brackets and with an optional ``%scope``.
    :param port: 0 … 65535; 0 means "any" where one is to listen.
    :raises Misuse: neither a host nor a port has that form.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not _is_host(self.host):
            raise Misuse(f"{self.host!r} is not a host", "give a name, an IPv4 or an IPv6 address")
        if not (type(self.port) is int and 0 <= self.port <= 65535):
            raise Misuse(f"{self.port!r} is not a port", "give a number from 0 to 65535")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address a user has typed. :raises Misuse: it is none."""
        rest = text.strip().removeprefix(_SCHEME)
        host, colon, port = rest.rpartition(":")
        if not colon or not _PORT.fullmatch(port):
            raise Misuse(f"{text!r} has no port", "give HOST:PORT, for IPv6 [HOST]:PORT")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if ":" not in host:
                raise Misuse(f"{text!r} has brackets around what is not an IPv6 address", "give HOST:PORT")
        elif ":" in host:
            raise Misuse(f"{text!r} is ambiguous", "put an IPv6 address in brackets: [HOST]:PORT")
        return cls(host, int(port))

    @classmethod
    def parse_untrusted(cls, text: object) -> Address:
        """The address in something from outside. :raises Malformed: it is none."""
        if not isinstance(text, str) or len(text) > MOST_HOST + 64:
            raise Malformed("an address is not a short text")
        try:
            return cls.parse(text)
        except Misuse as error:
            raise Malformed(error.message) from None


def _is_host(host: str) -> bool:
    if not isinstance(host, str) or not 0 < len(host) <= MOST_HOST:
        return False
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    plain, percent, scope = host.partition("%")
    if percent and not _SCOPE.fullmatch(scope):
        return False
    try:
        ipaddress.IPv6Address(plain)
    except ValueError:
        return False
    return True
