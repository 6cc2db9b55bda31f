"""The transport of real nodes: where it says it is, what it tries, what it tells of addresses, and strangers."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from springline.actors.endpoint import Client
from springline.actors.finding import (
    MDNS,
    AddressesChanged,
    CalledFrom,
    Found,
    MappedAt,
    NetworkChanged,
    OwnAddresses,
    Tried,
    TryAddress,
)
from springline.actors.messages import TRANSPORT, connection_name
from springline.actors.names import register, unregister
from springline.actors.reception import MOST_STRANGERS
from springline.control import Control
from springline.tests.impostors import mute, nobody, serving, ssh, tls, web
from springline.tests.nodes import Pair, echo, eventually, paired, pid_of
from springline.transport.address import Address

PATIENCE = 10.0
OUTSIDE = Address("203.0.113.9", 40000)


@pytest.fixture(scope="module")
def running_pair() -> Iterator[Pair]:
    with paired() as pair:
        yield pair


@pytest.fixture
def pair(running_pair: Pair) -> Iterator[Pair]:
    """The transports outlive each test, unless it restarts their whole node."""
    running_pair.await_link()
    before = transports(running_pair)
    yield running_pair
    after = transports(running_pair)
    assert all(after[node] == before[node] for node in after.keys() & before.keys())


def transports(pair: Pair) -> dict[int, int | None]:
    """The transport's pid by that of its node."""
    return {node.pid: pid_of(node.control, TRANSPORT) for node in (pair.blue, pair.red)}


def own(node: Control) -> tuple[Address, ...]:
    found: tuple[Address, ...] = node.ask(TRANSPORT, OwnAddresses())
    return found


def bus_of(pair: Pair) -> str:
    return os.path.realpath(pair.blue.folder / "run" / "bus")


# -- where it is ---------------------------------------------------------------------------------------------------


def test_its_own_addresses_and_those_of_a_router_are_told_to_the_finders(pair: Pair) -> None:
    blue, here = pair.blue.control, Address.parse(pair.blue.listen)
    assert own(blue) == (here,)
    client = Client(bus_of(pair))
    try:
        register(bus_of(pair), MDNS, client.path)
        for mapped, expected in ((OUTSIDE, {here, OUTSIDE}), (None, {here})):
            blue.ask(TRANSPORT, MappedAt(mapped))
            received = client.listen(PATIENCE)
            assert received is not None
            assert received[1] == AddressesChanged()
            assert set(own(blue)) == expected
        blue.ask(TRANSPORT, NetworkChanged("nothing that matters", frozenset()))
        blue.ask(TRANSPORT, MappedAt(None))
        assert client.listen(0.0) is None  # it is told when it has changed
    finally:
        unregister(bus_of(pair), MDNS, client.path)
        client.close()


# -- trying --------------------------------------------------------------------------------------------------------


def tried(pair: Pair, address: Address) -> Tried:
    result: Tried = pair.blue.control.ask(TRANSPORT, TryAddress(pair.red_id, address), 30.0)
    return result


def test_a_trial_tells_that_the_device_answers_and_leaves_its_link_alone(pair: Pair) -> None:
    since = [node.find(other).link.since for node, other in pair.sides().values()]
    for _ in range(20):
        assert tried(pair, Address.parse(pair.red.listen)).answers
    assert not tried(pair, Address.parse(pair.blue.listen)).answers
    assert [node.find(other).link.since for node, other in pair.sides().values()] == since
    assert echo(pair.blue.control, pair.red_id)


def test_it_is_remembered_where_a_device_has_called_from(pair: Pair) -> None:
    hosts = [node.ask(TRANSPORT, CalledFrom(other)) for node, other in pair.sides().values()]
    assert set(hosts) <= {"", "127.0.0.1"}
    assert any(hosts)


# -- hostile addresses ---------------------------------------------------------------------------------------------


def test_each_hostile_address_has_its_line_in_why_and_the_device_is_back_at_once(pair: Pair, tmp_path: Path) -> None:
    blue, name = pair.blue.control, connection_name(pair.red_id)
    with contextlib.ExitStack() as stack:
        stack.callback(pair.red.up)
        pair.red.down()
        wrong = {str(stack.enter_context(serving(talk))): line for talk, line in (
            (mute, "it takes the call and says nothing"),
            (ssh, "something else answers there (it looks like SSH)"),
            (web, "something else answers there (it looks like HTTP)"),
        )}  # fmt: skip
        wrong[str(stack.enter_context(nobody()))] = "connection refused"
        wrong[pair.blue.listen] = "that is this device itself"
        wrong["127.0.0.1:0"] = "0 is no port to reach anybody at"
        wrong["[fe80::1%nosuch0]:7400"] = "there is no interface nosuch0 here"
        addresses = [Address.parse(text) for text in (*wrong, str(stack.enter_context(tls(tmp_path))))]
        blue.ask(name, Found(pair.red_id, tuple(addresses), "mDNS", time.time()))

        def told() -> str:
            return "\n".join(entry.evidence for entry in blue.why(pair.red_id).entries)

        for address, line in wrong.items():
            eventually(lambda line=f"{address}: {line}": line in told(), f"{address} is told")  # type: ignore[misc]
        blue.ask(name, Found(pair.red_id, tuple(Address("127.0.0.1", n) for n in range(1, 5000)), "DHT", time.time()))
    pair.await_link()


def test_one_device_with_silent_addresses_costs_the_others_nothing(pair: Pair) -> None:
    """A hundred trials of silent addresses are under way while the link is lost and found."""
    client = Client(bus_of(pair))
    with serving(mute) as silent:
        for _ in range(100):
            client.tell(TRANSPORT, TryAddress(pair.red_id, silent))
        pair.blue.control.disconnect(pair.red_id)
        pair.blue.control.await_state(pair.red_id, "Disconnected", PATIENCE)
        pair.blue.control.connect(pair.red_id)
        pair.blue.control.await_state(pair.red_id, "Connected", PATIENCE)
        client.close()


# -- strangers -----------------------------------------------------------------------------------------------------


def call(where: Address, source: str) -> socket.socket:
    return socket.create_connection((where.host, where.port), timeout=PATIENCE, source_address=(source, 0))


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_flood_from_one_address_pushes_out_nobody_from_another(pair: Pair) -> None:
    where = Address.parse(pair.red.listen)
    with contextlib.ExitStack() as stack:
        flood = [stack.enter_context(call(where, "127.0.0.2")) for _ in range(MOST_STRANGERS)]
        quiet = [stack.enter_context(call(where, f"127.0.0.{host}")) for host in (3, 4, 5)]
        flood += [stack.enter_context(call(where, "127.0.0.2")) for _ in range(MOST_STRANGERS)]
        room = MOST_STRANGERS - len(quiet)
        eventually(lambda: sum(map(is_open, flood)) <= room, "the flood pushes out itself")
        assert all(map(is_open, quiet))
    eventually(lambda: echo(pair.blue.control, pair.red_id), "the link lives")
