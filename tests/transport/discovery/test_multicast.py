"""Multicast on 127.0.0.1, for real: what is said, what is heard, what is kept, and where it stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from zeroconf import DNSIncoming, DNSOutgoing, DNSPointer, DNSService, DNSText

from springline.transport.discovery.multicast import SERVICE, Multicast, heard_untrusted, name_of
from springline.transport.discovery.records import RECORD_SIZE

GROUP, PORT = "224.0.0.251", 5353
HOST = "127.0.0.1"
Heard = list[tuple[bytes, bytes]]


def tag() -> bytes:
    return os.urandom(16)


def record() -> bytes:
    return os.urandom(RECORD_SIZE)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[tuple[Multicast, Heard]]:
    heard: Heard = []
    medium = Multicast(lambda tag, record: heard.append((tag, record)))
    await medium.open(HOST)
    try:
        yield medium, heard
    finally:
        await medium.close()


async def eventually(holds: Callable[[], object], what: str, meanwhile: Callable[[], object] = int) -> None:
    for _ in range(2000):
        if holds():
            return
        meanwhile()
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {what}")


@contextlib.contextmanager
def onlooker() -> Iterator[socket.socket]:
    """Hears every packet that is sent to the group on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((GROUP, PORT))
        member = socket.inet_aton(GROUP) + socket.inet_aton(HOST)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setblocking(False)
        yield sock


def packets(sock: socket.socket, with_: bytes) -> list[DNSIncoming]:
    """What the onlooker has heard that contains those bytes: other nodes may speak on this machine, too."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data = sock.recv(9000)
            if with_ in data:
                found.append(DNSIncoming(data))
    return found


def send(*records: DNSPointer | DNSService | DNSText) -> None:
    """As anybody on this machine may."""
    out = DNSOutgoing(0x8400)
    for each in records:
        out.add_answer_at_time(each, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))
        for packet in out.packets():
            sock.sendto(packet, (GROUP, PORT))


def test_what_is_announced_changed_and_asked_for_is_heard() -> None:
    async def scene() -> None:
        name, first, second = tag(), record(), record()
        async with opened() as (one, _), opened() as (_, heard):
            await one.announce({name: first})
            await eventually(lambda: (name, first) in heard, "it is heard")
            await one.announce({name: second})
            await eventually(lambda: (name, second) in heard, "the change is heard")
        async with opened() as (one, _), opened() as (other, late):
            await one.announce({name: first})
            await eventually(lambda: not one._saying, "it is announced")
            late.clear()
            other.ask()
            await eventually(lambda: (name, first) in late, "who asks is answered")

    asyncio.run(scene())


def test_many_records_are_all_told_to_who_asks() -> None:
    async def scene() -> None:
        said = {tag(): record() for _ in range(64)}
        async with opened() as (one, _), opened() as (other, heard):
            await one.announce(said)
            await eventually(lambda: not one._saying, "they are announced")
            heard.clear()
            other.ask()
            await eventually(lambda: said.items() <= set(heard), "all are heard")

    asyncio.run(scene())


def test_an_onlooker_sees_a_name_that_means_nothing_and_no_host_address_or_port() -> None:
    async def scene() -> None:
        name = tag()
        with onlooker() as ears:
            async with opened() as (one, _):
                await one.announce({name: record()})
                await eventually(lambda: not one._saying, "it is announced")
                await one.announce({})
                await eventually(lambda: not one._saying, "it is taken back")
            seen = [answer for packet in packets(ears, name.hex().encode()) for answer in packet.answers()]
        assert {type(answer) for answer in seen} == {DNSPointer, DNSService, DNSText}
        assert {answer.name for answer in seen} == {SERVICE, name_of(name)}
        for answer in seen:
            if isinstance(answer, DNSService):
                assert (answer.server, answer.port) == (name_of(name), 0)
        assert min(answer.ttl for answer in seen) == 0, "a goodbye"
        assert socket.gethostname().encode() not in b"".join(repr(answer).encode() for answer in seen)

    asyncio.run(scene())


def test_nothing_is_kept_of_what_strangers_say() -> None:
    async def scene() -> None:
        own = tag()
        async with opened() as (one, heard):
            await one.announce({own: record()})
            for _ in range(100):
                name = name_of(tag())
                send(
                    DNSPointer(SERVICE, 12, 1, 4500, name),
                    DNSService(name, 33, 1, 4500, 0, 0, 7, f"{os.urandom(8).hex()}.local."),
                    DNSText(name, 16, 1, 4500, b"\xff" + record()),
                    DNSText(name_of(own), 16, 1, 4500, b"\xff" + record()),
                    DNSText(f"{os.urandom(8).hex()}.local.", 16, 1, 4500, b"\x01x"),
                )
                await asyncio.sleep(0)
            last = tag()
            goodbye = DNSText(name_of(last), 16, 1, 4500, b"\xff" + record())
            await eventually(lambda: last in dict(heard), "all of it is heard", lambda: send(goodbye))
            assert len({tag for tag, _ in heard}) > 50
            assert one._zeroconf is not None
            cache = one._zeroconf.cache
            assert set(cache.cache) <= {SERVICE, name_of(own)}
            assert sum(map(len, cache.cache.values())) <= 2
            assert not cache.service_cache

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform != "linux", reason="reads a Linux socket option")
def test_on_loopback_every_socket_is_bound_to_that_interface() -> None:
    async def scene() -> None:
        async with opened() as (one, _):
            assert one._zeroconf is not None
            readers = one._zeroconf.engine.readers
            assert readers
            for reader in readers:
                sock = reader.transport.get_extra_info("socket")
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"

    asyncio.run(scene())


def test_where_there_is_no_multicast_it_says_so() -> None:
    async def scene() -> None:
        medium = Multicast(lambda *_: None)
        with pytest.raises(OSError, match="no interface has the address"):
            await medium.open("192.0.2.1")
        await medium.close()

    asyncio.run(scene())


@given(st.text(max_size=80), st.binary(max_size=300))
@example(f"{'zz' * 16}.{SERVICE}", bytes(256))
@example(f"{'ab' * 15} a.{SERVICE}", bytes(256))
@example(f"{'ab' * 16}._other._tcp.local.", bytes(256))
@example(f"{'ab' * 16}.{SERVICE}", bytes(255))
def test_names_and_texts_from_outside_that_are_none_of_ours(name: str, text: bytes) -> None:
    assert heard_untrusted(name, text) is None


def test_ours_are_known_however_they_are_written() -> None:
    name, said = tag(), record()
    for written in (name_of(name), name_of(name).upper()):
        assert heard_untrusted(written, b"\xff" + said) == (name, said)
