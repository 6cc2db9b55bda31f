"""mDNS (RFC 6762, RFC 6763) by ``zeroconf``: records said to the local network, and heard from it.

The rule: what we say is a service of type ``_springline._tcp`` whose name is a tag, whose text is a record, and which
has no host, no address and no port. What we hear is handed on as (tag, record); none of it is kept. Of the library we
use the sockets, the parser and the responder. Not its browser, which keeps state for whatever anybody announces; and
its cache is emptied after each packet but for our own records, by which it knows what it has said just now.

A node that listens on this machine only says nothing on any network: its sockets are bound to the loopback interface.
Without that one would answer, because a socket for multicast hears every interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zeroconf import (
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSRecord,
    DNSText,
    Error,
    InterfaceChoice,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    Zeroconf,
)

from springline.transport.dialing import EVERYWHERE
from springline.transport.discovery.records import RECORD_SIZE
from springline.transport.discovery.tags import TAG_SIZE
from springline.transport.interfaces import here

log = logging.getLogger("springline.multicast")

SERVICE = "_springline._tcp.local."
TTL = 120
"""Seconds that others may remember what we said."""

_QUERY, _POINTER, _INTERNET = 0, 12, 1
_LOOPBACK = "127.0.0.1"
_IP_BOUND_IF = 25  # Darwin's <netinet/in.h>; Linux has SO_BINDTODEVICE

Hear = Callable[[bytes, bytes], object]
"""Called with the tag and the record of each announcement that passes by; it must not raise."""


def name_of(tag: bytes) -> str:
    """The name of the service that is announced under ``tag``."""
    return f"{tag.hex()}.{SERVICE}"


def heard_untrusted(name: str, text: bytes) -> tuple[bytes, bytes] | None:
    """Tag and record in an announcement from outside; None if it is none of ours."""
    label, dot, rest = name.partition(".")
    if len(label) != 2 * TAG_SIZE or len(text) != 1 + RECORD_SIZE or (dot + rest).lower() != f".{SERVICE}":
        return None
    try:
        return bytes.fromhex(label), text[1:]
    except ValueError:
        return None


class Multicast:
    """One opening of it; all in one asyncio loop."""

    def __init__(self, hear: Hear) -> None:
        self._ear = _Ear(hear)
        self._zeroconf: Zeroconf | None = None
        self._said: dict[bytes, ServiceInfo] = {}
        self._saying: set[asyncio.Future[Any]] = set()

    async def open(self, host: str) -> None:
        """:param host: where this device listens. :raises OSError: there is no multicast here."""
        self._loopback = host not in EVERYWHERE and ipaddress.ip_address(host.partition("%")[0]).is_loopback
        try:
            with _trouble():
                self._zeroconf = made = _zeroconf_at(_LOOPBACK if self._loopback else host)
                await made.async_wait_for_start()
                if not made.engine.senders:
                    raise OSError("no interface takes part in multicast")
                if self._loopback:
                    for reader in made.engine.readers:
                        _bind_to_loopback(reader.transport.get_extra_info("socket"))
        except OSError:
            await self.close()
            raise
        made.async_add_listener(self._ear, None)

    async def announce(self, records: Mapping[bytes, bytes], *, again: bool = False) -> None:
        """Say these, by tag, and nothing else any more.

        :param again: those that have been said, too. :raises OSError: that can't be done (any more).
        """
        with _trouble():
            await self._announce(records, again)

    async def _announce(self, records: Mapping[bytes, bytes], again: bool) -> None:
        assert self._zeroconf is not None  # noqa: S101 - it is open
        self._ear.own = {name_of(tag): _text_of(record) for tag, record in records.items()}
        for tag in self._said.keys() - records.keys():
            self._go_on(await self._zeroconf.async_unregister_service(self._said.pop(tag)))
        for tag, record in records.items():
            text, known = _text_of(record), self._said.get(tag)
            if known is not None and known.text == text and not again:
                continue
            name = name_of(tag)
            info = ServiceInfo(SERVICE, name, port=0, properties=text, server=name, host_ttl=TTL, other_ttl=TTL)
            self._said[tag] = info
            if known is None:
                self._go_on(await self._zeroconf.async_register_service(info, cooperating_responders=True))
            else:
                self._go_on(await self._zeroconf.async_update_service(info))

    def _go_on(self, saying: Any) -> None:
        """What is said is said three times."""
        task = asyncio.ensure_future(saying)
        self._saying.add(task)
        task.add_done_callback(self._said_it)

    def _said_it(self, task: asyncio.Future[Any]) -> None:
        self._saying.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("not announced: %s", task.exception())

    def ask(self) -> None:
        """Have everybody who announces something say it."""
        assert self._zeroconf is not None  # noqa: S101 - it is open
        question = DNSOutgoing(_QUERY)
        question.add_question(DNSQuestion(SERVICE, _POINTER, _INTERNET))
        self._zeroconf.async_send(question)

    async def rescan(self) -> None:
        """The interfaces have changed: join the group on those that are there now. :raises OSError: none is."""
        assert self._zeroconf is not None  # noqa: S101 - it is open
        if not self._loopback:  # which does not change
            with _trouble():
                await self._zeroconf.async_update_interfaces()

    async def close(self, *, goodbye: bool = False) -> None:
        """Let go of the sockets. :param goodbye: tell others to forget what was said."""
        closing, self._zeroconf = self._zeroconf, None
        for task in self._saying:
            task.cancel()
        if closing is None:
            return
        if goodbye:
            await closing.async_unregister_all_services()
        closing.done = True
        await closing.engine._async_close()


class _Ear(RecordUpdateListener):
    """Hands announcements on, and sees to it that the library keeps none of them.

    But for our own (by name, with their texts): by those it knows what it has said a moment ago.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._passing: list[DNSRecord] = []
        self.own: dict[str, bytes] = {}

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002
        """Records have come in, and are about to be cached."""
        self._cache = zc.cache
        for update in records:
            record = update.new
            if not self._is_own(record):
                self._passing.append(record)
            if isinstance(record, DNSText) and (found := heard_untrusted(record.name, record.text)) is not None:
                self._hear(*found)

    def async_update_records_complete(self) -> None:
        """They are cached now."""
        passed, self._passing = self._passing, []
        self._cache.async_remove_records([record for record in passed if self._cache.get(record) is not None])

    def _is_own(self, record: DNSRecord) -> bool:
        if isinstance(record, DNSPointer):
            return record.alias in self.own
        return isinstance(record, DNSText) and self.own.get(record.name) == record.text


@contextlib.contextmanager
def _trouble() -> Iterator[None]:
    """Whatever the library says when there is no network is an ``OSError``."""
    try:
        yield
    except (Error, RuntimeError) as error:
        raise OSError(f"no multicast: {error or type(error).__name__}") from error


def _text_of(record: bytes) -> bytes:
    """A record as the one string of a TXT record."""
    return bytes([len(record)]) + record


def _zeroconf_at(host: str) -> Zeroconf:
    plain = host.partition("%")[0]
    if host not in EVERYWHERE:
        if plain not in here():
            raise OSError(f"no interface has the address {plain}")
        return Zeroconf(interfaces=[plain])
    try:
        return Zeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.All)
    except OSError:  # there is no IPv6 here
        return Zeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.V4Only)


def _bind_to_loopback(sock: socket.socket) -> None:
    """Nothing leaves this machine by that socket. :raises OSError: that can't be made sure."""
    if sys.platform == "linux":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
    elif sys.platform == "darwin":
        sock.setsockopt(socket.IPPROTO_IP, _IP_BOUND_IF, socket.if_nametoindex("lo0"))
    else:
        raise OSError("multicast can't be kept to this machine here")
