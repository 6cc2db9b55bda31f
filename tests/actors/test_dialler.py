"""The transport's outgoing half on real sockets, with a Keystore of straw: fairness, and a reason for each address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from springline.actors import dialler as module
from springline.actors.dialler import Dialler
from springline.actors.finding import AlsoTry, Tried, TryAddress
from springline.actors.messages import (
    Authenticated,
    BeginHandshake,
    Begun,
    DialDevice,
    DialEnded,
    FinishHandshake,
    RecoverHandshake,
    SessionUp,
    SocketIsUp,
)
from springline.errors import Malformed, Refused
from springline.tests.impostors import curt, mute, nobody, python_web, serving, ssh, swallowing, tls, web
from springline.transport import dialing, handshaking
from springline.transport.address import Address
from springline.transport.noise import FIRST_FRAME, SECOND_FRAME, SessionKeys
from springline.transport.trouble import Trouble

KEYS = SessionKeys(b"s" * 32, b"r" * 32, b"n" * 32)
ME = "the caller"
FIRST, SECOND = b"1" * FIRST_FRAME, b"2" * SECOND_FRAME


class Actor:
    """What a Dialler needs of its actor. Its Keystore takes its time, and counts who asks."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.told: dict[UUID | int, list[object]] = {}
        self.asking = self.most_asking = 0
        self.revoked: set[UUID] = set()
        self.turns: list[int | None] = []
        self.recovers = False
        self._handles: dict[int, UUID] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def tell(self, target: str, message: object) -> bool:
        self.told.setdefault(getattr(message, "attempt", 0), []).append(message)
        return target == ME

    async def ask(self, target: str, body: object, timeout: float = 5.0) -> object:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.asking -= 1
        if isinstance(body, BeginHandshake | RecoverHandshake):
            if body.device in self.revoked:
                raise Refused("the device is revoked")
            if isinstance(body, RecoverHandshake) and not self.recovers:
                return None
            self._handles[len(self._handles)] = body.device
            self.turns.append(body.turn)
            return Begun(len(self._handles) - 1, FIRST)
        assert isinstance(body, FinishHandshake)
        if body.frame != SECOND:
            raise Malformed("it does not open")
        return Authenticated(self._handles[body.handle], KEYS, 1)

    def spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        return task

    def of(self, attempt: int, kind: type) -> list[Any]:
        """What was told about that attempt."""
        return [one for one in self.told.get(attempt, []) if isinstance(one, kind)]

    async def done(self) -> None:
        """Every dial is over, and none has raised."""
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert [one for one in ended if isinstance(one, Exception)] == []


