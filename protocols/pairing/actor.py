"""Pairing: keeps the open invitations and runs pairings, ours and others', over sockets of their own.

The rule: what may be said when is decided in ``invitations`` and ``exchange``; the keys stay in the Keystore, which
does the handshake's secret part, signs, and derives and stores the relationship key. This actor moves the bytes, with a
deadline for the whole of a pairing.

An invitation lives in memory only: if this process dies, its words are void and the user asks for new ones.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from springline.actors.messages import (
    CONNECTIONS,
    EVENTS,
    KEYSTORE,
    TRANSPORT,
    BeginPairing,
    CommitPairing,
    DevicesChanged,
    Doorbells,
    Invitation,
    Invite,
    Join,
    ListeningAt,
    PairingKnock,
    PairingStep,
    PairingStepped,
    Publish,
    SignPairing,
    WhichDoorbells,
    WhoAmI,
)
from springline.actors.shell import IoShell, Sender, receives
from springline.errors import Lost, Malformed, Misuse, PairingFailed, SpringlineError, TimedOut
from springline.events import DevicePaired
from springline.protocols.pairing import exchange, uri
from springline.protocols.pairing.exchange import Exchange, Role, Store
from springline.protocols.pairing.invitations import Invitations
from springline.protocols.pairing.keys import InvitationKeys, keys_of
from springline.protocols.pairing.words import SECRET_SIZE, words_of
from springline.store.devices import PairedDevice
from springline.store.identity import DeviceInfo
from springline.transport.address import Address
from springline.transport.dialing import connect, race
from springline.transport.framing import LENGTH_SIZE
from springline.transport.handshaking import read_exactly, read_frame, send_frame
from springline.transport.interfaces import own_addresses
from springline.transport.noise import SECOND_FRAME, TAG_SIZE, THIRD_FRAME, mac1
from springline.transport.session import Session

log = logging.getLogger("springline.pairing")

DEADLINE = 20.0
"""Seconds for a whole pairing."""


@dataclass(frozen=True, slots=True)
class PairingArgs:
    """Nothing needs to be said."""


@dataclass(slots=True)
class _Talk:
    """An authenticated pairing session."""

    sock: socket.socket
    session: Session

    async def say(self, message: bytes) -> None:
        """Send one message."""
        await asyncio.get_running_loop().sock_sendall(self.sock, self.session.seal(message))

    async def hear(self) -> bytes:
        """The other side's next message. :raises Malformed: it is too large, or not genuine."""
        size = int.from_bytes(await read_exactly(self.sock, LENGTH_SIZE), "big")
        if not TAG_SIZE <= size <= exchange.MOST_MESSAGE:
            raise Malformed("a pairing message of that size is not due")
        body = bytearray(await read_exactly(self.sock, size))
        return bytes(self.session.open(memoryview(body)))


