"""Mallory: a peer that speaks the pairing's wire by itself, honestly or as a test wants it, over real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from springline.protocols.pairing import exchange, offer, uri
from springline.protocols.pairing.exchange import AGREED, Exchange, Role, statement, stored, who
from springline.protocols.pairing.keys import InvitationKeys, keys_of
from springline.protocols.pairing.offer import Offer
from springline.protocols.pairing.sas import commitment_to
from springline.store.identity import PAIRING_CONTEXT, DeviceInfo, NetworkIdentity
from springline.transport.noise import FIRST_FRAME, PAIR, Handshake, mac1, unpad_untrusted
from springline.transport.session import Session

PATIENCE = 10.0


_open: list[socket.socket] = []


def close_all() -> None:
    """Hang up on everybody: at the end of each test."""
    while _open:
        _open.pop().close()


class HungUp(Exception):
    """The other side has closed, and said no more."""


@dataclass
class Line:
    """A socket, and every byte that went over it. :param sent: frames with their lengths, in order."""

    sock: socket.socket
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sock.settimeout(PATIENCE)
        _open.append(self.sock)

    def send(self, raw: bytes) -> None:
        """As they are."""
        self.sent.append(raw)
        try:
            self.sock.sendall(raw)
        except OSError:
            raise HungUp from None

    def send_frame(self, body: bytes) -> None:
        """With the length before it."""
        self.send(len(body).to_bytes(2, "big") + body)

    def receive(self) -> bytes:
        """The body of the next frame. :raises HungUp: there is none."""
        size = int.from_bytes(self._exactly(2), "big")
        return self._exactly(size)

    def is_closed(self) -> bool:
        """Whether nothing more comes; waits for either."""
        try:
            self.receive()
        except HungUp:
            return True
        return False

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self.sock.recv(size - len(data))
            except TimeoutError:
                raise
            except OSError:
                part = b""
            if not part:
                raise HungUp
            data += part
        return data


@dataclass
class Met:
    """A finished handshake. :param theirs: the other side's offer."""

    line: Line
    session: Session
    hash: bytes
    remote_static: bytes
    theirs: Offer

    def say(self, message: bytes) -> None:
        """Seal and send."""
        self.line.send(self.session.seal(message))

    def hear(self) -> bytes:
        """The next message, opened. :raises HungUp: there is none."""
        return bytes(self.session.open(memoryview(bytearray(self.line.receive()))))


class Mallory:
    """:param name: what it says it is called."""

    def __init__(self, name: str = "mallory") -> None:
        self.identity = NetworkIdentity.new()
        self.info: DeviceInfo = self.identity.info(name, ("127.0.0.1:9",))
        self.contribution = os.urandom(exchange.CONTRIBUTION_SIZE)

    # -- as the joiner -------------------------------------------------------------------------------------------------

    def dial(self, invitation: str) -> Line:
        """A socket to whoever gave the invitation."""
        where = uri.parse(invitation).addresses[0]
        return Line(socket.create_connection((where.host, where.port), timeout=PATIENCE))

    def join(self, invitation: str, said: Offer | None = None, tamper: Callable[[bytes], bytes] = bytes) -> Met:
        """The handshake with whoever gave the invitation. :param tamper: changes the first Noise message."""
        line, keys = self.dial(invitation), keys_of(uri.parse(invitation).secret)
        handshake = Handshake.initiate(PAIR, self.identity.static_private, psk=keys.psk)
        knock = tamper(handshake.write(handshake.padding((said or Offer()).encode())))
        line.send_frame(mac1(keys.doorbell, knock) + knock)
        theirs = offer.decode_untrusted(unpad_untrusted(handshake.read(line.receive())), committed=True)
        line.send_frame(handshake.write(handshake.padding()))
        return self._met(line, handshake, theirs)

    def complete(self, met: Met) -> None:
        """The rest of an honest joiner's conversation."""
        met.say(self.who(met, Role.JOINER))
        state = Exchange(Role.JOINER, self.info, met.hash, met.remote_static, met.theirs.commitment)
        state, _ = exchange.receive(state, met.hear())
        met.say(AGREED)
        exchange.receive(state, met.hear())
        met.say(stored(Role.JOINER))

    # -- as the inviter ------------------------------------------------------------------------------------------------

    def answer(self, listener: socket.socket, keys: InvitationKeys, said: Offer | None = None) -> Met:
        """The handshake with whoever calls."""
        sock, _ = listener.accept()
        line = Line(sock)
        handshake = Handshake.respond(PAIR, self.identity.static_private, psk=keys.psk)
        first = line.receive()
        assert len(first) == FIRST_FRAME
        theirs = offer.decode_untrusted(unpad_untrusted(handshake.read(first[16:])), committed=False)
        said = said or Offer(commitment=commitment_to(self.contribution))
        line.send_frame(handshake.write(handshake.padding(said.encode())))
        handshake.read(line.receive())
        return self._met(line, handshake, theirs)

    # -- both ----------------------------------------------------------------------------------------------------------

    def who(self, met: Met, role: Role, info: DeviceInfo | None = None, contribution: bytes | None = None) -> bytes:
        """Who it is, or says it is, signed by itself."""
        info, contribution = info or self.info, contribution or self.contribution
        said = statement(role, met.hash, info, contribution)
        return who(info, contribution, self.identity.sign(said, PAIRING_CONTEXT))

    def _met(self, line: Line, handshake: Handshake, theirs: Offer) -> Met:
        return Met(line, Session(handshake.keys()), handshake.hash, handshake.remote_static, theirs)
