"""Devices that have moved while they were apart find each other in a table of strangers, and in no other way."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from springline.actors.finding import DHT, Health, HowItGoes
from springline.cli.local import left_over
from springline.store.envelope import Strength
from springline.tests.nodes import QuickNode, echo, eventually, kill_and_await
from springline.tests.tables import Stranger, table_node
from springline.transport.address import Address

LONG = 60.0

pytestmark = pytest.mark.timeout(300)


class Node(QuickNode):
    """Finds others by the table only, and is somewhere else each time it is started."""

    def up(self) -> None:
        self.where = f"127.0.0.1:{free_port()}"
        super().up()

    def begin_at(self, *bootstrap: Address) -> None:
        """Which nodes of the table it begins with."""
        begin = (word for address in bootstrap for word in ("--bootstrap", str(address)))
        self.options = ("--no-mdns", "--no-port-mapping", *begin)

    def health(self) -> Health:
        """How its finder says it goes."""
        answer: Health = self.control.ask(DHT, HowItGoes())
        return answer


def free_port() -> int:
    """One that is free for TCP and UDP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Node]]:
    """Two nodes that are paired. None of them runs."""
    token, folder = secrets.token_hex(8), Path(tempfile.mkdtemp(prefix="springline-test-"))
    nodes = [Node(folder / name, name, token, Strength.MINIMAL) for name in ("red", "blue")]
    try:
        with contextlib.ExitStack() as running:
            for node in nodes:
                running.enter_context(node)
            nodes[1].control.join(nodes[0].control.invite().uri)
            talk(*nodes)
        yield nodes
        assert not left_over(token)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(pair: list[Node]) -> Iterator[list[Node]]:
    """The same, and afterwards none of them runs either."""
    yield pair
    for node in pair:
        node.down()


def up(*nodes: Node, table: Address) -> None:
    """Start them, somewhere else than before."""
    for node in nodes:
        node.begin_at(table)
        node.up()


def talk(one: Node, other: Node) -> None:
    for here, there in ((one, other), (other, one)):
        device = there.control.whoami().device_id
        eventually(lambda: echo(here.control, device), f"{here.name} gets an echo", LONG)  # noqa: B023


def test_devices_that_have_moved_find_each_other(nodes: list[Node]) -> None:
    with table_node() as table:
        up(*nodes, table=table)
        talk(*nodes)
        eventually(lambda: nodes[0].health().works, "all that it greeted have answered, or not in time")
        assert "last answer" in nodes[0].health().seen


def test_one_whose_finder_is_killed_is_found_all_the_same(nodes: list[Node]) -> None:
    one, other = nodes
    with table_node() as table:
        up(one, table=table)
        for _ in range(3):
            kill_and_await(one.control, DHT)
        up(other, table=table)
        talk(one, other)


def test_nobody_answers_and_it_says_so(nodes: list[Node]) -> None:
    up(nodes[0], table=Address("127.0.0.1", free_port()))
    eventually(lambda: "answers" in nodes[0].health().seen, "it says that nobody answers")
    assert nodes[0].health().works is False
    assert "--bootstrap" in nodes[0].health().advice


def test_the_table_comes_later(nodes: list[Node]) -> None:
    """The devices are up long before there is anybody to begin with."""
    one, other = nodes
    where = Address("127.0.0.1", free_port())
    up(one, other, table=where)
    for node in (one, other):
        eventually(lambda: node.health().works is False, "it is alone")  # noqa: B023
    with table_node(listen=where):
        talk(one, other)


def test_words_alone_are_enough(nodes: list[Node]) -> None:
    """Two devices that are paired already pair anew, with nothing but the words."""
    one, other = nodes
    with table_node() as table:
        up(one, other, table=table)
        there = other.control.join(one.control.invite().words)
        assert there.info.device_id == one.control.whoami().device_id
        talk(one, other)


def test_who_keeps_the_table_learns_nothing(nodes: list[Node]) -> None:
    """A stranger notes every datagram: there is no id, name, key or address of the devices in it but their sender's."""
    with Stranger() as stranger:
        up(*nodes, table=stranger.address)
        talk(*nodes)
        eventually(lambda: len({parcel[:32] for parcel in stranger.kept()}) >= 2, "both have put a record")
        needles, places = [], []
        for node in nodes:
            info, where = node.control.whoami(), Address.parse(node.where)
            ids = info.device_id.bytes, info.device_id.hex.encode(), str(info.device_id).encode()
            needles += [*ids, info.name.encode(), info.static_key, info.signing_key]
            places += [node.where.encode(), socket.inet_aton(where.host) + where.port.to_bytes(2, "big")]
        parcels = stranger.kept()
        assert parcels
        assert not [needle for needle in (*needles, *places) if any(needle in parcel for parcel in parcels)]
        assert not [needle for needle in needles if any(needle in datagram for datagram in stranger.seen)]
        assert any(parcel in datagram for parcel in parcels for datagram in stranger.seen)
