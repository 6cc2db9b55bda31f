"""Finding the router's UPnP side (UDA 1.1 §1.3): a search by multicast and at the router itself; whose answer counts.

The rule: only the router that packets leave by is believed, and only about itself. Where the system does not tell who
that is, whoever answers first from a private address is taken for it; what follows is asked of that host alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from springline.errors import Malformed, Refused, TimedOut
from springline.transport.ports.keeping import Router

GROUP, PORT = "239.255.255.250", 1900
SEARCH = (
    b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n"
    b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
)  # fmt: skip

PAUSES = (1.0, 2.0)
"""Seconds after each repetition of the search: whoever answers does so within one."""

MOST_ANSWERS = 64
"""Answers looked at; a network with more devices than that has the router among the first."""

MOST_BYTES = 2048


async def find(router: Router) -> tuple[str, str]:
    """URL of the router's description, and the host it is at. :raises SpringlineError: none is found."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(router.own))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
            sock.bind((router.own, 0))
            for pause in PAUSES:
                for host in filter(None, (GROUP, router.way.gateway)):
                    await loop.sock_sendto(sock, SEARCH, (host, PORT))
                try:
                    async with asyncio.timeout(pause):
                        return await _answer(loop, sock, router)
                except TimeoutError:
                    continue
        except OSError as error:
            raise Refused((error.strerror or str(error)).lower()) from None
    raise TimedOut("no answer")


async def _answer(loop: asyncio.AbstractEventLoop, sock: socket.socket, router: Router) -> tuple[str, str]:
    for _ in range(MOST_ANSWERS):
        try:
            data, sender = await loop.sock_recvfrom(sock, MOST_BYTES)
        except ConnectionRefusedError:  # nobody at the router itself; the group may still answer
            continue
        try:
            return location_from_untrusted(data, sender[0], router.way.gateway), sender[0]
        except Malformed:
            continue
    raise Refused("nobody who answers is the router")


def location_from_untrusted(data: bytes, sender: str, gateway: str) -> str:
    """The URL an answer gives of its sender's description.

    :param gateway: who is asked, or ``""`` if that is not known. :raises Malformed: it is no such answer.
    """
    if sender != gateway if gateway else not ipaddress.ip_address(sender).is_private:
        raise Malformed("somebody else answers the search")
    first, *lines = data.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 200"):
        raise Malformed("that is no answer to a search")
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "location":
            return _checked(value.strip(), sender)
    raise Malformed("an answer to the search says not where")


def _checked(url: str, sender: str) -> str:
    try:
        parts = urlsplit(url)
        there = (parts.scheme, parts.hostname, (parts.port or 80) > 0)
    except ValueError:
        raise Malformed("the router's URL is none") from None
    if there != ("http", sender, True) or len(url) > MOST_BYTES // 4:
        raise Malformed("the router sends us to somebody else")
    return url