class Servers:
    """In this very loop: ``good`` answers as the device does, ``silent`` never, ``wrong`` with another device's key."""

    def __init__(self) -> None:
        self.inside = self.most_inside = 0
        self._servers: list[asyncio.Server] = []
        self._talks: set[asyncio.Task[Any]] = set()

    async def _serve(self, answer: bytes | None, hangs_up: int = 0) -> Address:
        """:param hangs_up: on how many callers, at first."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal hangs_up
            task = asyncio.current_task()
            assert task
            self._talks.add(task)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readexactly(2 + FIRST_FRAME)
                hangs_up -= 1
                if hangs_up < 0:
                    if answer is not None:
                        writer.write(len(answer).to_bytes(2, "big") + answer)
                    await reader.read()
            self.inside -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
        self._servers.append(server)
        return Address(*server.sockets[0].getsockname())

    async def good(self) -> Address:
        return await self._serve(SECOND)

    async def moody(self) -> Address:
        return await self._serve(SECOND, hangs_up=1)

    async def silent(self) -> Address:
        return await self._serve(None)

    async def wrong(self) -> Address:
        return await self._serve(b"x" * SECOND_FRAME)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()
        await asyncio.gather(*self._talks)


Scene = Callable[[Actor, Dialler, Servers], Coroutine[Any, Any, None]]


def played(scene: Scene, own: tuple[Address, ...] = ()) -> None:
    async def play() -> None:
        actor, servers = Actor(), Servers()
        dialler = Dialler(actor, lambda: own)  # type: ignore[arg-type]
        try:
            await scene(actor, dialler, servers)
            await actor.done()
            assert not dialler._tasks
            assert not dialler._races
            assert dialler._attempts.taken == dialler._asking.taken == dialler._trials.taken == 0
        finally:
            await servers.close()

    asyncio.run(play())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshaking, "DEADLINE", 0.2)
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT", 0.2)


# -- dials ---------------------------------------------------------------------------------------------------------


def test_a_session_is_handed_over_with_the_address_that_has_won() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        device, good = uuid4(), await servers.good()
        with nobody() as refusing:
            dialler.dial(DialDevice(device, 1, (refusing, good)), ME)
            await actor.done()
        (up,) = actor.of(1, SessionUp)
        assert (up.session.device, up.remote) == (device, good)
        assert len(actor.of(1, SocketIsUp)) == 1

    played(scene)


def test_all_addresses_of_a_dial_are_tried_with_one_key() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        where = await servers.wrong(), await servers.good()
        for attempt in (3, 4):
            dialler.dial(DialDevice(uuid4(), attempt, where), ME)
            await actor.done()
        assert actor.turns == [3, 3, 4, 4]

    played(scene)


@pytest.mark.parametrize("it_is_time", [True, False])
def test_who_hangs_up_is_called_again_by_the_recovery_key_if_it_is_time(it_is_time: bool) -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        actor.recovers = it_is_time
        dialler.dial(DialDevice(uuid4(), 1, (await servers.moody(),)), ME)
        await actor.done()
        assert len(actor.of(1, SessionUp)) == it_is_time
        assert len(actor.of(1, SocketIsUp)) == 1
        if not it_is_time:
            assert "hangs up" in actor.of(1, DialEnded)[0].reason

    played(scene)


@pytest.mark.usefixtures("hasty")
def test_what_goes_wrong_is_told_for_each_address() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        silent, wrong = await servers.silent(), await servers.wrong()
        with nobody() as refusing, serving(ssh) as banner:
            own = Address("127.0.0.1", 0)
            dialler.dial(DialDevice(uuid4(), 1, (silent, wrong, refusing, banner, own)), ME)
            await actor.done()
        (ended,) = actor.of(1, DialEnded)
        assert set(ended.reason.split("; ")) == {
            f"{silent}: it takes the call and says nothing",
            f"{wrong}: whoever answers there is not that device (it does not open)",
            f"{refusing}: connection refused",
            f"{banner}: something else answers there (it looks like SSH)",
            f"{own}: 0 is no port to reach anybody at",
        }

    played(scene)


def test_a_device_that_is_not_welcome_is_not_dialled_any_further() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        device = uuid4()
        actor.revoked.add(device)
        dialler.dial(DialDevice(device, 1, (await servers.good(),)), ME)
        await actor.done()
        assert "the device is revoked" in actor.of(1, DialEnded)[0].reason

    played(scene)


def test_addresses_that_are_found_meanwhile_are_tried_too() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        device, silent, good = uuid4(), await servers.silent(), await servers.good()
        dialler.dial(DialDevice(device, 7, (silent,)), ME)
        dialler.also(AlsoTry(device, 6, (Address("127.0.0.1", 1),)))  # of a dial that is over
        dialler.also(AlsoTry(device, 7, (good,)))
        await actor.done()
        assert actor.of(7, SessionUp)[0].remote == good

    played(scene)


def test_a_dial_that_is_stopped_or_replaced_tells_nothing() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        device, silent, good = uuid4(), await servers.silent(), await servers.good()
        dialler.dial(DialDevice(device, 1, (silent,)), ME)
        dialler.dial(DialDevice(device, 2, (silent,)), ME)
        dialler.stop(device, 1)
        dialler.stop(device, 2)
        dialler.dial(DialDevice(device, 2, (good,)), ME)  # as a connection in its second life numbers it
        await actor.done()
        assert not actor.of(1, SessionUp) + actor.of(1, DialEnded)
        assert len(actor.of(2, SessionUp)) == 1
        assert not actor.of(2, DialEnded)

    played(scene)


def test_hundreds_of_devices_return_at_once_and_hostile_ones_hold_up_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has an address that leads nowhere before the good one; a dozen more have nothing but silent ones.

    One loop plays both sides of three hundred handshakes: it has to have the time for that.
    """
    monkeypatch.setattr(handshaking, "DEADLINE", 4.0)
    monkeypatch.setattr(dialing, "PATIENCE", 60.0)
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 24)
    monkeypatch.setattr(module, "MOST_ASKING", 4)
    monkeypatch.setattr("springline.transport.places.FAIR_TIME", 0.05)

    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        silent = [await servers.silent() for _ in range(4)]
        good = await servers.good()
        for number in range(1, 13):
            dialler.dial(DialDevice(uuid4(), number, tuple(silent)), ME)
        with nobody() as refusing:
            for number in range(100, 400):
                dialler.dial(DialDevice(uuid4(), number, (refusing, good)), ME)
            await actor.done()
        assert [number for number in range(100, 400) if not actor.of(number, SessionUp)] == []
        for number in range(1, 13):
            assert "says nothing" in actor.of(number, DialEnded)[0].reason
        assert servers.most_inside <= 24 + 8  # a server hears of the end a little later
        assert actor.most_asking <= 4

    played(scene)


