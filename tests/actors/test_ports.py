"""When the mapper asks nobody. What it asks and believes of routers is in ``tests/network/test_ports.py``."""

from __future__ import annotations

import sys

import pytest

from springline.actors.ports import who_is_asked
from springline.transport.address import Address
from springline.transport.network import Way

HERE = Way(4, "lo", "127.0.0.1")  # connecting a socket to it tells that 127.0.0.1 would be sent from, and sends nothing


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_who_listens_where_the_router_reaches_it_asks(host: str) -> None:
    router, trouble = who_is_asked(Address(host, 7400), HERE)
    assert (router and router.own, trouble) == ("127.0.0.1", "")


def test_who_listens_elsewhere_does_not() -> None:
    router, trouble = who_is_asked(Address("127.0.0.2", 7400), HERE)
    assert router is None
    assert "listens on 127.0.0.2" in trouble


def test_without_a_way_out_there_is_nobody() -> None:
    assert who_is_asked(Address("0.0.0.0", 7400), None) == (None, "this machine has no way out (IPv4)")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not known who the router is")
def test_a_tunnel_is_no_router() -> None:
    router, trouble = who_is_asked(Address("0.0.0.0", 7400), Way(4, "tun0"))
    assert router is None
    assert "by tun0" in trouble
