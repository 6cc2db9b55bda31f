"""How a DeviceConnection hands what has come in to the handlers, and asks the user where trust does not suffice.

The rule: a handler that is just being restarted is waited for; one that dies at it has failed. A handler which would do
something sensitive for a device that is only verified says so instead, and gets the same again once the user has
approved it. Until the manager has told how far the device is trusted, what comes in waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from blake3 import blake3

from springline.actors.carrying import DeliverMessage, NeedsApproval, Sink, StreamEnded, StreamOffered
from springline.actors.keeping import APPROVALS, UnusedApproval, WantApproval
from springline.actors.messages import handler_name
from springline.actors.names import is_registered
from springline.actors.shell import IoShell
from springline.errors import HandlerFailed, Lost, NoHandler, NotConnected, NotRunning, Unreachable
from springline.store.devices import TrustLevel

HANDLER_TIMEOUT = 30.0
"""Seconds a handler has for one message."""

APPROVAL_TIMEOUT = 130.0
"""Seconds to wait for the user's word: longer than the user has."""

REBIRTH = 3.0
"""Seconds a message waits for a handler that is being restarted."""


class Delivery:
    """The handlers, as one connection sees them. :param actor: the connection. :param device: whose words it brings."""

    def __init__(self, actor: IoShell, device: UUID) -> None:
        self._actor = actor
        self._device = device
        self._trust = TrustLevel.VERIFIED
        self._told = asyncio.Event()

    def trust(self, level: TrustLevel) -> None:
        """From now on the device is trusted like this."""
        self._trust = level
        self._told.set()

    async def message(self, protocol: str, payload: bytes, linked: Callable[[], bool]) -> bytes | None:
        """The handler's answer. :param linked: whether the session it came over is still there.

        :raises SpringlineError: it has none, or the user said no.
        """
        await self._told.wait()
        answer: bytes | None = await self._permitted(
            DeliverMessage(self._device, protocol, payload, self._trust), payload, linked
        )
        return answer

    async def stream(self, protocol: str, header: bytes, linked: Callable[[], bool]) -> Sink:
        """Where the handler wants an offered stream; otherwise as :meth:`message`."""
        await self._told.wait()
        sink: Sink = await self._permitted(StreamOffered(self._device, protocol, header, self._trust), header, linked)
        return sink

    async def ended(self, end: StreamEnded) -> None:
        """Tell the handler. :raises SpringlineError: it could not be told."""
        await self._ask(end.protocol, end)

    async def _permitted(self, body: DeliverMessage | StreamOffered, request: bytes, linked: Callable[[], bool]) -> Any:
        answer = await self._ask(body.protocol, body)
        if not isinstance(answer, NeedsApproval):
            return answer
        wanted = WantApproval(self._device, body.protocol, answer.what, blake3(request).digest())
        try:
            await self._actor.ask(APPROVALS, wanted, APPROVAL_TIMEOUT)
        except (NotRunning, Unreachable):
            raise HandlerFailed("the user can't be asked for approval at the moment") from None
        if not linked():
            self._actor.tell(APPROVALS, UnusedApproval(wanted))
            raise NotConnected("the link was lost before the user's answer")
        return await self._ask(body.protocol, replace(body, approved=True))

    async def _ask(self, protocol: str, body: object) -> Any:
        name = handler_name(protocol)
        end = self._actor.loop.time() + REBIRTH
        while True:
            try:
                return await self._actor.ask(name, body, HANDLER_TIMEOUT)
            except Lost:
                raise HandlerFailed(f"the handler of {protocol} died at it") from None
            except NotRunning:
                if not is_registered(self._actor.bus_directory, name):
                    raise NoHandler(f"no handler for {protocol}") from None
                if self._actor.loop.time() >= end:
                    raise HandlerFailed(f"the handler of {protocol} is down") from None
            await asyncio.sleep(0.02)
