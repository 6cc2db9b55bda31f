"""Asking a router by UPnP (Internet Gateway Device 1 and 2), by the library of the extra ``nat``.

The rule: the library reads what the router describes of itself, and makes and reads the calls; what it may fetch, from
whom and how much, is decided by :class:`_Fetcher`. Whatever it stumbles over in what a router sends is one error here.
It is imported when a router is asked for the first time, for it is large, and a node without NAT needs nothing of it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import logging
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from springline.errors import Malformed, Misuse, Refused, SpringlineError, TimedOut
from springline.transport.address import Address
from springline.transport.late import imported
from springline.transport.ports import http, ssdp
from springline.transport.ports.keeping import LIFETIME, MOST_LIFETIME, Grant, Router

if TYPE_CHECKING:
    from async_upnp_client.client import UpnpRequester, UpnpService
    from async_upnp_client.const import HttpRequest, HttpResponse

METHOD = "UPnP"
LIBRARY = "async_upnp_client"

SERVICES = tuple(
    f"urn:schemas-upnp-org:service:{name}" for name in ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
)
"""What can map ports, the best first."""

MOST_DOCUMENTS = 32
"""Parts of a description that are fetched; the largest have a dozen."""

PATIENCE = 20.0
"""Seconds for one call, or for the whole description."""

MOST_PORTS = 3
"""Ports tried outside if others have the first."""

TAKEN, ONLY_FOR_EVER = 718, 725
"""Errors of AddPortMapping: another machine has that port; leases that end are not granted."""

T = TypeVar("T")


class _PortTaken(Refused):
    """Another machine has that port outside."""


class _OnlyForEver(Refused):
    """It grants no lease that ends."""


class _Fetcher:
    """The library's way to the router. :param host: the only one that is asked."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._left = MOST_DOCUMENTS

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        """Documents are counted, calls are ours."""
        from async_upnp_client.const import HttpResponse

        if http_request.method == "GET":
            self._left -= 1
            if self._left < 0:
                raise Malformed("it describes itself without end")
        told = await http.fetch(
            http_request.url, self._host, http_request.method, http_request.headers, http_request.body or ""
        )  # fmt: skip
        return HttpResponse(*told)


def is_installed() -> bool:
    """True if the extra ``nat`` is there."""
    return importlib.util.find_spec(LIBRARY) is not None


class Igd:
    """One router's UPnP side, found when it is needed and forgotten when it fails. :param router: who is asked."""

    def __init__(self, router: Router) -> None:
        logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)  # what a router sends is not for our log
        self._router = router
        self._service: UpnpService | None = None

    async def grant(self, own: int, wanted: int, *, udp: bool) -> Grant:
        """Have TCP (and, if it will, UDP) to port ``own`` passed on. :raises SpringlineError: it will not."""
        if not is_installed():
            raise Misuse("it needs a library that is not installed", "install 'springline[nat]'")
        ip = await self._outside()  # first: a mapping that is of no use is not made
        for port in (wanted, *(20000 + (wanted + 7919 * turn) % 40000 for turn in range(1, MOST_PORTS))):
            try:
                lifetime = await self._add(own, port, "TCP")
            except _PortTaken:
                continue
            return Grant(METHOD, Address(ip, port), udp and await self._datagrams_too(own, port), lifetime)
        raise Refused("others have these ports")

    async def look(self, grant: Grant) -> tuple[str, bool]:
        """Its address outside, and whether the mapping is there. :raises SpringlineError: it does not say."""
        ip = await self._outside()
        try:
            entry = await self._map("GetSpecificPortMappingEntry", grant.outside.port, "TCP")
        except Refused:
            return ip, False
        return ip, str(entry.get("NewInternalClient", "")) == self._router.own

    async def give_back(self, grant: Grant) -> None:
        """It is not needed any more. :raises SpringlineError: the router does not hear."""
        await self._map("DeletePortMapping", grant.outside.port, "TCP")
        if grant.udp:
            await self._map("DeletePortMapping", grant.outside.port, "UDP")

    # -- calls -----------------------------------------------------------------------------------------------------

    async def _add(self, own: int, port: int, protocol: str, seconds: int = LIFETIME) -> float:
        """Seconds it is mapped for. A mapping for ever is renewed all the same, and taken back at the end."""
        try:
            await self._map(
                "AddPortMapping", port, protocol,
                NewInternalPort=own, NewInternalClient=self._router.own, NewEnabled=True,
                NewPortMappingDescription="springline", NewLeaseDuration=seconds,
            )  # fmt: skip
        except _OnlyForEver:
            if seconds == 0:
                raise Refused("it grants no time") from None
            return await self._add(own, port, protocol, 0)
        return float(seconds or MOST_LIFETIME)

    async def _datagrams_too(self, own: int, port: int) -> bool:
        try:
            await self._add(own, port, "UDP")
        except SpringlineError:
            return False
        return True

    async def _outside(self) -> str:
        told = await self._call("GetExternalIPAddress")
        try:
            return str(ipaddress.IPv4Address(str(told.get("NewExternalIPAddress"))))
        except ValueError:
            raise Malformed("it says no address") from None

    async def _map(self, action: str, port: int, protocol: str, **more: Any) -> Mapping[str, Any]:
        return await self._call(action, NewRemoteHost="", NewExternalPort=port, NewProtocol=protocol, **more)

    async def _call(self, action: str, **given: Any) -> Mapping[str, Any]:
        service = await self._found()

        async def call() -> Mapping[str, Any]:
            return await service.action(action).async_call(**given)

        return await self._safely(call())

    async def _found(self) -> UpnpService:
        if self._service is None:
            await imported(f"{LIBRARY}.client_factory")
            from async_upnp_client.client_factory import UpnpFactory

            url, host = await ssdp.find(self._router)
            factory = UpnpFactory(cast("UpnpRequester", _Fetcher(host)), non_strict=True)
            device = await self._safely(factory.async_create_device(url))
            services = [found for name in SERVICES if (found := device.find_service(name)) is not None]
            if not services:
                raise Refused("it maps no ports")
            self._service = services[0]
        return self._service

    async def _safely(self, work: Awaitable[T]) -> T:
        """What comes of it. :raises SpringlineError: something else came, whatever it was; the router is forgotten."""
        from async_upnp_client.exceptions import UpnpActionError

        try:
            async with asyncio.timeout(PATIENCE):
                return await work
        except UpnpActionError as error:
            kind = {TAKEN: _PortTaken, ONLY_FOR_EVER: _OnlyForEver}.get(error.error_code or 0, Refused)
            raise kind(f"it says {error.error_code}") from None
        except SpringlineError:
            self._service = None
            raise
        except TimeoutError:
            self._service = None
            raise TimedOut("no answer in time") from None
        except Exception as error:  # noqa: BLE001 - what a library makes of what a router sends
            self._service = None
            raise Refused(f"it answers nonsense ({type(error).__name__})") from None
