"""Nodes of the table on loopback: they find each other, keep what they are given, and bear what strangers send."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from springline.errors import LocalFault
from springline.transport.address import Address
from springline.transport.discovery import calls
from springline.transport.discovery.datagrams import (
    Again,
    Find,
    Question,
    Store,
    Stored,
    Told,
    pack,
    parse_untrusted,
)
from springline.transport.discovery.parcels import PARCEL_SIZE, Parcel, make, place_of
from springline.transport.discovery.records import RECORD_SIZE
from springline.transport.discovery.sockets import bind
from springline.transport.discovery.table import Table

SECRET = b"s" * 32
PARCEL = make(SECRET, bytes(RECORD_SIZE), 1)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded(), debug=False)


def node() -> Table:
    return Table(bind([Address("127.0.0.1", 0)]), lambda: ())


def at(table: Table) -> tuple[str, int]:
    return table.addresses[0].host, table.addresses[0].port


@contextlib.asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[Table]]:
    """So many, each of which has joined by the first."""
    tables = [node() for _ in range(count)]
    try:
        for table in tables[1:]:
            assert await table.join([at(tables[0])])
        yield tables
    finally:
        for table in tables:
            table.close()


class Stranger:
    """Sends what it likes and answers as it likes, from a socket of its own."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.at = self.sock.getsockname()

    async def ask(self, question: Question, where: tuple[str, int]) -> Any:
        self.sock.sendto(pack(question), where)
        return parse_untrusted(await asyncio.get_running_loop().sock_recv(self.sock, 2048))

    async def store(self, parcel: Parcel, where: tuple[str, int]) -> None:
        again = await self.ask(Store(os.urandom(8), b"x" * 20, True, bytes(8), parcel.packed), where)
        stored = await self.ask(Store(os.urandom(8), b"x" * 20, True, again.token, parcel.packed), where)
        assert isinstance(stored, Stored)
        assert stored.kept

    async def answer(self, make_answer: Any) -> None:
        """Be asked, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            packed, who = await loop.sock_recvfrom(self.sock, 2048)
            for answer in make_answer(parse_untrusted(packed), who):
                self.sock.sendto(answer if isinstance(answer, bytes) else pack(answer), who)


def test_what_one_puts_another_gets() -> None:
    async def play() -> None:
        async with nodes(12) as tables:
            assert await tables[3].put(PARCEL) >= 8
            for table in tables:
                assert await table.get(PARCEL.place) == (PARCEL,)
            assert await tables[5].get(bytes(20)) == ()

    run(play())


def test_it_outlives_who_put_it_and_half_of_who_keep_it() -> None:
    async def play() -> None:
        async with nodes(10) as tables:
            await tables[1].put(PARCEL)
            for table in tables[1:6]:
                table.close()
            assert await tables[9].get(PARCEL.place) == (PARCEL,)

    run(play())


def test_who_lies_about_the_value_hides_nothing() -> None:
    """Most nodes near the place are hostile; the one that is not is heard."""

    async def play() -> None:
        other = make(b"o" * 32, bytes(RECORD_SIZE), 9)
        older = make(SECRET, bytes(RECORD_SIZE), 0)
        async with nodes(2) as tables:
            await tables[0].put(PARCEL)
            liars = [Stranger() for _ in range(6)]
            tasks = []
            for number, liar in enumerate(liars):
                own = bytes([PARCEL.place[0] ^ number]) + PARCEL.place[1:]
                lies = ((other.packed,), (bytes(PARCEL_SIZE), older.packed), ())[number % 3]

                def lie(asked: Question, _who: object, own: bytes = own, lies: tuple[bytes, ...] = lies) -> list[Any]:
                    return [Told(asked.call, own, bytes(8), (), lies)]

                tasks.append(asyncio.create_task(liar.answer(lie)))
            assert await tables[1].join([liar.at for liar in liars])
            assert tables[1].neighbours == 7
            assert set(await tables[1].get(PARCEL.place)) == {PARCEL, older}
            for task in tasks:
                task.cancel()
            for liar in liars:
                liar.sock.close()

    run(play())


def test_answers_of_others_are_not_taken() -> None:
    """From another address, with another number, of another kind: the call goes on waiting for its answer."""

    async def play() -> None:
        async with nodes(1) as tables:
            asked_one, spoofer = Stranger(), Stranger()

            def answer(asked: Question, who: tuple[str, int]) -> list[Any]:
                spoofer.sock.sendto(pack(Told(asked.call, b"a" * 20, bytes(8), (), (PARCEL.packed,))), who)
                good = Told(asked.call, b"g" * 20, bytes(8))
                wrong = Told(bytes(8), b"b" * 20, bytes(8)), Stored(asked.call, b"c" * 20, bytes(8), True)
                return [*wrong, b"junk", good, good]

            task = asyncio.create_task(asked_one.answer(answer))
            assert await tables[0].join([asked_one.at])
            assert [one.node for one in tables[0]._routes.nearest(bytes(20))] == [b"g" * 20]
            assert await tables[0].get(PARCEL.place) == ()
            task.cancel()
            asked_one.sock.close()
            spoofer.sock.close()

    run(play())


def test_who_only_ever_says_again_is_given_up() -> None:
    async def play() -> None:
        async with nodes(1) as tables:
            stranger = Stranger()
            count = 0

            def again(asked: Question, _who: object) -> list[Any]:
                nonlocal count
                count += 1
                return [Again(asked.call, b"a" * 20, os.urandom(8))]

            task = asyncio.create_task(stranger.answer(again))
            assert not await tables[0].join([stranger.at])
            assert count == 2
            task.cancel()
            stranger.sock.close()

    run(play())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAITS", (0.05, 0.1))


@pytest.mark.usefixtures("hasty")
def test_a_silent_node_is_forgotten_if_others_answer() -> None:
    async def play() -> None:
        async with nodes(3) as tables:
            assert tables[0].neighbours == 2
            tables[2].close()
            await tables[0].refresh()
            assert tables[0].neighbours == 1
            tables[1].close()  # now nobody answers: it may be our own network
            await tables[0].refresh()
            assert tables[0].neighbours == 1

    run(play())


@pytest.mark.usefixtures("hasty")
def test_nobody_there() -> None:
    async def play() -> None:
        async with nodes(1) as tables:
            gone = Stranger()
            gone.sock.close()
            assert not await tables[0].join([gone.at, at(tables[0]), ("0.0.0.0", 1), ("127.0.0.1", 0)])
            assert await tables[0].put(PARCEL) == 0
            assert await tables[0].get(PARCEL.place) == ()
            assert tables[0].answered is not None  # itself

    run(play())


def test_a_storm_of_garbage_costs_little_and_others_are_served() -> None:
    async def play() -> None:
        chance = random.Random(1)
        async with nodes(3) as tables:
            stranger = Stranger()
            await tables[1].put(PARCEL)
            for number in range(3000):
                size = chance.choice((0, 1, 37, 58, 397, 1232, 1233, 9000, 65507))
                kind = bytes([number % 8]) if size else b""
                with contextlib.suppress(BlockingIOError):
                    stranger.sock.sendto(kind + chance.randbytes(max(0, size - 1)), at(tables[0]))
                if number % 50 == 0:
                    await asyncio.sleep(0)
            assert await tables[2].get(PARCEL.place) == (PARCEL,)
            assert len(tables[0].shelf) == 1
            assert not tables[0]._calls._waiting
            assert tables[0].neighbours == 2
            stranger.sock.close()

    run(play())


def test_a_flood_of_parcels_fills_its_own_share() -> None:
    async def play() -> None:
        async with nodes(2) as tables:
            tables[0].shelf._each = 20
            stranger = Stranger()
            for number in range(60):
                await stranger.store(make(number.to_bytes(32, "big"), bytes(RECORD_SIZE), 1), at(tables[0]))
            assert len(tables[0].shelf) == 20
            stranger.sock.close()

    run(play())


def test_another_id_after_the_network_has_changed() -> None:
    async def play() -> None:
        async with nodes(3) as tables:
            await tables[1].put(PARCEL)
            before = tables[2]._own
            known = tables[2].renew()
            assert set(known) == {at(tables[0]), at(tables[1])}
            assert tables[2]._own != before
            assert tables[2].neighbours == 0
            assert await tables[2].join(known)
            assert await tables[2].get(PARCEL.place) == (PARCEL,)

    run(play())


def test_a_node_on_this_machine_sends_nothing_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with nodes(1) as tables:
            sent: list[Any] = []
            monkeypatch.setattr(tables[0], "_send", lambda _packed, where: sent.append(where))
            assert not await tables[0].join([("192.0.2.1", 7400), ("10.0.0.1", 7400), ("::1", 7400)])
            tables[0]._received(pack(Find(bytes(8), bytes(20), False, bytes(8), bytes(20))), ("192.0.2.1", 7400))
            assert sent == []

    run(play())


def test_it_says_that_it_is_a_guest_where_it_can_not_be_asked() -> None:
    """From outside it can be asked if it has a public address, or a router passes on what comes in."""

    async def play() -> None:
        near, far = "10.0.0.1", "9.9.9.9"
        for present, mapped, guest in (
            (("10.0.0.2",), False, True),
            (("10.0.0.2",), True, False),
            ((far,), False, False),
        ):
            table = Table(bind([Address("127.0.0.1", 0)]), lambda present=present: present)  # type: ignore[misc]
            table.is_mapped = mapped
            assert (table._is_guest_of(near), table._is_guest_of(far)) == (False, guest)
            table.close()

    run(play())


def test_the_port_is_the_listener_s_if_it_is_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        address = Address(*listener.getsockname())
        first = bind([address])
        second = bind([address])
        assert first[0].getsockname()[1] == address.port != second[0].getsockname()[1]
        for sock in (*first, *second):
            sock.close()


def test_both_families_and_nothing_that_depends_on_an_interface() -> None:
    bound = bind([Address("127.0.0.1", 0), Address("::1", 0), Address("fe80::1%lo", 0)])
    assert [sock.getsockname()[0] for sock in bound] == ["127.0.0.1", "::1"]
    for sock in bound:
        sock.close()
    with pytest.raises(LocalFault, match="no UDP socket"):
        bind([Address("fe80::1%lo", 7400)])


def test_the_library_s_pickled_state_is_out_of_reach() -> None:
    """Its server loads pickles, and republishes; its protocol calls methods by name. Neither is ever imported."""
    program = (
        "import sys; import springline.transport.discovery.table;"
        "print(*(name for name in sys.modules if name.startswith(('kademlia', 'rpcudp', 'umsgpack'))))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "kademlia.routing" in loaded
    assert not {"kademlia.network", "kademlia.protocol", "kademlia.storage", "rpcudp", "umsgpack"} & set(loaded)
    assert place_of(SECRET) == PARCEL.place
