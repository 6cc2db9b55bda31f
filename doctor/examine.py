"""Examines a running node: asks each part whether it works, and has each way to a device tried.

The rule: nothing is judged from afar. The transport calls its own listeners and tries addresses, because it is the one
that dials; each finder says how it goes. Here questions are put, all at the same time, and answers put into words. An
actor that is not there is told as such, and costs no other check. Nothing is changed by an examination; the other side
sees callers who hang up in the middle.

The work is done in a thread with a loop and an endpoint of its own, so that it may be called from anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any
from uuid import UUID

from springline.actors.endpoint import AsyncEndpoint
from springline.actors.finding import (
    DHT,
    MDNS,
    NETWORK,
    PORTS,
    Found,
    Health,
    HowItGoes,
    KnockAtHome,
    OwnAddresses,
    Tried,
    TryAddress,
    WhatWasFound,
)
from springline.actors.messages import (
    CONNECTIONS,
    KEYSTORE,
    PROTOCOLS,
    TRANSPORT,
    Contact,
    DeviceStatus,
    ListLinks,
    WhoAmI,
    connection_name,
)
from springline.actors.names import registered
from springline.doctor import advice
from springline.doctor.report import Check
from springline.errors import NotRunning, SpringlineError
from springline.store.trust import BARRED
from springline.supervisors.asking import ROOT, Children, ChildStatus
from springline.supervisors.state import Phase as ChildPhase
from springline.transport.address import Address
from springline.transport.link import Phase

PATIENCE = 10.0
"""Seconds a part of the node may take to say how it goes."""

TRIAL_PATIENCE = 60.0
"""Seconds a trial of an address may take, its waiting for other trials included."""

RESTART = 2.0
"""Seconds after which a part that is not there is not just being restarted."""

DISCOVERY = "discovery"
TRANSPORTS = "transports"
FINDERS = {"network": NETWORK, "mDNS": MDNS, "DHT": DHT, "port mapping": PORTS}
"""What the ways of finding and being found are called, and who answers for each."""

Tell = Callable[[Check], object]
_Answer = tuple[bool | None, str, str]
"""Whether it works, what was seen, what would help."""


def examine(bus: str, device: DeviceStatus | None) -> Generator[Check, None, None]:
    """The checks of a running node: each twice, first as begun and then as done.

    :param bus: the node's bus directory. :param device: whose addresses to try; None: all devices, in brief.
    """
    told: SimpleQueue[Check | BaseException | None] = SimpleQueue()
    loop = asyncio.new_event_loop()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(_examine(bus, device, told.put))
            told.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            told.put(error)

    thread = threading.Thread(target=work, name="doctor", daemon=True)
    thread.start()
    try:
        while (news := told.get()) is not None:
            if isinstance(news, BaseException):
                raise news
            yield news
    finally:
        with contextlib.suppress(RuntimeError):  # its loop is closed: nothing is left to be cancelled
            loop.call_soon_threadsafe(_cancel_all, loop)
        thread.join()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


async def _examine(bus: str, device: DeviceStatus | None, tell: Tell) -> None:
    endpoint = AsyncEndpoint(bus, lambda _sender, _message: None)
    try:
        await _Examination(bus, endpoint, tell).run(device)
    finally:
        endpoint.close()


class _Examination:
    """One examination. :param endpoint: to ask through. :param tell: hears of each check."""

    def __init__(self, bus: str, endpoint: AsyncEndpoint, tell: Tell) -> None:
        self._bus, self._endpoint, self._tell = bus, endpoint, tell

    async def run(self, device: DeviceStatus | None) -> None:
        """Everything, all at once."""
        checks = [
            self._check(Check("processes", needed=True), self._processes()),
            self._check(Check("keystore", needed=True), self._keystore()),
            self._check(Check("clock", needed=False), self._clock(device)),
            self._check(Check("listener", needed=True), self._listener()),
            self._check(Check("own addresses"), self._own_addresses()),
            *(self._check(Check(name), self._finder(actor)) for name, actor in FINDERS.items()),
            self._devices() if device is None else self._device(device),
        ]
        await asyncio.gather(*checks)

    async def _check(self, check: Check, work: Awaitable[_Answer]) -> None:
        self._tell(replace(check, done=False))
        try:
            works, seen, helps = await work
        except SpringlineError as error:
            works, seen, helps = False, error.message, error.hint or "see the node's log; it is started again by itself"
        self._tell(replace(check, works=works, seen=seen, advice=helps))

    async def _ask(self, target: str, body: object, timeout: float = PATIENCE) -> Any:
        """Ask; one that is just being restarted is waited for."""
        end = time.monotonic() + RESTART
        while True:
            try:
                return await self._endpoint.ask(target, body, timeout)
            except NotRunning:
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(0.05)

    # -- this node -------------------------------------------------------------------------------------------------

    async def _processes(self) -> _Answer:
        told = await asyncio.gather(*(self._children(name) for name in (ROOT, PROTOCOLS, TRANSPORTS, DISCOVERY)))
        children = [child for some in told for child in some]
        ill = [f"{child.name}: {_ill(child)}" for child in children if _ill(child)]
        if ill:
            return False, "; ".join(ill), "see the node's log; what was given up runs again when the node is restarted"
        alive = sum(entry.alive for entry in registered(self._bus))
        return True, f"{alive} run", ""

    async def _children(self, supervisor: str) -> tuple[ChildStatus, ...]:
        found: tuple[ChildStatus, ...] = await self._ask(supervisor, Children())
        return found

    async def _keystore(self) -> _Answer:
        began = time.monotonic()
        await self._ask(KEYSTORE, WhoAmI())
        return True, f"answers in {_ms(time.monotonic() - began)}", ""

    async def _clock(self, device: DeviceStatus | None) -> _Answer:
        links: tuple[DeviceStatus, ...] = await self._ask(CONNECTIONS, ListLinks())
        moments = (one.device.last_connected or one.device.paired_at for one in links)
        now = datetime.now(UTC)
        wrong = [advice.about_clock(now, moments)]
        if device is not None:
            for found in await self._found(device.device.info.device_id):
                wrong.append(advice.about_their_clock(found, now.timestamp(), device.device.info.name))
        told = next(filter(None, wrong), "")
        seen = told or f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}, which nothing contradicts"
        return not told, seen, "set the clock: trust that ends, and finding each other, go by it" if told else ""

    async def _listener(self) -> _Answer:
        tried: tuple[Tried, ...] = await self._ask(TRANSPORT, KnockAtHome())
        failed = [f"{one.address}: {one.steps[-1][2]}" for one in tried if one.steps[-1][2]]
        if failed:
            return False, "; ".join(failed), "restart the node; if its address is gone, start it with another --listen"
        took = max(seconds for one in tried for _, seconds, _ in one.steps)
        return True, f"takes calls at {', '.join(str(one.address) for one in tried)} ({_ms(took)})", ""

    async def _own_addresses(self) -> _Answer:
        own: tuple[Address, ...] = await self._ask(TRANSPORT, OwnAddresses())
        helps = advice.about_own_addresses(own)
        loopback_only = all(address.host.startswith("127.") or address.host == "::1" for address in own)
        return not loopback_only, ", ".join(map(str, own)) or "none", helps

    async def _finder(self, actor: str) -> _Answer:
        child = actor.rpartition(".")[2]
        known = next((one for one in await self._children(DISCOVERY) if one.name == child), None)
        if known is None:
            return None, "switched off", ""
        if known.quarantined:
            return False, f"given up: {known.reason}", "see the node's log, and restart the node"
        health: Health = await self._ask(actor, HowItGoes())
        return health.works, health.seen, health.advice

    # -- devices ---------------------------------------------------------------------------------------------------

    async def _devices(self) -> None:
        """All of them, in brief."""
        try:
            links: tuple[DeviceStatus, ...] = await self._ask(CONNECTIONS, ListLinks())
        except SpringlineError as error:
            self._tell(Check("devices", works=False, needed=True, seen=error.message, advice=error.hint))
            return
        for status in links:
            self._tell(_link_check(status, None))

    async def _device(self, status: DeviceStatus) -> None:
        """One of them: each address, then the link as it is when they have been tried."""
        peer, name = status.device.info.device_id, status.device.info.name
        if status.device.trust in BARRED:
            self._tell(replace(_link_check(status, None), works=False, needed=True))
            return
        origins: dict[Address, str] = {}
        try:
            for found in await self._found(peer):
                origins |= dict.fromkeys(found.addresses, f"by {found.via}")
            kept: tuple[Address, ...] = await self._ask(KEYSTORE, Contact(peer))
            origins = dict.fromkeys(kept, "kept") | origins
            for address, how in origins.items():
                self._tell(Check(str(address), peer, done=False, seen=how))
            self._tell(Check("link", peer, done=False, needed=True))
            tried = await asyncio.gather(*(self._try(peer, name, one, how) for one, how in origins.items()))
        except SpringlineError as error:
            self._tell(Check("link", peer, works=False, needed=True, seen=error.message, advice=error.hint))
            return
        links: tuple[DeviceStatus, ...] = await self._ask(CONNECTIONS, ListLinks())
        now = next((one for one in links if one.device.info.device_id == peer), status)
        self._tell(_link_check(now, tried))

    async def _found(self, peer: UUID) -> tuple[Found, ...]:
        try:
            found: tuple[Found, ...] = await self._ask(connection_name(peer), WhatWasFound())
        except SpringlineError:  # its process is told of elsewhere; the addresses that are kept can be tried without
            return ()
        return found

    async def _try(self, peer: UUID, name: str, address: Address, how: str) -> Tried:
        check = Check(str(address), peer)
        try:
            tried: Tried = await self._ask(TRANSPORT, TryAddress(peer, address), TRIAL_PATIENCE)
        except SpringlineError as error:
            self._tell(replace(check, works=False, seen=f"{how}: {error.message}", advice=error.hint))
            raise
        helps = advice.about_address(tried, name)
        seen = f"{how}: {_told(tried)}"
        self._tell(replace(check, works=tried.answers, seen=seen, advice=helps, steps=tried.steps))
        return tried


def _ill(child: ChildStatus) -> str:
    if child.quarantined:
        return f"given up, {child.reason}"
    if child.phase != ChildPhase.UP.value:
        return f"{child.phase}, {child.reason}" if child.reason else child.phase
    return ""


def _link_check(status: DeviceStatus, tried: list[Tried] | None) -> Check:
    device, link = status.device, status.link
    wanted = device.trust not in BARRED and device.auto_connect
    works = link.state == Phase.CONNECTED.value if wanted else None
    seen = f"{device.info.name} is {link.state} since {link.since.astimezone():%Y-%m-%d %H:%M:%S}"
    if works is not False or tried is None:
        seen += f": {link.reason}"
    elif link.next_attempt is not None:  # the reason is that of the addresses, and said with each
        seen += f", and dialled again at {link.next_attempt.astimezone():%H:%M:%S}"
    helps = advice.about_link(status, tried)
    return Check("link", device.info.device_id, works=works, needed=wanted, seen=seen, advice=helps)


def _told(tried: Tried) -> str:
    step, seconds, error = tried.steps[-1]
    if error:
        return f"{error} ({step}, {_ms(seconds)})"
    return "answers (" + ", ".join(f"{step} {_ms(seconds)}" for step, seconds, _ in tried.steps) + ")"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

