"""The transport's outgoing half: races addresses, has the Keystore do the handshakes, tries single addresses.

The rule: a device that can't be reached costs the others nothing. Attempts have places (:data:`MOST_ATTEMPTS`), and so
have questions to the Keystore (:data:`MOST_ASKING`), both given fairly by device: when hundreds of devices are dialled
at once, each gets its turn, and one whose addresses accept and never speak holds up itself. What goes wrong is told for
each address, in words for people.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from springline.actors.datagram import Fd
from springline.actors.finding import AlsoTry, Tried, TryAddress
from springline.actors.messages import (
    KEYSTORE,
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
from springline.actors.shell import IoShell
from springline.errors import Malformed, SpringlineError
from springline.transport.address import Address
from springline.transport.dialing import Race, connect, reason
from springline.transport.handshaking import read_answer, send_frame
from springline.transport.lineup import Target
from springline.transport.noise import SECOND_FRAME, confirm
from springline.transport.places import Places
from springline.transport.resolving import Resolver
from springline.transport.trouble import HungUp, Impostor, trouble_of

MOST_ATTEMPTS = 384
"""Sockets that are connecting or shaking hands: fewer than handshakes the Keystore keeps in mind."""

MOST_ASKING = 8
"""Questions about dialled handshakes put to the Keystore at a time."""

MOST_TRIALS = 8
"""Addresses tried at a time that no dial wants."""

Key = tuple[UUID, int]


@dataclass(slots=True)
class _Won:
    """A dial whose peer has answered correctly; only the confirm is missing."""

    sock: socket.socket
    session: Authenticated
    address: Address


class _Trial:
    """One address, tried step by step. :param now: monotonic seconds."""

    def __init__(self, address: Address, now: Callable[[], float]) -> None:
        self._now = now
        self.result = Tried(address, ())

    async def step(self, name: str, work: Awaitable[Any]) -> Any:
        """What comes of the work, or None if nothing does."""
        began, value, said = self._now(), None, ""
        try:
            value = await work
        except (SpringlineError, OSError) as error:
            said = reason(error)
            trouble = trouble_of(name, error, self.result.address)
            self.result = replace(self.result, trouble=trouble, hint=getattr(error, "hint", ""))
        self.result = replace(self.result, steps=(*self.result.steps, (name, self._now() - began, said)))
        return value


class Dialler:
    """The dials of one transport.

    :param actor: speaks on the bus. :param own: where this device listens, now.
    """

    def __init__(self, actor: IoShell, own: Callable[[], Iterable[Address]]) -> None:
        self._actor, self._own = actor, own
        self._tasks: dict[Key, asyncio.Task[object]] = {}
        self._races: dict[Key, Race[_Won]] = {}
        self._resolver = Resolver()
        self._attempts = Places(MOST_ATTEMPTS)
        self._asking = Places(MOST_ASKING)
        self._trials = Places(MOST_TRIALS)

    # -- dials -----------------------------------------------------------------------------------------------------

    def dial(self, message: DialDevice, caller: str) -> None:
        """Race the addresses; the result is told to ``caller``.

        Another dial of that device is its connection's in a former life: nobody waits for it.
        """
        for former in [key for key in self._tasks if key[0] == message.device]:
            self.stop(*former)
        key = message.device, message.attempt
        race = Race(self._attempt(message, caller), _discard, self._resolver, message.device)
        race.join(message.addresses)
        self._tasks[key] = task = self._actor.spawn(self._dial(message, caller, race))
        self._races[key] = race
        task.add_done_callback(lambda _: self._forget(key, task))

    def _forget(self, key: Key, dial: asyncio.Task[object]) -> None:
        if self._tasks.get(key) is dial:
            del self._tasks[key], self._races[key]

    def also(self, message: AlsoTry) -> None:
        """Further addresses for a dial in flight."""
        race = self._races.get((message.device, message.attempt))
        if race is not None:
            race.join(message.addresses)

    def stop(self, device: UUID, attempt: int) -> None:
        """Forget about that dial."""
        task = self._tasks.pop((device, attempt), None)
        if task is not None:
            del self._races[device, attempt]
            task.cancel()

    def _attempt(self, dial: DialDevice, caller: str) -> Callable[[Target], Coroutine[Any, Any, _Won]]:
        told = False

        async def call(target: Target, begin: BeginHandshake | Begun) -> _Won:
            nonlocal told
            async with self._attempts.take(dial.device) as place:
                sock = await connect(target, place, self._own())
                try:
                    if not told:
                        told = self._actor.tell(caller, SocketIsUp(dial.attempt, target.address))
                    return _Won(sock, await self._introduce(sock, dial.device, begin), target.address)
                except BaseException:
                    sock.close()
                    raise

        async def attempt(target: Target) -> _Won:
            try:
                return await call(target, BeginHandshake(dial.device, turn=dial.attempt))
            except HungUp:  # it does not know us, or not by our keys
                begun: Begun | None = await self._ask(dial.device, RecoverHandshake(dial.device, dial.attempt))
                if begun is None:
                    raise
                return await call(target, begun)

        return attempt

    async def _dial(self, dial: DialDevice, caller: str, race: Race[_Won]) -> None:
        tell = self._actor.tell
        try:
            won = await race.run()
        except SpringlineError as error:
            tell(caller, DialEnded(dial.attempt, str(error)))
            return
        with won.sock:
            try:
                await send_frame(won.sock, confirm(won.session.keys))
            except OSError as error:
                tell(caller, DialEnded(dial.attempt, f"{won.address}: {reason(error)}"))
                return
            tell(caller, SessionUp(Fd(won.sock.fileno()), won.session, dial.attempt, won.address))

    async def _introduce(self, sock: socket.socket, device: UUID, begin: BeginHandshake | Begun) -> Authenticated:
        """Messages 1 and 2 of the handshake. :raises SpringlineError: whoever is there is not that device."""
        begun: Begun = begin if isinstance(begin, Begun) else await self._ask(device, begin)
        await send_frame(sock, begun.frame)
        answer = await read_answer(sock, SECOND_FRAME)
        try:
            session: Authenticated = await self._ask(device, FinishHandshake(begun.handle, answer))
        except Malformed as error:
            raise Impostor(f"whoever answers there is not that device ({error.message})") from None
        return session

    async def _ask(self, device: UUID, question: object) -> Any:
        async with self._asking.take(device):
            return await self._actor.ask(KEYSTORE, question)

    # -- trials ----------------------------------------------------------------------------------------------------

    async def try_address(self, message: TryAddress) -> Tried:
        """How far a dial of that one address would get. The other side sees a caller who hangs up in the middle."""
        device, trial = message.device, _Trial(message.address, self._actor.loop.time)
        async with self._trials.take(device):
            targets = await trial.step("resolve", self._resolver.resolve(message.address, device))
            sock = targets and await trial.step("connect", self._connect(device, targets))
            if sock:
                with sock:
                    await trial.step("handshake", self._introduce(sock, device, BeginHandshake(device)))
        return trial.result

    async def _connect(self, device: UUID, targets: Sequence[Target]) -> socket.socket:
        """The first of them that can be connected to. :raises Unreachable: none can."""

        async def attempt(target: Target) -> socket.socket:
            async with self._attempts.take(device) as place:
                return await connect(target, place, self._own())

        if len(targets) == 1:  # what goes wrong is told without saying where: that is known
            return await attempt(targets[0])
        race = Race(attempt, socket.socket.close, self._resolver, device)
        race.enter(targets)
        return await race.run()


def _discard(late: _Won) -> None:
    late.sock.close()
