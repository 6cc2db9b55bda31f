"""DeviceConnection: the link to one paired device; one process each, so one peer's trouble stays with one peer.

The rule: the link's life is decided in ``transport/link.py`` and kept by ``transport/driver.py``, the session's bytes
are moved by ``transport/channel.py``; here they are tied to the node: the Keystore knows the addresses, the transport
brings sessions, handlers get the messages and streams, the manager and the EventHub hear what happened. All of it runs
in the actor's asyncio loop.

A session that breaks fails what was waiting on it: who sent a message is told that its fate is unknown, who streams a
file is told to offer it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from blake3 import blake3

from springline.actors import rotating
from springline.actors.carrying import OpenStream, SendMessage, StreamEnded, StreamMoved
from springline.actors.delivery import Delivery
from springline.actors.finding import AlsoTry, Found, NetworkChanged, WhatWasFound
from springline.actors.keeping import SessionNoted
from springline.actors.messages import (
    CONNECTIONS,
    EVENTS,
    KEYSTORE,
    TRANSPORT,
    Contact,
    DialDevice,
    DialEnded,
    LinkStatus,
    LinkWanted,
    Publish,
    RevokedNow,
    RotateKeys,
    SawAt,
    SessionUp,
    SocketIsUp,
    StopDialling,
    Tuned,
)
from springline.actors.refreshing import consult
from springline.actors.shell import LATER, IoShell, Sender, receives
from springline.actors.tuning import learn, retry_of
from springline.errors import Lost, NotConnected, SpringlineError
from springline.events import DeviceConnected, DeviceDisconnected, MessageReceived
from springline.store.preferences import Tuning
from springline.transport import link
from springline.transport.address import Address
from springline.transport.channel import Channel, ChannelUser
from springline.transport.driver import LinkDriver
from springline.transport.link import Phase
from springline.transport.refresh import Ask, RefreshLimits
from springline.transport.splice import StreamEnd, digest_of
from springline.transport.story import Entry

log = logging.getLogger("springline.connection")

APP = "app"
"""Messages of this protocol are for the app itself and become events."""

STILL_THERE = 3600.0
"""Seconds after which a device that stays connected is said to have been seen again."""


@dataclass(frozen=True, slots=True)
class ConnectionArgs:
    """:param own: this device's id. :param device: the peer's. :param refresh: how long a session's keys serve."""

    own: UUID
    device: UUID
    refresh: RefreshLimits = field(default_factory=RefreshLimits)


@dataclass(slots=True)
class _Session:
    """A session handed over by the transport: adopted, or about to be closed."""

    channel: Channel
    remote: Address
    dialled: bool
    tag: int
    handshake: bytes  # its hash
    began: datetime | None = None  # when it was adopted