class Pairing(IoShell):
    """Answers ``Invite`` and ``Join``; takes ``PairingKnock``."""

    async def start(self, args: PairingArgs) -> None:
        """Begin without invitations."""
        self._invitations = Invitations()
        self._hang_doorbells()

    # -- inviting --------------------------------------------------------------------------------------------------

    @receives(Invite)
    async def invite(self, message: Invite, sender: Sender) -> Invitation:
        """Open an invitation."""
        secret = secrets.token_bytes(SECRET_SIZE)
        where: Address = await self.ask(TRANSPORT, ListeningAt())
        self._invitations, made = self._invitations.invite(secret, time.time())
        self._hang_doorbells()
        self.loop.call_later(made.expires_at - time.time() + 0.1, self._expire)
        expires = datetime.fromtimestamp(made.expires_at, UTC)
        return Invitation(words_of(secret), uri.build(secret, own_addresses(where)), expires)

    def _expire(self) -> None:
        self._invitations = self._invitations.current(time.time())
        self._hang_doorbells()

    def _hang_doorbells(self) -> None:
        self.tell(TRANSPORT, Doorbells(self._invitations.doorbells))

    @receives(WhichDoorbells)
    def which_doorbells(self, message: WhichDoorbells, sender: Sender) -> None:
        """The transport has been restarted."""
        self._hang_doorbells()

    @receives(PairingKnock)
    async def knock(self, message: PairingKnock, sender: Sender) -> None:
        """Somebody calls who knows the words."""
        with socket.socket(fileno=message.socket.take()) as sock:
            sock.setblocking(False)
            try:
                self._invitations, invited = self._invitations.knock(message.doorbell, time.time())
                self._hang_doorbells()
                async with asyncio.timeout(DEADLINE):
                    await self._host(sock, invited.keys, message)
            except (SpringlineError, OSError) as error:
                log.warning("a pairing from %s came to nothing: %s", message.remote.host, error or "no answer in time")

    async def _host(self, sock: socket.socket, keys: InvitationKeys, knock: PairingKnock) -> None:
        handle: int = await self.ask(KEYSTORE, BeginPairing(initiator=False, psk=keys.psk))
        stepped: PairingStepped = await self.ask(KEYSTORE, PairingStep(handle, knock.frame))
        await send_frame(sock, stepped.message or b"")
        last: PairingStepped = await self.ask(KEYSTORE, PairingStep(handle, await read_frame(sock, THIRD_FRAME)))
        talk, state, mine = await self._introduce(sock, handle, last, Role.INVITER)
        state, store = exchange.receive(state, await talk.hear())
        if not isinstance(store, Store):
            raise Malformed("the joiner has not said who it is")
        self._invitations = self._invitations.use(keys.doorbell)
        self._hang_doorbells()
        device = await self._commit(handle, store, mine, knock.remote)
        await talk.say(exchange.stored(Role.INVITER))
        exchange.receive(state, await talk.hear())
        self._paired(device)

    # -- joining ---------------------------------------------------------------------------------------------------

    @receives(Join)
    async def join(self, message: Join, sender: Sender) -> PairedDevice:
        """Pair with whoever gave the words."""
        invited = uri.parse(message.words)
        addresses = message.addresses or invited.addresses
        if not addresses:
            raise Misuse("words alone do not say where the other device is", "add --address, or use the URI")
        keys = keys_of(invited.secret)
        try:
            async with asyncio.timeout(DEADLINE):
                sock, address = await self._reach(addresses)
                with sock:
                    return await self._visit(sock, keys, address)
        except (ConnectionError, Lost):
            raise PairingFailed("the other device gave no answer", "are the words right, and still good?") from None
        except TimeoutError:
            raise TimedOut(f"the pairing was not through in {DEADLINE:g} s") from None
        except Malformed as error:
            raise PairingFailed(f"the other device said what it may not: {error.message}") from None

    async def _reach(self, addresses: Sequence[Address]) -> tuple[socket.socket, Address]:
        async def attempt(address: Address) -> tuple[socket.socket, Address]:
            return await connect(address), address

        return await race(addresses, attempt, lambda late: late[0].close())

    async def _visit(self, sock: socket.socket, keys: InvitationKeys, address: Address) -> PairedDevice:
        handle: int = await self.ask(KEYSTORE, BeginPairing(initiator=True, psk=keys.psk))
        first: PairingStepped = await self.ask(KEYSTORE, PairingStep(handle, None))
        knock = first.message or b""
        await send_frame(sock, mac1(keys.doorbell, knock) + knock)
        answer = await read_frame(sock, SECOND_FRAME)
        last: PairingStepped = await self.ask(KEYSTORE, PairingStep(handle, answer))
        await send_frame(sock, last.message or b"")
        talk, state, mine = await self._introduce(sock, handle, last, Role.JOINER)
        state, _ = exchange.receive(state, await talk.hear())
        state, store = exchange.receive(state, await talk.hear())
        if not isinstance(store, Store):
            raise Malformed("the inviter has not stored us")
        device = await self._commit(handle, store, mine, address)
        await talk.say(exchange.stored(Role.JOINER))
        self._paired(device)
        return device

    # -- both ------------------------------------------------------------------------------------------------------

    async def _introduce(
        self, sock: socket.socket, handle: int, last: PairingStepped, role: Role
    ) -> tuple[_Talk, Exchange, bytes]:
        """Say who we are; the session, the conversation's state, and our contribution."""
        if last.keys is None or last.remote_static is None:
            raise Malformed("the handshake is not finished")
        own = await self._own_info()
        talk = _Talk(sock, Session(last.keys))
        mine = secrets.token_bytes(exchange.CONTRIBUTION_SIZE)
        said = exchange.statement(role, last.keys.hash, own, mine)
        signature: bytes = await self.ask(KEYSTORE, SignPairing(said))
        await talk.say(exchange.who(own, mine, signature))
        return talk, Exchange(role, own, last.keys.hash, last.remote_static), mine

    async def _own_info(self) -> DeviceInfo:
        """Who we are, and where we can be dialled."""
        own: DeviceInfo = await self.ask(KEYSTORE, WhoAmI())
        where: Address = await self.ask(TRANSPORT, ListeningAt())
        return own.with_addresses(tuple(map(str, own_addresses(where))))

    async def _commit(self, handle: int, store: Store, mine: bytes, remote: Address) -> PairedDevice:
        """Store the other side; its own word on its port, our eyes on its host."""
        ports = [Address.parse_untrusted(address).port for address in store.info.addresses[:1]]
        seen = [str(Address(remote.host, port)) for port in ports if port]
        info = store.info.with_addresses((*dict.fromkeys((*seen, *store.info.addresses)),)[:16])
        device: PairedDevice = await self.ask(KEYSTORE, CommitPairing(handle, info, mine, store.theirs))
        return device

    def _paired(self, device: PairedDevice) -> None:
        self.tell(CONNECTIONS, DevicesChanged())
        self.tell(EVENTS, Publish(DevicePaired(device.info.device_id, device.info)))