# -- trials --------------------------------------------------------------------------------------------------------


def tried(address: Address, own: tuple[Address, ...] = ()) -> tuple[list[str], str, Trouble | None]:
    """The steps, the last one's error, and of what kind it is."""
    results: list[Tried] = []

    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        results.append(await dialler.try_address(TryAddress(uuid4(), address)))
        assert not actor.told

    played(scene, own)
    (result,) = results
    assert result.address == address
    assert all(seconds >= 0 for _, seconds, _ in result.steps)
    assert all(not error for _, _, error in result.steps[:-1])
    assert not result.answers
    return [step for step, _, _ in result.steps], result.steps[-1][2], result.trouble


def test_a_trial_of_where_the_device_is() -> None:
    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        good = await servers.good()
        for address in (good, Address("localhost", good.port)):
            result = await dialler.try_address(TryAddress(uuid4(), address))
            assert result.answers, result
            assert [step for step, _, _ in result.steps] == ["resolve", "connect", "handshake"]
        assert not actor.told  # no session comes of it
        result = await dialler.try_address(TryAddress(uuid4(), await servers.wrong()))
        assert "not that device" in result.steps[-1][2]
        assert result.trouble is Trouble.IMPOSTOR

    played(scene)


@pytest.fixture
def slow(hasty: None) -> Iterator[Address]:
    with swallowing() as address:
        yield address


@pytest.mark.usefixtures("hasty")
def test_trials_of_where_it_is_not(slow: Address, tmp_path: Path) -> None:
    resolve, connect, handshake = ["resolve"], ["resolve", "connect"], ["resolve", "connect", "handshake"]
    with nobody() as refusing:
        assert tried(refusing) == (connect, "connection refused", Trouble.REFUSED)
    assert tried(slow) == (connect, "no answer in 0 s", Trouble.SILENT)
    assert tried(Address("127.0.0.1", 0)) == (resolve, "0 is no port to reach anybody at", Trouble.NOWHERE)
    assert tried(Address("0.0.0.0", 9)) == (resolve, "that is not the address of one device", Trouble.NOWHERE)
    assert tried(Address("fe80::1%nosuch0", 9)) == (resolve, "there is no interface nosuch0 here", Trouble.INTERFACE)
    with serving(mute) as address:
        assert tried(address) == (handshake, "it takes the call and says nothing", Trouble.MUTE)
        assert tried(address, (address,)) == (connect, "that is this device itself", Trouble.ITSELF)
    with serving(ssh) as address:
        assert tried(address) == (handshake, "something else answers there (it looks like SSH)", Trouble.FOREIGN)
    with serving(web) as address:
        assert tried(address) == (handshake, "something else answers there (it looks like HTTP)", Trouble.FOREIGN)
    with python_web() as address:
        assert tried(address) == (handshake, "it takes the call and says nothing", Trouble.MUTE)
    with serving(curt) as address:
        assert tried(address)[0::2] == (handshake, Trouble.HANGS_UP)
    with tls(tmp_path) as address:
        assert tried(address)[0] == handshake


def test_a_trial_of_a_name_with_several_addresses_takes_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ("127.0.0.9", "127.0.0.1")]

    async def scene(actor: Actor, dialler: Dialler, servers: Servers) -> None:
        good = await servers.good()
        dialler._resolver._lookup = lambda *_, **__: rows
        result = await dialler.try_address(TryAddress(uuid4(), Address("two.example", good.port)))
        assert result.answers
        result = await dialler.try_address(TryAddress(uuid4(), Address("two.example", 1)))
        assert result.steps[-1][2].count("connection refused") == 2
        assert result.trouble is Trouble.SEVERAL

    played(scene)
