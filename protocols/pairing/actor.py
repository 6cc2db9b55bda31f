"""Pairing: keeps the open invitations and runs pairings, ours and others', over sockets of their own.

The rule: here is decided who may try, and how often; ``conversation`` is one try. Each invitation and each joining is
watched (``watching``): followers are told how far it is and how it ends.

An invitation lives in memory only: if this process dies, its words are void and the user asks for new ones.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from springline.actors.finding import DHT, MDNS, FoundInviter, OwnAddresses, Rendezvous, WhichRendezvous
from springline.actors.inviting import Invitation, Invite, Join
from springline.actors.keeping import Audit
from springline.actors.messages import (
    CONNECTIONS,
    EVENTS,
    KEYSTORE,
    TRANSPORT,
    DevicesChanged,
    Doorbells,
    ListeningAt,
    PairingKnock,
    Publish,
    WhichDoorbells,
)
from springline.actors.names import is_registered
from springline.actors.shell import LATER, IoShell, Sender, receives
from springline.errors import Misuse, PairingFailed, Refused, SpringlineError, Unreachable
from springline.events import DevicePaired, PairingStage
from springline.protocols.pairing import reasons, uri
from springline.protocols.pairing.conversation import Conversation
from springline.protocols.pairing.exchange import Role
from springline.protocols.pairing.failures import Failures
from springline.protocols.pairing.invitations import Invitations, OpenInvitation
from springline.protocols.pairing.keys import InvitationKeys, keys_of
from springline.protocols.pairing.search import Search
from springline.protocols.pairing.watching import (
    ConfirmPairing,
    FollowPairing,
    PairingEvent,
    PairingNews,
    Watched,
    Watching,
)
from springline.protocols.pairing.words import SECRET_SIZE, words_of
from springline.store.devices import PairedDevice
from springline.transport.address import Address
from springline.transport.dialing import connect, race
from springline.transport.lineup import Target

log = logging.getLogger("springline.pairing")

KNOCKING = 15.0
"""Seconds after which no further address of an invitation is tried, once one of them was taken by somebody else."""

SEARCH = 60.0
"""Seconds that the device which gave the words is looked for."""


@dataclass(frozen=True, slots=True)
class PairingArgs:
    """Nothing needs to be said."""


@dataclass(slots=True)
class _Host:
    """An open invitation, or one whose caller is inside.

    :param callers: how many are inside. :param believed: whether one of them has used it up.
    :param heard: the first messages that callers have made: whoever repeats one need not know the words.
    """

    invited: OpenInvitation
    watched: Watched
    callers: int = 0
    believed: bool = False
    heard: set[bytes] = field(default_factory=set)


class _InVain(Exception):
    """Somebody took the call, and no pairing came of it. :param answered: it was who knows the words."""

    def __init__(self, address: Address, error: Exception, answered: bool) -> None:
        super().__init__(str(error))
        self.address, self.error, self.answered = address, error, answered


class Pairing(IoShell):
    """Answers ``Invite``, ``Join``, ``FollowPairing`` and ``ConfirmPairing``; takes ``PairingKnock``."""

    async def start(self, args: PairingArgs) -> None:
        """Begin without invitations."""
        self._invitations = Invitations()
        self._hosts: dict[bytes, _Host] = {}
        self._watching = Watching(self._publish)
        self._failures = Failures()
        self._searches: dict[bytes, Search] = {}
        self.loop.call_soon(self._changed)  # not before: the finders' answers come by our name

    # -- inviting --------------------------------------------------------------------------------------------------

    @receives(Invite)
    async def invite(self, message: Invite, sender: Sender) -> Invitation:
        """Open an invitation."""
        self._expect_open()
        secret = secrets.token_bytes(SECRET_SIZE)
        own: tuple[Address, ...] = await self.ask(TRANSPORT, OwnAddresses())
        self._invitations, made = self._invitations.invite(secret, time.time())
        watched = self._watching.open(Role.INVITER, confirm=message.confirm)
        self._hosts[made.keys.doorbell] = _Host(made, watched)
        self._changed()
        self.loop.call_later(made.expires_at - time.time() + 0.1, self._changed)
        expires = datetime.fromtimestamp(made.expires_at, UTC)
        return Invitation(words_of(secret), uri.build(secret, own), expires, watched.id)

    def _changed(self) -> None:
        """Hang the doorbells of the invitations that are open, and tell of those that are not any more."""
        now = time.time()
        self._invitations = self._invitations.current(now)
        still = {one.keys.doorbell: one for one in self._invitations.open}
        for doorbell, host in list(self._hosts.items()):
            one = still.get(doorbell)
            if host.callers or (one is not None and one.attempts_left > 0):
                continue
            if one is not None:
                self._invitations = self._invitations.use(doorbell)
            expired = now >= host.invited.expires_at
            self._end_host(doorbell, reasons.why_over(expired=expired, closed=one is None))
        shut = self._failures.shut_for(self.loop.time()) > 0
        self.tell(TRANSPORT, Doorbells(() if shut else self._invitations.doorbells))
        self._tell_finders()

    def _end_host(self, doorbell: bytes, error: SpringlineError | None, device: PairedDevice | None = None) -> None:
        self._hosts.pop(doorbell).watched.end(device, error)

    @receives(WhichDoorbells)
    def which_doorbells(self, message: WhichDoorbells, sender: Sender) -> None:
        """The transport has been restarted."""
        self._changed()

    @receives(PairingKnock)
    async def knock(self, message: PairingKnock, sender: Sender) -> None:
        """Somebody calls who knows the words."""
        with socket.socket(fileno=message.socket.take()) as sock:
            sock.setblocking(False)
            host = self._hosts.get(message.doorbell)
            try:
                if host is not None and message.frame in host.heard:
                    raise Refused("its first message has been seen before")  # which costs the others no attempt
                self._invitations, invited = self._invitations.knock(message.doorbell, time.time())
            except SpringlineError as error:
                self._audit("pairing refused", None, f"a caller from {message.remote.host}: {error.message}")
                return
            if host is not None:
                host.heard.add(message.frame)
                await self._let_in(sock, message, host, invited.keys)

    async def _let_in(self, sock: socket.socket, knock: PairingKnock, host: _Host, keys: InvitationKeys) -> None:
        inside = False

        def believed() -> None:
            nonlocal inside
            self._invitations = self._invitations.use(keys.doorbell)
            inside = host.believed = True
            self._changed()

        host.callers += 1
        self._changed()
        try:
            conversation = Conversation(self.ask, host.watched, keys, sock, knock.remote)
            device = await conversation.host(knock.frame, believed)
        except (SpringlineError, OSError) as error:
            told = reasons.told(error, met=host.watched.peer.device_id is not None)
            log.warning("a pairing from %s came to nothing: %s", knock.remote.host, told)
            self._failed(host.watched, f"a caller from {knock.remote.host}: {told.message}")
            if inside:
                self._end_host(keys.doorbell, told)
                self.tell(CONNECTIONS, DevicesChanged())  # it may be stored all the same
            elif not host.believed:
                host.watched.progress(PairingStage.BROKEN_OFF, told.message)
        else:
            self._paired(device)
            self._end_host(keys.doorbell, None, device)
        finally:
            host.callers -= 1
            self._changed()

    # -- joining ---------------------------------------------------------------------------------------------------

    @receives(Join)
    def join(self, message: Join, sender: Sender) -> str:
        """Begin to pair with whoever gave the words."""
        self._expect_open()
        invited = uri.parse(message.words)
        keys = keys_of(invited.secret)
        if keys.tag in self._searches:
            raise Misuse("whoever gave these words is being looked for already")
        seek = not message.addresses and self._tell_finders()
        addresses = message.addresses or invited.addresses
        if not (addresses or seek):
            raise Misuse("words alone do not say where the other device is", "add --address, or use the URI")
        watched = self._watching.open(Role.JOINER, confirm=message.confirm)
        if seek:
            self._searches[keys.tag] = Search()
        self.spawn(self._visit(watched, keys, addresses))
        return watched.id

    async def _visit(self, watched: Watched, keys: InvitationKeys, addresses: Sequence[Address]) -> None:
        search = self._searches.get(keys.tag)
        try:
            device = await self._reach(watched, keys, addresses, search)
        except _InVain as vain:
            told = reasons.told_of(vain.address, vain.error, met=watched.peer.device_id is not None)
            self._failed(watched, f"joining at {vain.address.host}: {told.message}")
            self.tell(CONNECTIONS, DevicesChanged())  # it may be stored all the same
            watched.end(error=told)
        except SpringlineError as error:
            watched.end(error=reasons.unreached(error))
        else:
            watched.end(device)
        finally:
            if search is not None:
                del self._searches[keys.tag]
                self._tell_finders()

    async def _reach(
        self, watched: Watched, keys: InvitationKeys, addresses: Sequence[Address], search: Search | None
    ) -> PairedDevice:
        """Where it was said to be, or wherever it is."""
        if addresses:
            try:
                return await self._knock(watched, keys, addresses)
            except Unreachable:
                if search is None:
                    raise
        assert search is not None  # noqa: S101 - one of the two ways there is
        return await self._seek(watched, keys, search)

    async def _knock(self, watched: Watched, keys: InvitationKeys, addresses: Sequence[Address]) -> PairedDevice:
        """Knock at one address after the other, where somebody else may be by now: each knock uses up an attempt.

        :raises _InVain: nothing came of it. :raises Unreachable: nobody takes the call; no words were tried.
        """
        own: Address = await self.ask(TRANSPORT, ListeningAt())
        left, until, vain = list(addresses), self.loop.time() + KNOCKING, None

        async def attempt(target: Target) -> tuple[socket.socket, Address]:
            return await connect(target, own=(own,)), target.address

        while left and (vain is None or (not vain.answered and self.loop.time() < until)):
            try:
                sock, address = await race(left, attempt, lambda late: late[0].close())
            except SpringlineError as error:
                raise vain or error from None
            with sock:
                conversation = Conversation(self.ask, watched, keys, sock, address)
                try:
                    return await conversation.visit(self._paired)
                except (SpringlineError, OSError) as error:
                    vain = _InVain(address, error, conversation.answered)
                    left = [other for other in left if other != address]
        assert vain is not None  # noqa: S101 - there was at least one
        raise vain

    # -- looking for each other ------------------------------------------------------------------------------------

    async def _seek(self, watched: Watched, keys: InvitationKeys, search: Search) -> PairedDevice:
        """Try wherever whoever gave the words is found; whoever knows them ends it, for good or bad."""
        watched.progress(PairingStage.SEARCHING)
        self._tell_finders()
        last = ""
        try:
            async with asyncio.timeout(SEARCH) as limit:
                while True:
                    addresses, end = await search.next(), limit.when()
                    limit.reschedule(None)
                    try:
                        return await self._knock(watched, keys, addresses)
                    except _InVain as vain:
                        if vain.answered:
                            raise
                        search.wrong(vain.address)
                        last = f"{vain.address}: somebody else is there"
                    except SpringlineError as error:
                        last = error.message
                    limit.reschedule(end)
        except TimeoutError:
            raise reasons.not_found(SEARCH, last) from None

    @receives(FoundInviter)
    def found_inviter(self, message: FoundInviter, sender: Sender) -> None:
        """Somebody who knows the words says where it is."""
        search = self._searches.get(message.secret)
        if search is not None:
            search.tell(message.addresses)

    @receives(WhichRendezvous)
    def which_rendezvous(self, message: WhichRendezvous, sender: Sender) -> None:
        """A finder has been restarted."""
        self._tell_finders()

    def _tell_finders(self) -> bool:
        """Whom to announce, and whom to look for; True if any finder is there, or will be again in a moment."""
        shut = self._failures.shut_for(self.loop.time()) > 0
        offered = () if shut else tuple(one.keys.tag for one in self._invitations.open if one.attempts_left > 0)
        news = Rendezvous(offered, tuple(self._searches))
        for finder in (MDNS, DHT):
            self.tell(finder, news)
        return any(is_registered(self.bus_directory, finder) for finder in (MDNS, DHT))

    # -- followers -------------------------------------------------------------------------------------------------

    @receives(FollowPairing)
    def follow(self, message: FollowPairing, sender: Sender) -> object:
        """Tell what is new, or wait until there is something."""
        news: PairingNews | None = self._watching[message.pairing].follow(message.seen, sender)
        return LATER if news is None else news

    @receives(ConfirmPairing)
    def confirm(self, message: ConfirmPairing, sender: Sender) -> None:
        """Our user's word."""
        self._watching[message.pairing].decide(message.yes, datetime.now(UTC))

    def _publish(self, event: PairingEvent) -> None:
        self.tell(EVENTS, Publish(event))

    # -- how it ends -----------------------------------------------------------------------------------------------

    def _paired(self, device: PairedDevice) -> None:
        self.tell(CONNECTIONS, DevicesChanged())
        self.tell(EVENTS, Publish(DevicePaired(device.info.device_id, device.info)))

    def _failed(self, watched: Watched, detail: str) -> None:
        """Count it, and write it down."""
        now = self.loop.time()
        self._failures = self._failures.add(now)
        self._audit("pairing failed", watched.peer.device_id, detail)
        shut = self._failures.shut_for(now)
        if shut:
            self._audit("pairing shut", None, f"too many have failed; open again in {shut:.0f} s")
            self.loop.call_later(shut + 0.1, self._changed)

    def _expect_open(self) -> None:
        shut = self._failures.shut_for(self.loop.time())
        if shut:
            raise PairingFailed("too many pairings have failed lately", f"try again in {shut:.0f} s")

    def _audit(self, kind: str, device: UUID | None, detail: str) -> None:
        self.tell(KEYSTORE, Audit(kind, device, detail))
