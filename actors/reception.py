"""The transport's incoming half: strangers are read here and nowhere else.

The rule: a caller gets ``DEADLINE`` seconds and a first frame of one size; if its MAC was not made with this device's
public key or with the words of an open invitation, the socket closes without an answer. Waiting strangers are bounded
in number, and so are those who have shown a key and not yet proved who they are; when either room is full, one of the
source with the most of them goes (``transport/anteroom.py``). The Keystore is asked for one source after the other, so
that whoever calls a thousand times waits for itself; for those who had to go it is not asked at all.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
from collections import OrderedDict
from uuid import UUID

from springline.actors.datagram import Fd
from springline.actors.keeping import Audit
from springline.actors.messages import (
    KEYSTORE,
    PAIRING,
    Answered,
    AnswerHandshake,
    Confirmed,
    PairingKnock,
    SessionUp,
    connection_name,
)
from springline.actors.shell import IoShell
from springline.actors.tally import WINDOW, Tally
from springline.errors import Busy, Malformed, RemoteFault, SpringlineError
from springline.transport.address import Address
from springline.transport.anteroom import Anteroom, source_of
from springline.transport.dialing import tune
from springline.transport.handshaking import DEADLINE, read_frame, send_frame
from springline.transport.listening import Listener, address_of
from springline.transport.noise import CONFIRM_FRAME, FIRST_FRAME, MAC_SIZE, check_mac1, mac1_key, open_confirm
from springline.transport.places import Places

log = logging.getLogger("springline.tcp")

MOST_STRANGERS = 128
"""Incoming sockets that have not yet shown a valid first frame."""

MOST_GUESTS = 256
"""Incoming sockets that have shown one, and not yet proved who they are."""

STRANGERS_TIME = 1.0
GUESTS_TIME = 2.5
"""Seconds that one of these may have, even if its room is full."""

MOST_GREETINGS = 32
"""Incoming handshakes at work in the Keystore at a time; the others wait their turn."""

MOST_OBSERVED = 4096
"""Devices of which is remembered where they called from."""

BREATHER = 0.5
"""Seconds without accepting anybody after descriptors have run out."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Reception:
    """The callers of one transport.

    :param actor: speaks on the bus. :param static_key: this device's public key.
    """

    def __init__(self, actor: IoShell, static_key: bytes) -> None:
        self._actor = actor
        self._mac_key = mac1_key(static_key)
        self.doorbells: tuple[bytes, ...] = ()
        self.observed: OrderedDict[UUID, str] = OrderedDict()
        self._strangers: Anteroom[socket.socket] = Anteroom(MOST_STRANGERS, STRANGERS_TIME)
        self._guests: Anteroom[socket.socket] = Anteroom(MOST_GUESTS, GUESTS_TIME)
        self._greetings = Places(MOST_GREETINGS)
        self._tally = Tally()

    def open(self, listener: Listener) -> None:
        """Take calls from that socket."""
        self._actor.loop.add_reader(listener.sock, self._accept, listener)

    def shut(self, listener: Listener) -> None:
        """Take no more, and close it."""
        self._actor.loop.remove_reader(listener.sock)
        listener.sock.close()

    def close(self) -> None:
        """Close what is still half open, and write down what is only summed up."""
        for line in self._tally.due(math.inf):
            self._audit(line)
        for sock in (*self._strangers.inside, *self._guests.inside):
            sock.close()

    def _accept(self, listener: Listener) -> None:
        for _ in range(64):  # bounded: a flood of calls must not keep the loop from its other work
            try:
                sock, where = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the caller hung up at once, or descriptors have run out
                log.warning("accept: %s", error)
                if error.errno in _EXHAUSTED:  # it would be told again at once, and nothing else be done
                    self._actor.loop.remove_reader(listener.sock)
                    self._actor.loop.call_later(BREATHER, self._reopen, listener)
                return
            sock.setblocking(False)
            tune(sock)
            remote = address_of(where)
            out = self._strangers.enter(sock, source_of(remote.host), self._actor.loop.time())
            if out is sock:
                sock.close()
                continue
            _usher_out(out)
            self._actor.spawn(self._greet(sock, remote))

    def _reopen(self, listener: Listener) -> None:
        if listener.sock.fileno() >= 0:
            self.open(listener)

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

    async def _first_frame(self, sock: socket.socket) -> bytes:
        try:
            return await read_frame(sock, FIRST_FRAME)
        finally:
            self._strangers.leave(sock)

    async def _welcome(self, sock: socket.socket, frame: bytes, remote: Address) -> None:
        tag, message = frame[:MAC_SIZE], frame[MAC_SIZE:]
        if not check_mac1(self._mac_key, message, tag):
            for doorbell in self.doorbells:
                if check_mac1(doorbell, message, tag):
                    self._actor.tell(PAIRING, PairingKnock(Fd(sock.fileno()), doorbell, message, remote))
                    return
            log.info("a caller from %s has no key to this door", remote.host)
            self._note("it has no key to this door", remote)
            return
        source = source_of(remote.host)
        _usher_out(self._guests.enter(sock, source, self._actor.loop.time()))
        try:
            answered = await self._shake_hands(sock, frame, source)
        finally:
            self._guests.leave(sock)
        self._observe(answered.session.device, remote)
        connection = connection_name(answered.session.device)
        if not self._actor.tell(connection, SessionUp(Fd(sock.fileno()), answered.session, None, remote)):
            log.info("nobody is there to take the session with %s", answered.session.device)

    async def _shake_hands(self, sock: socket.socket, frame: bytes, source: str) -> Answered:
        async with self._greetings.take(source):
            if sock not in self._guests:
                raise Busy("too many call from there at the same time")
            answered: Answered = await self._actor.ask(KEYSTORE, AnswerHandshake(frame))
        await send_frame(sock, answered.frame)
        open_confirm(answered.session.keys, await read_frame(sock, CONFIRM_FRAME))
        self._actor.tell(KEYSTORE, Confirmed(answered.session.keys.hash))
        return answered

    def _observe(self, device: UUID, remote: Address) -> None:
        self.observed.pop(device, None)
        self.observed[device] = remote.host
        if len(self.observed) > MOST_OBSERVED:
            self.observed.popitem(last=False)

    def _note(self, reason: str, remote: Address) -> None:
        """Have it in the audit trail that somebody was not let in."""
        line = self._tally.add(reason, remote.host, self._actor.loop.time())
        if line is not None:
            self._audit(line)
            self._actor.loop.call_later(WINDOW + 1.0, self._sum_up)

    def _sum_up(self) -> None:
        for line in self._tally.due(self._actor.loop.time()):
            self._audit(line)

    def _audit(self, line: str) -> None:
        self._actor.tell(KEYSTORE, Audit("caller refused", None, line))


def _usher_out(sock: socket.socket | None) -> None:
    """Have it leave: whoever waits for it in the loop hears that it is closed."""
    if sock is not None and sock.fileno() >= 0:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it was gone already
            log.debug("a caller who had to leave was gone already")
