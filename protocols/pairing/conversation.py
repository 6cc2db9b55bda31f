"""One pairing on one socket, from the handshake to both sides' having stored each other.

The rule: what may be said when is decided in ``exchange`` and ``offer``; the keys stay in the Keystore, which does the
handshake's secret part, signs, and derives and stores the relationship key. Here the bytes are moved, each part within
its time: :data:`DEADLINE` for talking, :data:`DECISION` for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from springline.actors.finding import OwnAddresses
from springline.actors.inviting import BeginPairing, CommitPairing, PairingStep, PairingStepped, SignPairing
from springline.actors.messages import KEYSTORE, TRANSPORT, ListDevices, WhoAmI
from springline.errors import Malformed, Misuse, PairingFailed
from springline.events import PairingStage
from springline.protocols.pairing import exchange, offer
from springline.protocols.pairing.exchange import Declined, Exchange, Role, Store
from springline.protocols.pairing.keys import InvitationKeys
from springline.protocols.pairing.offer import Offer
from springline.protocols.pairing.sas import commitment_to, short_string
from springline.protocols.pairing.talk import Talk
from springline.protocols.pairing.watching import Peer, Watched
from springline.store.devices import PairedDevice
from springline.store.identity import DeviceInfo
from springline.transport.address import Address
from springline.transport.handshaking import read_answer, read_frame, send_frame
from springline.transport.noise import SECOND_FRAME, THIRD_FRAME, mac1
from springline.transport.session import Session

DEADLINE = 20.0
"""Seconds for what the two devices say to each other, before their users are asked and again afterwards."""

DECISION = 120.0
"""Seconds for a user to compare and answer."""

FAREWELL = 2.0
"""Seconds that the joiner waits for the inviter to hang up, which it does once its node lists the joiner."""

Ask = Callable[..., Coroutine[Any, Any, Any]]
"""How an actor asks another: ``IoShell.ask``."""


class Conversation:
    """One side of it, used once: :meth:`host` or :meth:`visit`.

    :param watched: told how far it is. :param keys: of the invitation.
    :param sock: connected, non-blocking; the caller's to close. :param remote: where its other end is.

    ``answered`` is true once whoever was called knows the words.
    """

    def __init__(self, ask: Ask, watched: Watched, keys: InvitationKeys, sock: socket.socket, remote: Address) -> None:
        self._ask = ask
        self._watched = watched
        self._keys = keys
        self._sock = sock
        self._remote = remote
        self._mine = secrets.token_bytes(exchange.CONTRIBUTION_SIZE)
        self.answered = False
        self._talk: Talk | None = None
        self._limit = asyncio.timeout(None)

    @contextlib.asynccontextmanager
    async def _in_time(self) -> Any:
        async with self._limit:
            self._give(DEADLINE)
            try:
                yield
            finally:
                if self._talk is not None:
                    self._talk.close()

    def _give(self, seconds: float) -> None:
        self._limit.reschedule(asyncio.get_running_loop().time() + seconds)

    # -- the two roles -------------------------------------------------------------------------------------------------

    async def host(self, first: bytes, believed: Callable[[], None]) -> PairedDevice:
        """The inviter's side.

        :param first: the caller's Noise message 1.
        :param believed: called once the caller is believed; may raise to end it.
        :raises PairingFailed: the users, or the versions, do not go together. :raises Malformed: the other side said
            what it may not. :raises TimeoutError, ConnectionError: it said nothing. The joiner's side raises the same.
        """
        async with self._in_time():
            handle: int = await self._ask(KEYSTORE, BeginPairing(initiator=False, psk=self._keys.psk))
            said = Offer(commitment=commitment_to(self._mine))
            stepped: PairingStepped = await self._ask(KEYSTORE, PairingStep(handle, first, said.encode()))
            await send_frame(self._sock, stepped.message or b"")
            _agree(said, offer.decode_untrusted(stepped.content, committed=False))
            last = await self._ask(KEYSTORE, PairingStep(handle, await read_frame(self._sock, THIRD_FRAME)))
            self._watched.progress(PairingStage.CALLED)
            talk, state = await self._begin(Role.INVITER, last)
            state, _ = exchange.receive(state, await talk.hear())
            believed()
            await self._say_who(talk, state)
            await self._meet(state)
            state, store = await self._settle(talk, state)
            device = await self._commit(handle, store)
            try:
                await talk.say(exchange.stored(Role.INVITER))
                exchange.receive(state, await talk.hear())
            except (OSError, Malformed):
                raise PairingFailed("the other device's last word is missing", "pair again if it stays away") from None
            return device

    async def visit(self, paired: Callable[[PairedDevice], None]) -> PairedDevice:
        """The joiner's side.

        :param paired: called as soon as both sides have stored each other.
        :raises Foreign, HungUp, Mute: whoever was called is not who knows the words.
        """
        async with self._in_time():
            handle: int = await self._ask(KEYSTORE, BeginPairing(initiator=True, psk=self._keys.psk))
            said = Offer()
            stepped: PairingStepped = await self._ask(KEYSTORE, PairingStep(handle, None, said.encode()))
            knock = stepped.message or b""
            await send_frame(self._sock, mac1(self._keys.doorbell, knock) + knock)
            answer = await read_answer(self._sock, SECOND_FRAME)
            last: PairingStepped = await self._ask(KEYSTORE, PairingStep(handle, answer))
            self.answered = True
            theirs = offer.decode_untrusted(last.content, committed=True)
            _agree(said, theirs)
            await send_frame(self._sock, last.message or b"")
            self._watched.progress(PairingStage.CALLED)
            talk, state = await self._begin(Role.JOINER, last, theirs.commitment)
            await self._say_who(talk, state)
            state, _ = exchange.receive(state, await talk.hear())
            await self._meet(state)
            state, store = await self._settle(talk, state)
            device = await self._commit(handle, store)
            await talk.say(exchange.stored(Role.JOINER))
            paired(device)
            await talk.end(FAREWELL)  # when the joiner's user is told, the inviter lists the joiner
            return device

    # -- their parts ---------------------------------------------------------------------------------------------------

    async def _begin(self, role: Role, last: PairingStepped, committed: bytes = b"") -> tuple[Talk, Exchange]:
        """The session, and the conversation's state."""
        if last.keys is None or last.remote_static is None:
            raise Malformed("the handshake is not finished")
        self._talk = Talk(self._sock, Session(last.keys))
        own: DeviceInfo = await self._ask(KEYSTORE, WhoAmI())
        where: tuple[Address, ...] = await self._ask(TRANSPORT, OwnAddresses())
        own = own.with_addresses(tuple(map(str, where)))
        return self._talk, Exchange(role, own, last.keys.hash, last.remote_static, committed)

    async def _say_who(self, talk: Talk, state: Exchange) -> None:
        said = exchange.statement(state.role, state.handshake_hash, state.own, self._mine)
        signature: bytes = await self._ask(KEYSTORE, SignPairing(said))
        await talk.say(exchange.who(state.own, self._mine, signature))

    async def _meet(self, state: Exchange) -> None:
        """Both have said who they are: tell our user, with the digits that the other side's user sees."""
        info, ours = exchange.peer_of(state), (self._mine, state.theirs)
        sas = short_string(state.handshake_hash, *(ours if state.role is Role.INVITER else ours[::-1]))
        devices: tuple[PairedDevice, ...] = await self._ask(KEYSTORE, ListDevices())
        known = next((device.trust for device in devices if device.info.device_id == info.device_id), None)
        self._watched.peer = Peer(info.device_id, info.name, sas, known)
        self._watched.progress(PairingStage.MET)

    async def _settle(self, talk: Talk, state: Exchange) -> tuple[Exchange, Store]:
        """Our user's word, if it is wanted, and the other side's."""
        self._give(DECISION + DEADLINE)
        store = None
        if self._watched.confirm:
            decision = self._watched.ask(datetime.now(UTC) + timedelta(seconds=DECISION))
            overdue = asyncio.get_running_loop().call_later(DECISION, self._overdue)
            try:
                while (message := await talk.hear_before(decision)) is not None:
                    state, store = _agreed(state, message)
            finally:
                overdue.cancel()
            if not decision.result():
                await talk.say(exchange.REFUSED)
                raise PairingFailed("it was not confirmed here", "no word in time counts as no")
        if state.role is Role.JOINER:
            await talk.say(exchange.AGREED)
        self._watched.progress(PairingStage.AGREED)
        while store is None:
            state, store = _agreed(state, await talk.hear())
        self._give(DEADLINE)
        return state, store

    def _overdue(self) -> None:
        with contextlib.suppress(Misuse):  # the answer has come just now
            self._watched.decide(False, datetime.now(UTC))

    async def _commit(self, handle: int, store: Store) -> PairedDevice:
        """Store the other side; its own word on its port, our eyes on its host."""
        ports = [Address.parse_untrusted(address).port for address in store.info.addresses[:1]]
        seen = [str(Address(self._remote.host, port)) for port in ports if port]
        info = store.info.with_addresses((*dict.fromkeys((*seen, *store.info.addresses)),)[:16])
        device: PairedDevice = await self._ask(KEYSTORE, CommitPairing(handle, info, self._mine, store.theirs))
        return device


def _agree(ours: Offer, theirs: Offer) -> None:
    """:raises PairingFailed: the two have no version in common."""
    if ours.agree(theirs) is None:
        spoken = f"version {theirs.lowest}" if theirs.lowest == theirs.highest else "other versions"
        raise PairingFailed(f"the other device speaks {spoken} only", "update the older of the two")


def _agreed(state: Exchange, message: bytes) -> tuple[Exchange, Store]:
    """:raises PairingFailed: the other side's user has said no."""
    state, effect = exchange.receive(state, message)
    if isinstance(effect, Declined):
        raise PairingFailed("it was not confirmed on the other device")
    if not isinstance(effect, Store):
        raise Malformed("a pairing message that is not due")
    return state, effect