class DeviceConnection(IoShell, ChannelUser):
    """Takes ``LinkWanted``, sessions and dial results; carries ``SendMessage`` and ``OpenStream``."""

    async def start(self, args: ConnectionArgs) -> None:
        """Begin disconnected; the manager says what is wanted."""
        self._args = args
        self._device = args.device
        jitter = random.random  # spreads retries, hides nothing
        self._tuning = Tuning()
        retry = retry_of(self._tuning)
        self._link: LinkDriver[_Session] = LinkDriver(self, retry, self.loop, jitter, time.time)
        self._waiting: dict[tuple[int, int], Callable[[object], object]] = {}
        self._streams: dict[tuple[int, int], tuple[str, bytes]] = {}
        self._delivery = Delivery(self, args.device)
        self._still_there()
        self.spawn(self._learn_tuning())

    async def stop(self) -> None:
        """Say goodbye, so that the other side need not find out."""
        self._saw()
        self._link.close("the node is stopping")

    async def _learn_tuning(self) -> None:
        usual = self._tuning
        learnt = await learn(self.ask, self._device)
        if learnt is not None and self._tuning is usual:  # else the user has chosen meanwhile
            self._tune(learnt)

    def _tune(self, tuning: Tuning) -> None:
        """Keep the link up like that, the session in use included."""
        if tuning != self._tuning:
            self._tuning = tuning
            self._link.step(link.Tuned(retry_of(tuning)))
            for session in self._link.sessions.values():
                session.channel.keep_alive(tuning.keepalive)

    # -- what the link machine does: see transport/driver.py ---------------------------------------------------------

    def dial(self, attempt: int) -> None:
        """Dial the device, where it was last and where it is said to be."""
        self.spawn(self._dial(attempt))

    async def _dial(self, attempt: int) -> None:
        try:
            addresses = await self.ask(KEYSTORE, Contact(self._device))
        except SpringlineError as error:
            self._link.step(link.DialFailed(attempt, str(error)))
            return
        if not self._link.awaits(attempt):  # it was called off while the Keystore thought about it
            return
        if not self.tell(TRANSPORT, DialDevice(self._device, attempt, self._link.ways(addresses))):
            self._link.step(link.DialFailed(attempt, "the transport is being restarted"))

    def join_dial(self, attempt: int, addresses: tuple[Address, ...]) -> None:
        """Further addresses for a dial in flight."""
        self.tell(TRANSPORT, AlsoTry(self._device, attempt, addresses))

    def stop_dialling(self, attempt: int) -> None:
        """Its result is not wanted any more."""
        self.tell(TRANSPORT, StopDialling(self._device, attempt))

    def adopted(self, session: _Session) -> None:
        """From now on this session carries the link."""
        self.tell(KEYSTORE, SawAt(self._device, session.remote if session.dialled else None))
        session.began = datetime.now(UTC)
        self.tell(KEYSTORE, SessionNoted(self._device, session.began, session.dialled, str(session.remote)))
        self.spawn(rotating.rotate(self, self._device, session.handshake, lambda said: self._say(session, said)))

    def dropped(self, tag: int, session: _Session, reason: str) -> None:
        """A session is over: note it, and tell who waits for an answer on it."""
        self._note_end(session, reason)
        self._fail_waiting(tag, reason)

    async def _say(self, session: _Session, message: bytes) -> object:
        """Send a message of the Keystore's over that session; the answer."""
        tag = session.tag
        if tag not in self._link.sessions:
            raise Lost("the session has ended")
        answer: asyncio.Future[object] = self.loop.create_future()
        self._waiting[tag, session.channel.send_request(rotating.PROTOCOL, message, 0)] = answer.set_result
        return await answer

    def _note_end(self, session: _Session, reason: str) -> None:
        if session.began is not None:
            began = SessionNoted(self._device, session.began, session.dialled, str(session.remote))
            moved = session.channel.received, session.channel.sent
            ended = replace(began, ended=datetime.now(UTC), reason=reason, received=moved[0], sent=moved[1])
            self.tell(KEYSTORE, ended)

    def _saw(self) -> None:
        if self._link.current is not None:
            self.tell(KEYSTORE, SawAt(self._device, None))

    def _still_there(self) -> None:
        self._saw()
        self.loop.call_later(STILL_THERE, self._still_there)

    def changed(self, change: link.Changed) -> None:
        """Tell whom it concerns."""
        log.info("%s: %s → %s: %s", self._device, change.before.value, change.after.value, change.reason)
        if change.after is Phase.CONNECTED and change.before is not Phase.CONNECTED:
            self._publish(DeviceConnected(self._device))
        elif change.before is Phase.CONNECTED and change.after is not Phase.CONNECTED:
            self.tell(KEYSTORE, SawAt(self._device, None))
            self._publish(DeviceDisconnected(self._device, change.reason))

    def reported(self, entry: Entry) -> None:
        """Tell the manager how things stand, and why."""
        state = self._link.state
        due = state.deadline if state.phase is Phase.RECONNECTING else None
        self.tell(
            CONNECTIONS,
            LinkStatus(
                self._device,
                f"Failed({state.reason})" if state.phase is Phase.FAILED else state.phase.value,
                self._wall(state.since),
                state.reason,
                None if due is None else self._wall(due),
                entry,
            ),
        )

    def _wall(self, moment: float) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=moment - self.loop.time())

    def _publish(self, event: object) -> None:
        self.tell(EVENTS, Publish(event))

    # -- what the manager and the transport say --------------------------------------------------------------------

    @receives(LinkWanted)
    def wanted(self, message: LinkWanted, sender: Sender) -> None:
        """Shall the link be up, and what may the device do on it?"""
        if message.trust is not None:
            self._delivery.trust(message.trust)
        self._link.step(link.Wanted() if message.wanted else link.Unwanted())

    @receives(RevokedNow)
    def revoked(self, message: RevokedNow, sender: Sender) -> None:
        """Close at once and for good."""
        self._link.step(link.Revoked(message.reason))

    @receives(Tuned)
    def tuned(self, message: Tuned, sender: Sender) -> None:
        """The user wants it kept up like that."""
        self._tune(message.tuning)

    @receives(Found)
    def found(self, message: Found, sender: Sender) -> None:
        """The device has said where it is; so it seeks us, whatever we think of the link."""
        self._link.found(message.via, message.addresses, message.issued_at)

    @receives(WhatWasFound)
    def what_was_found(self, message: WhatWasFound, sender: Sender) -> tuple[Found, ...]:
        """Where the device has said that it is."""
        found = self._link.found_so_far
        return tuple(Found(self._device, one.addresses, via, one.issued_at) for via, one in found.items())

    @receives(NetworkChanged)
    def network_changed(self, message: NetworkChanged, sender: Sender) -> None:
        """What was true of the network may not be any more: doubt sessions, and dial without waiting."""
        self._link.network_changed(message.what, message.gone)

    @receives(SocketIsUp)
    def socket_is_up(self, message: SocketIsUp, sender: Sender) -> None:
        """The dial has got through to a socket."""
        self._link.step(link.SocketUp(message.attempt, str(message.remote)))

    @receives(DialEnded)
    def dial_ended(self, message: DialEnded, sender: Sender) -> None:
        """The dial has failed."""
        self._link.step(link.DialFailed(message.attempt, message.reason))

    @receives(SessionUp)
    def session_up(self, message: SessionUp, sender: Sender) -> None:
        """The transport hands over an authenticated session."""
        sock = socket.socket(fileno=message.socket.take())
        dialled = message.attempt is not None
        tag = self._link.next_tag()
        channel = Channel(
            sock,
            message.session.keys,
            dialled=dialled,
            keepalive=self._tuning.keepalive,
            user=self,
            tag=tag,
            refresh=self._args.refresh,
        )
        session = _Session(channel, message.remote, dialled, tag, message.session.keys.hash)
        by_lower_id = (self._args.own < self._device) == dialled
        where = str(message.remote) if dialled else message.remote.host  # a caller's port is another one each time
        self._link.established(
            tag, session, message.session.epoch, by_lower_id=by_lower_id, attempt=message.attempt, where=where
        )

    # -- what the channel says -------------------------------------------------------------------------------------

    def channel_lost(self, tag: int, reason: str) -> None:
        """The session's socket closed, broke, or is silent."""
        self._link.lost(tag, reason)

    def refresh_asks(self, tag: int, question: Ask) -> None:
        """The session's keys are to be refreshed."""
        self.spawn(self._consult(tag, question))

    async def _consult(self, tag: int, question: Ask) -> None:
        answer = await consult(self.ask, self._device, question)
        if tag in self._link.sessions:
            self._link.sessions[tag].channel.refresh_told(answer)

    def _fail_waiting(self, tag: int, reason: str) -> None:
        for key in [key for key in self._waiting if key[0] == tag]:
            lost = Lost(f"the link was lost before the answer came ({reason})", "send it again if it may repeat")
            self._waiting.pop(key)(lost)

    # -- messages --------------------------------------------------------------------------------------------------

    @receives(SendMessage)
    def send_message(self, message: SendMessage, sender: Sender) -> object:
        """Send over the link; the answer follows when the other side has handled it."""
        tag, channel = self._connected()
        request = channel.send_request(message.protocol, message.payload, message.priority)
        self._waiting[tag, request] = sender.reply
        return LATER

    def _connected(self) -> tuple[int, Channel]:
        """The session in use, by tag. :raises NotConnected: there is none."""
        tag = self._link.current
        if tag is None:
            raise NotConnected(f"the device is not connected: {self._link.state.reason}")
        return tag, self._link.sessions[tag].channel

    def answered(self, tag: int, request: int, answer: bytes | SpringlineError | None) -> None:
        """The other side has handled a message of ours, or says why not."""
        reply = self._waiting.pop((tag, request), None)
        if reply is not None:
            reply(answer)

    def requested(self, tag: int, request: int, protocol: str, payload: bytes) -> None:
        """A message came in."""
        if protocol == APP:
            self._publish(MessageReceived(self._device, payload))
            self._reply_to(tag, request, None)
        elif protocol == rotating.PROTOCOL and tag in self._link.sessions:
            self.spawn(self._rotate(tag, request, payload))
        else:
            self.spawn(self._deliver(tag, request, protocol, payload))

    async def _rotate(self, tag: int, request: int, payload: bytes) -> None:
        answer: bytes | SpringlineError | None
        message = RotateKeys(self._device, self._link.sessions[tag].handshake, payload)
        try:
            answer = await self.ask(KEYSTORE, message)
        except SpringlineError as error:
            answer = error
        self._reply_to(tag, request, answer)

    async def _deliver(self, tag: int, request: int, protocol: str, payload: bytes) -> None:
        answer: bytes | SpringlineError | None
        try:
            answer = await self._delivery.message(protocol, payload, lambda: tag in self._link.sessions)
        except SpringlineError as error:
            answer = error
        self._reply_to(tag, request, answer)

    def _reply_to(self, tag: int, request: int, answer: bytes | SpringlineError | None) -> None:
        session = self._link.sessions.get(tag)
        if session is not None:
            session.channel.send_answer(request, answer)

    # -- streams ---------------------------------------------------------------------------------------------------

    @receives(OpenStream)
    async def open_stream(self, message: OpenStream, sender: Sender) -> None:
        """Send a file's bytes to the other side's handler."""
        fd = message.source.take()
        try:
            digest = await self._digest(fd, message.offset)
            tag, channel = self._connected()
        except (SpringlineError, OSError) as error:
            os.close(fd)
            self._refuse_to_open(message, sender, error)
            return
        try:
            stream = channel.open_stream(message.protocol, message.header, fd, message.offset, message.size, digest)
        except SpringlineError as error:
            self._refuse_to_open(message, sender, error)
            return
        self._streams[tag, stream] = sender.path, message.token

    async def _digest(self, fd: int, size: int) -> blake3:
        """The digest of a file's beginning, computed beside the loop."""
        return await self.loop.run_in_executor(None, digest_of, fd, size)

    def _refuse_to_open(self, message: OpenStream, sender: Sender, error: Exception) -> None:
        end = StreamEnd(0, message.protocol, message.header, error=str(error))
        self.tell(sender.path, self._ended(end, message.token))

    def stream_moved(self, tag: int, stream: int, done: int) -> None:
        """A stream of ours has got on."""
        opened = self._streams.get((tag, stream))
        if opened is not None:
            self.tell(opened[0], StreamMoved(opened[1], done))

    def stream_offered(self, tag: int, stream: int, protocol: str, header: bytes) -> None:
        """The other side opens a stream."""
        self.spawn(self._find_sink(tag, stream, protocol, header))

    async def _find_sink(self, tag: int, stream: int, protocol: str, header: bytes) -> None:
        try:
            sink = await self._delivery.stream(protocol, header, lambda: tag in self._link.sessions)
            digest = await self._digest(sink.file.fileno(), sink.offset)
        except (SpringlineError, OSError) as error:
            if tag in self._link.sessions:
                self._link.sessions[tag].channel.refuse_stream(stream, str(error))
            return
        if tag in self._link.sessions:
            self._link.sessions[tag].channel.accept_stream(stream, sink.file.take(), sink.offset, sink.limit, digest)

    def stream_ended(self, tag: int, end: StreamEnd) -> None:
        """A stream is over, either way; its handler decides what that means."""
        if end.incoming:
            self.spawn(self._tell_handler(end))
            return
        opened = self._streams.pop((tag, end.stream), None)
        if opened is not None:
            self.tell(opened[0], self._ended(end, opened[1]))

    async def _tell_handler(self, end: StreamEnd) -> None:
        """What has arrived whole must be told even if the handler is just being restarted."""
        with contextlib.suppress(SpringlineError):
            await self._delivery.ended(self._ended(end, b""))

    def _ended(self, end: StreamEnd, token: bytes) -> StreamEnded:
        return StreamEnded(
            self._device, end.protocol, token, end.header, end.incoming, end.total, end.blake3, end.error
        )
