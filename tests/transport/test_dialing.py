"""Races on real sockets: who wins, who joins, and what is told of those that lead nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from springline.errors import SpringlineError, Unreachable
from springline.tests.impostors import (
    Talk,
    babble,
    curt,
    mute,
    nobody,
    python_web,
    saying,
    serving,
    ssh,
    swallowing,
    tls,
    web,
)
from springline.transport import dialing, handshaking
from springline.transport.address import Address
from springline.transport.dialing import MOST_TOLD, Race, connect, is_self, race
from springline.transport.handshaking import HANGS_UP, read_answer, send_frame
from springline.transport.lineup import MOST, Target
from springline.transport.places import Places
from springline.transport.resolving import Resolver

NEVER = 3600.0


def targets(*ports: int) -> list[Address]:
    return [Address("127.0.0.1", port) for port in ports]


def port_of(target: Target) -> int:
    return target.address.port


def failed(
    addresses: list[Address], attempt: Callable[[Target], Coroutine[Any, Any, int]], stagger: float = NEVER
) -> str:
    with pytest.raises(Unreachable) as caught:
        asyncio.run(race(addresses, attempt, print, stagger=stagger))
    return caught.value.message


async def refuse(_target: Target) -> int:
    raise ConnectionRefusedError(111, "whatever asyncio says")


# -- the race ------------------------------------------------------------------------------------------------------


def test_the_first_is_started_at_once_and_the_next_when_it_fails() -> None:
    started: list[int] = []

    async def attempt(target: Target) -> int:
        started.append(port_of(target))
        if port_of(target) < 3:
            raise ConnectionRefusedError(111, "")
        return port_of(target)

    assert asyncio.run(race(targets(1, 2, 3, 4), attempt, print, stagger=NEVER)) == 3
    assert started == [1, 2, 3]


def test_one_that_hangs_is_overtaken_and_called_off() -> None:
    called_off: list[int] = []

    async def attempt(target: Target) -> int:
        if port_of(target) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                called_off.append(1)
        return port_of(target)

    assert asyncio.run(race(targets(1, 2), attempt, print, stagger=0.01)) == 2
    assert called_off == [1]


def test_who_finishes_together_with_the_winner_is_discarded() -> None:
    discarded: list[int] = []

    async def scene() -> int:
        gate = asyncio.Event()

        async def attempt(target: Target) -> int:
            if port_of(target) == 2:
                gate.set()
            await gate.wait()
            return port_of(target)

        return await race(targets(1, 2), attempt, discarded.append, stagger=0.01)

    won = asyncio.run(scene())
    assert sorted([won, *discarded]) == [1, 2]


def test_each_failure_is_told_once_and_without_asyncios_words() -> None:
    said = failed([*targets(1, 2, 1), Address("127.0.0.1", 0)], refuse)
    assert sorted(said.split("; ")) == [
        "127.0.0.1:0: 0 is no port to reach anybody at",
        "127.0.0.1:1: connection refused",
        "127.0.0.1:2: connection refused",
    ]


def test_no_address_at_all_has_a_line_of_its_own() -> None:
    assert failed([], refuse) == "no address is known"


def test_thousands_of_addresses_are_a_bounded_number_of_tries_and_a_short_story() -> None:
    tried: list[Target] = []

    async def scene() -> str:
        async def attempt(target: Target) -> int:
            tried.append(target)
            raise ConnectionRefusedError(111, "")

        one = Race(attempt, print, Resolver(), stagger=NEVER)
        for start in range(0, 5000, 100):
            one.join([Address("127.0.0.1", port) for port in range(start + 1, start + 101)])
        with pytest.raises(Unreachable) as caught:
            await one.run()
        return caught.value.message

    said = asyncio.run(scene())
    assert len(tried) == MOST
    assert len(said.split("; ")) == MOST_TOLD + 2
    assert f"{MOST - MOST_TOLD} more failed" in said
    assert "more not tried" in said


def test_addresses_join_a_race_that_runs_and_come_first() -> None:
    started: list[int] = []

    async def scene() -> int:
        def hurry() -> None:
            one.join(targets(8, 9))

        async def attempt(target: Target) -> int:
            started.append(port_of(target))
            if port_of(target) == 1:
                asyncio.get_running_loop().call_soon(hurry)
                await asyncio.Event().wait()
            if port_of(target) == 9:
                return 9
            raise ConnectionRefusedError(111, "")

        one = Race(attempt, print, Resolver(), stagger=0.01)
        one.join(targets(1, 2))
        return await one.run()

    assert asyncio.run(scene()) == 9
    assert started == [1, 8, 9]


def test_one_that_joins_a_race_whose_tries_all_hang_is_started() -> None:
    async def scene() -> int:
        async def attempt(target: Target) -> int:
            if port_of(target) == 1:
                asyncio.get_running_loop().call_later(0.02, lambda: one.join(targets(2)))
                await asyncio.Event().wait()
            return port_of(target)

        one = Race(attempt, print, Resolver(), stagger=0.001)
        one.join(targets(1))
        return await one.run()

    assert asyncio.run(scene()) == 2


def test_time_is_up_and_says_what_was_under_way() -> None:
    async def hang(_target: Target) -> int:
        await asyncio.Event().wait()
        return 0

    async def scene() -> None:
        one = Race(hang, print, Resolver(), stagger=0.01, patience=0.1)
        one.join(targets(1, 2))
        await one.run()

    with pytest.raises(Unreachable, match=r"127.0.0.1:1: no answer in time; 127.0.0.1:2: no answer in time"):
        asyncio.run(scene())


def test_a_name_that_never_resolves_costs_the_race_nothing_and_is_told() -> None:
    end = threading.Event()

    def lookup(*_args: object, **_hints: object) -> list[Any]:
        end.wait()
        return []

    async def scene(*ports: int) -> int:
        async def attempt(target: Target) -> int:
            if port_of(target) == 2:
                return 2
            raise ConnectionRefusedError(111, "")

        one = Race(attempt, print, Resolver(lookup), stagger=NEVER, patience=0.2)
        one.join([Address("never.example", 7), *targets(*ports)])
        return await one.run()

    assert asyncio.run(scene(2)) == 2
    with pytest.raises(Unreachable, match=r"127.0.0.1:1: connection refused; never.example:7: .*time"):
        asyncio.run(scene(1))
    end.set()


def test_a_name_that_was_last_good_is_tried_first_once_it_is_found() -> None:
    found, tried = threading.Event(), []

    def lookup(*_args: object, **_hints: object) -> list[Any]:
        found.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def attempt(target: Target) -> int:
        tried.append(str(target))
        if len(tried) == 1:
            found.set()
            await asyncio.Event().wait()
        if len(tried) < 3:
            await asyncio.sleep(0.02)
            raise ConnectionRefusedError(111, "")
        return 1

    addresses = [Address("good.example", 7), *targets(1, 2)]
    asyncio.run(race(addresses, attempt, print, Resolver(lookup), stagger=0.05))
    assert tried == ["127.0.0.1:1", "good.example:7 (127.0.0.1)", "127.0.0.1:2"]


# -- connecting ----------------------------------------------------------------------------------------------------


def connected(address: Address, own: list[Address] | None = None) -> str:
    """``""``, or why not."""

    async def scene() -> str:
        async def attempt(target: Target) -> int:
            (await connect(target, None, own or [])).close()
            return 0

        await race([address], attempt, print)
        return ""

    try:
        return asyncio.run(scene())
    except Unreachable as error:
        return error.message


def test_connected() -> None:
    with serving(mute) as address:
        assert connected(address) == ""


def test_refused() -> None:
    with nobody() as address:
        assert connected(address) == f"{address}: connection refused"


def test_an_address_that_swallows_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT", 0.1)
    with swallowing() as address:
        assert connected(address) == f"{address}: no answer in 0 s"


def test_ones_own_listener_is_nobody_else() -> None:
    with serving(mute) as address:
        assert connected(address, [address]) == f"{address}: that is this device itself"
        everywhere = Address("0.0.0.0", address.port)
        assert connected(address, [everywhere]) == f"{address}: that is this device itself"
        assert connected(Address("127.0.0.2", address.port), [everywhere]).endswith("refused")  # it is not there
        assert connected(address, [Address("0.0.0.0", address.port + 1), Address("127.0.0.2", address.port)]) == ""


def test_a_socket_that_has_opened_itself_is_none() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        assert is_self(sock, [])


def test_a_socket_that_is_gone_is_not_ours() -> None:
    with socket.socket() as sock:
        assert not is_self(sock, [])


def test_one_who_waits_gets_the_place_of_one_whose_call_is_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("springline.transport.places.FAIR_TIME", 0.02)

    async def scene(silent: Address, good: Address) -> None:
        places = Places(1)

        async def attempt(target: Target) -> None:
            async with places.take(target) as place:
                (await connect(target, place)).close()

        lost = asyncio.ensure_future(attempt(Target(silent, silent.host)))
        await asyncio.sleep(0.01)
        await attempt(Target(good, good.host))  # waits for the one before, which has 5 s otherwise
        with pytest.raises(Unreachable, match="no answer in 0 s"):
            await lost

    with swallowing() as silent, serving(mute) as good:
        asyncio.run(scene(silent, good))


# -- what answers --------------------------------------------------------------------------------------------------


def answer(address: Address) -> str:
    """What a first frame to that address brings."""

    async def scene() -> str:
        sock = await connect(Target(address, address.host))
        with sock:
            await send_frame(sock, bytes(160))
            with pytest.raises(SpringlineError) as caught:
                await read_answer(sock, 112)
            return dialing.reason(caught.value)

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (curt, HANGS_UP),
        (ssh, "something else answers there (it looks like SSH)"),
        (web, "something else answers there (it looks like HTTP)"),
        (saying(b"220 mail.example ESMTP\r\n"), "something else answers there (it looks like mail or FTP)"),
        (babble, "something else answers there"),
        (saying(b"\0"), "it takes the call and says nothing"),
        (mute, "it takes the call and says nothing"),
    ],
)
def test_what_answers_instead(talk: Talk, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshaking, "DEADLINE", 0.2)
    with serving(talk) as address:
        assert answer(address) == said


def test_a_tls_server_answers_instead(tmp_path: Path) -> None:
    with tls(tmp_path) as address:
        said = answer(address)
    assert said in ("something else answers there (it looks like TLS)", HANGS_UP)


def test_a_web_server_answers_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshaking, "DEADLINE", 0.2)
    with python_web() as address:
        assert answer(address) == "it takes the call and says nothing"  # it waits for a line


def test_a_race_of_all_of_them_is_won_by_the_one_that_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the wrong ones costs one interval."""

    def right(sock: socket.socket) -> None:
        sock.sendall(b"\0\x02ok")
        mute(sock)

    async def attempt(target: Target) -> bytes:
        with await connect(target) as sock:
            return await read_answer(sock, 2)

    with contextlib.ExitStack() as stack:
        wrong = [stack.enter_context(serving(talk)) for talk in (mute, ssh, curt)]
        wrong.append(stack.enter_context(nobody()))
        good = stack.enter_context(serving(right))
        assert asyncio.run(race([*wrong, good], attempt, print, stagger=0.02)) == b"ok"
