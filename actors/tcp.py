"""TcpTransport: turns addresses and incoming calls into authenticated sessions, then lets go of them.

The rule: strangers are read here and nowhere else. A caller gets ``DEADLINE`` seconds and a first frame of one size; if
its MAC was not made with this device's public key or with the words of an open invitation, the socket closes without an
answer, before any Diffie-Hellman. Half-open callers are counted: beyond ``MOST_STRANGERS`` the oldest goes, so a flood
costs the flooder, and an honest caller, who speaks at once, is through before its turn comes.

A session leaves as one message with the socket's descriptor and the session's keys. The listening socket comes from the
node and outlives this process: calls that come in while it is being restarted wait in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from springline.actors.keeping import Audit
from springline.actors.messages import (
    KEYSTORE,
    PAIRING,
    Answered,
    AnswerHandshake,
    Authenticated,
    BeginHandshake,
    Begun,
    DialDevice,
    DialEnded,
    Doorbells,
    FinishHandshake,
    ListeningAt,
    PairingKnock,
    SessionUp,
    SocketIsUp,
    StopDialling,
    WhichDoorbells,
    WhoAmI,
    connection_name,
)
from springline.actors.shell import IoShell, Sender, receives
from springline.actors.tally import WINDOW, Tally
from springline.actors.wire import Fd
from springline.errors import Malformed, RemoteFault, SpringlineError
from springline.store.identity import DeviceInfo
from springline.transport.address import Address
from springline.transport.dialing import connect, race
from springline.transport.handshaking import DEADLINE, read_frame, send_frame
from springline.transport.noise import (
    CONFIRM_FRAME,
    FIRST_FRAME,
    MAC_SIZE,
    SECOND_FRAME,
    check_mac1,
    confirm,
    mac1_key,
    open_confirm,
)

log = logging.getLogger("springline.tcp")

MOST_STRANGERS = 128
"""Incoming sockets that have not yet shown a valid first frame."""

MOST_GREETINGS = 32
"""Incoming handshakes at work in the Keystore at a time; the others wait their turn."""


@dataclass(frozen=True, slots=True)
class TcpArgs:
    """:param listener: the bound, listening socket."""

    listener: Fd


@dataclass(slots=True)
class _Won:
    """A dial whose peer has answered correctly; only the confirm is missing."""

    sock: socket.socket
    session: Authenticated
    address: Address


class TcpTransport(IoShell):
    """Dials (:class:`DialDevice`) and listens; hands over with :class:`SessionUp`."""

    async def start(self, args: TcpArgs) -> None:
        """Take up the listener."""
        own: DeviceInfo = await self.ask(KEYSTORE, WhoAmI())
        self._mac_key = mac1_key(own.static_key)
        self._doorbells: tuple[bytes, ...] = ()
        self._dials: dict[tuple[UUID, int], asyncio.Task[object]] = {}
        self._strangers: OrderedDict[int, socket.socket] = OrderedDict()
        self._greetings = asyncio.Semaphore(MOST_GREETINGS)
        self._tally = Tally()
        self._listener = socket.socket(fileno=os.dup(args.listener.fileno()))
        self._listener.setblocking(False)
        self.loop.add_reader(self._listener, self._accept)
        self.tell(PAIRING, WhichDoorbells())

    async def stop(self) -> None:
        """Close what is still half open, and write down what is only summed up."""
        for line in self._tally.due(math.inf):
            self.tell(KEYSTORE, Audit("caller refused", None, line))
        self.loop.remove_reader(self._listener)
        self._listener.close()
        for sock in self._strangers.values():
            sock.close()

    @receives(ListeningAt)
    def listening_at(self, message: ListeningAt, sender: Sender) -> Address:
        """The listener's own address."""
        return Address(*self._listener.getsockname()[:2])

    # -- dial ------------------------------------------------------------------------------------------------------

    @receives(DialDevice)
    def dial(self, message: DialDevice, sender: Sender) -> None:
        """Race the addresses; the result is told to the device's connection."""
        key = message.device, message.attempt
        self._dials[key] = task = self.spawn(self._dial(message, sender.path))
        task.add_done_callback(lambda _: self._dials.pop(key, None))

    @receives(StopDialling)
    def stop_dialling(self, message: StopDialling, sender: Sender) -> None:
        """Forget about it."""
        task = self._dials.pop((message.device, message.attempt), None)
        if task is not None:
            task.cancel()

    async def _dial(self, dial: DialDevice, caller: str) -> None:
        async def attempt(address: Address) -> _Won:
            sock = await connect(address)
            try:
                self.tell(caller, SocketIsUp(dial.attempt))
                async with asyncio.timeout(DEADLINE):
                    session = await self._introduce(sock, dial.device)
            except BaseException:
                sock.close()
                raise
            return _Won(sock, session, address)

        try:
            won = await race(dial.addresses, attempt, lambda late: late.sock.close())
            await send_frame(won.sock, confirm(won.session.keys))
        except (SpringlineError, OSError) as error:
            self.tell(caller, DialEnded(dial.attempt, str(error)))
            return
        with won.sock:
            self.tell(caller, SessionUp(Fd(won.sock.fileno()), won.session, dial.attempt, won.address))

    async def _introduce(self, sock: socket.socket, device: UUID) -> Authenticated:
        begun: Begun = await self.ask(KEYSTORE, BeginHandshake(device))
        await send_frame(sock, begun.frame)
        answer = await read_frame(sock, SECOND_FRAME)
        session: Authenticated = await self.ask(KEYSTORE, FinishHandshake(begun.handle, answer))
        return session

    # -- listen ----------------------------------------------------------------------------------------------------

    @receives(Doorbells)
    def hang_doorbells(self, message: Doorbells, sender: Sender) -> None:
        """From now on these are the open invitations."""
        self._doorbells = message.keys

    def _accept(self) -> None:
        for _ in range(64):  # bounded: a flood of calls must not keep the loop from its other work
            try:
                sock, where = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the caller hung up at once, or descriptors have run out
                log.warning("accept: %s", error)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._strangers[id(sock)] = sock
            if len(self._strangers) > MOST_STRANGERS:
                _, oldest = self._strangers.popitem(last=False)
                oldest.shutdown(socket.SHUT_RDWR) if oldest.fileno() >= 0 else None
            self.spawn(self._greet(sock, Address(*where[:2])))

    async def _greet(self, sock: socket.socket, remote: Address) -> None:
        try:
            with sock:
                async with asyncio.timeout(DEADLINE):
                    frame = await self._first_frame(sock)
                    await self._welcome(sock, frame, remote)
        except (SpringlineError, OSError) as error:
            log.info("a caller from %s is not let in: %s", remote.host, error or type(error).__name__)
            if isinstance(error, Malformed):
                self._note("it said what is no handshake", remote)
            elif isinstance(error, RemoteFault):
                self._note(error.message, remote)

    def _note(self, reason: str, remote: Address) -> None:
        """Have it in the audit trail that somebody was not let in."""
        line = self._tally.add(reason, remote.host, self.loop.time())
        if line is not None:
            self.tell(KEYSTORE, Audit("caller refused", None, line))
            self.loop.call_later(WINDOW + 1.0, self._sum_up)

    def _sum_up(self) -> None:
        for line in self._tally.due(self.loop.time()):
            self.tell(KEYSTORE, Audit("caller refused", None, line))

    async def _first_frame(self, sock: socket.socket) -> bytes:
        try:
            return await read_frame(sock, FIRST_FRAME)
        finally:
            self._strangers.pop(id(sock), None)

    async def _welcome(self, sock: socket.socket, frame: bytes, remote: Address) -> None:
        tag, message = frame[:MAC_SIZE], frame[MAC_SIZE:]
        if not check_mac1(self._mac_key, message, tag):
            for doorbell in self._doorbells:
                if check_mac1(doorbell, message, tag):
                    self.tell(PAIRING, PairingKnock(Fd(sock.fileno()), doorbell, message, remote))
                    return
            log.info("a caller from %s has no key to this door", remote.host)
            self._note("it has no key to this door", remote)
            return
        async with self._greetings:
            answered: Answered = await self.ask(KEYSTORE, AnswerHandshake(frame))
        await send_frame(sock, answered.frame)
        open_confirm(answered.session.keys, await read_frame(sock, CONFIRM_FRAME))
        connection = connection_name(answered.session.device)
        if not self.tell(connection, SessionUp(Fd(sock.fileno()), answered.session, None, remote)):
            log.info("nobody is there to take the session with %s", answered.session.device)
