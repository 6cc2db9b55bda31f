"""Listening sockets: both families on one port, names of their ends, and what is lost."""

from __future__ import annotations

import asyncio
import socket

import pytest

from springline.transport import listening as module
from springline.transport.address import Address
from springline.transport.dialing import tune
from springline.transport.listening import Listener, address_of, bound, knock

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")


@needs_ipv6
def test_both_families_share_a_port() -> None:
    with bound(Address("127.0.0.1", 0)) as v4:
        port = v4.getsockname()[1]
        with bound(Address("::1", port), only_v6=True) as v6:
            assert v6.getsockname()[1] == port
            for host, listener in (("127.0.0.1", v4), ("::1", v6)):
                with socket.create_connection((host, port)):
                    sock, where = listener.accept()
                    sock.close()
                    assert address_of(where).host == host


@needs_ipv6
def test_six_alone_leaves_the_port_of_four_free() -> None:
    with bound(Address("::", 0), only_v6=True) as v6, bound(Address("0.0.0.0", v6.getsockname()[1])):
        pass
    with bound(Address("::", 0)) as both, pytest.raises(OSError, match="in use"):
        bound(Address("0.0.0.0", both.getsockname()[1]))


def test_a_scope_that_is_not_here() -> None:
    with pytest.raises(OSError):
        bound(Address("fe80::1%nosuch0", 0))


def test_what_the_ends_are_called() -> None:
    index = socket.if_nametoindex("lo")
    assert address_of(("192.0.2.1", 7)) == Address("192.0.2.1", 7)
    assert address_of(("::ffff:192.0.2.1", 7, 0, 0)) == Address("192.0.2.1", 7)
    assert address_of(("2001:db8::1", 7, 0, 0)) == Address("2001:db8::1", 7)
    assert address_of(("fe80::1", 7, 0, index)) == Address("fe80::1%lo", 7)
    assert address_of(("fe80::1", 7, 0, 2**31 - 1)) == Address("fe80::1", 7)  # that interface is gone


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_knows_where_it_is_and_that_it_lives(host: str) -> None:
    sock = bound(Address(host, 0))
    port = sock.getsockname()[1]
    listener = Listener.of(sock.detach())
    with listener.sock:
        assert listener.address == Address(host, port)
        assert not listener.is_lost
        assert not listener.sock.getblocking()


def test_one_that_does_not_listen_any_more_is_lost_and_renewed_on_its_port() -> None:
    sock = bound(Address("127.0.0.1", 0))
    listener = Listener.of(sock.detach())
    listener.sock.shutdown(socket.SHUT_RDWR)
    assert listener.is_lost
    listener.sock.close()
    again = listener.renewed()
    with again.sock, socket.create_connection(again.sock.getsockname()):
        assert again.address == listener.address
        assert not again.is_lost


def test_sockets_of_links_do_not_wait_for_ever() -> None:
    with socket.socket() as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


def test_a_knock_finds_out_whether_anybody_takes_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOCK_PATIENCE", 0.2)

    async def scene() -> None:
        with bound(Address("127.0.0.1", 0)) as listener:
            at = Address(*listener.getsockname())
            steps = await knock(at)  # the kernel takes the call, and nobody else does
            assert [(step, error) for step, _, error in steps] == [("connect", ""), ("accept", "nobody takes the call")]
            listener.setblocking(False)
            everywhere = Address("0.0.0.0", at.port)
            loop = asyncio.get_running_loop()
            calls: list[bytes] = []

            async def take() -> None:
                while True:
                    sock, _ = await loop.sock_accept(listener)
                    with sock:
                        calls.append(await loop.sock_recv(sock, 100))

            taking = loop.create_task(take())
            for where in (at, everywhere):
                steps = await knock(where)
                assert [(step, error) for step, _, error in steps] == [("connect", ""), ("accept", "")]
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            assert calls == [b"", b"", b""], "nothing is said to whoever takes it, the one of before included"
        steps = await knock(at)
        assert [(step, error) for step, _, error in steps] == [("connect", "connection refused")]

    asyncio.run(scene())
