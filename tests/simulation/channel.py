"""A session at work on a simulated connection: ``transport/channel.py`` without bytes.

The rule: the pulse and the refresher are the real ones; here is what ties them to a connection, call by call as the
real channel does. What travels are records as objects, because frames and ciphers decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from springline.tests.simulation.clock import Loop
from springline.tests.simulation.wire import End
from springline.transport.pulse import Pulse
from springline.transport.records import Refresh
from springline.transport.refresh import Answer, Ask, RefreshLimits
from springline.transport.refresher import Refresher
from springline.transport.session import Session


class ChannelUser(Protocol):
    """What a channel tells."""

    def channel_lost(self, tag: int, reason: str) -> None:
        """It is broken and closed."""

    def refresh_asks(self, tag: int, question: Ask) -> None:
        """A refresh needs the Keystore."""

    def requested(self, tag: int, request: int, body: object) -> None:
        """A message came in; owe it ``answer``."""


class _Ciphers:
    """In the place of ``transport/session.py``."""

    sent_bytes = received_bytes = 0

    def open_with(self, key: bytes) -> None:
        """Another key."""


class Channel:
    """One session; arguments as of the real one's. :param end: this side's end of the connection."""

    def __init__(
        self,
        end: End,
        loop: Loop,
        session_hash: bytes,
        *,
        dialled: bool,
        keepalive: float,
        user: ChannelUser,
        tag: int,
        refresh: RefreshLimits,
    ) -> None:
        self.end, self.user, self.tag, self.dialled = end, user, tag, dialled
        self.begun = self.closed = False
        self._loop = loop
        self.pulse = Pulse(keepalive, loop, self._ping, self._lose)
        self.refresher = Refresher(
            cast(Session, _Ciphers()),
            session_hash,
            refresh,
            dialled=dialled,
            ask=lambda question: user.refresh_asks(tag, question),
            wake=self._flush,
            end=self._outlive,
            timers=loop,
        )
        self._requests = 0
        self._waiting: dict[int, Callable[[Any], object]] = {}

    def begin(self) -> None:
        """Start to receive and to send; again does no harm."""
        if self.begun or self.closed:
            return
        self.begun = True
        self.pulse.begin()
        self.refresher.begin()
        self._loop.call_later(0.0, self._listen)  # what has come is read by the loop, not here

    def _listen(self) -> None:
        if not self.closed:
            self.end.attach(self._came, self._lose)

    def goodbye(self, reason: str) -> None:
        """Tell the other side, and close."""
        if not self.closed:
            self.end.send(("goodbye", reason))
            self._close()

    def lose(self, reason: str) -> None:
        """It is known to be dead."""
        self._lose(reason)

    def probe(self) -> None:
        """Find out at once whether it lives."""
        self.pulse.probe()

    def look(self) -> None:
        """See that it is watched."""
        self.pulse.look()

    @property
    def local_host(self) -> str:
        """This side's address."""
        return self.end.ip

    def _lose(self, reason: str) -> None:
        if not self.closed:
            self._close()
            self.user.channel_lost(self.tag, reason)

    def _close(self) -> None:
        self.closed = True
        self.pulse.stop()
        self.refresher.close()
        self._waiting.clear()
        self.end.close()

    def _outlive(self, reason: str) -> None:
        self.end.send(("goodbye", reason))
        self._lose(reason)

    def _ping(self, token: int) -> None:
        self.end.send(("ping", token))

    def _flush(self) -> None:
        while (record := self.refresher.next_record()) is not None:
            self.end.send(record.record)

    # -- messages ----------------------------------------------------------------------------------------------------

    def request(self, body: object, then: Callable[[Any], object]) -> None:
        """Send a message; ``then`` gets the answer."""
        self._requests += 1
        self._waiting[self._requests] = then
        self.pulse.spoke()
        self.end.send(("request", self._requests, body))

    def answer(self, request: int, body: object) -> None:
        """Answer one."""
        if not self.closed:
            self.end.send(("answer", request, body))

    def refresh_told(self, answer: Answer) -> None:
        """What the Keystore says to ``refresh_asks``."""
        if not self.closed:
            self.refresher.told(answer)

    def _came(self, record: Any) -> None:
        if self.closed:
            return
        self.pulse.heard()
        match record:
            case Refresh():
                self.refresher.came(record, alone=True)
            case ("ping", token):
                self.end.send(("pong", token))
            case ("pong", token):
                self.pulse.pong(token)
            case ("request", request, body):
                self.user.requested(self.tag, request, body)
            case ("answer", request, body):
                then = self._waiting.pop(request, None)
                if then is not None:
                    then(body)
            case ("goodbye", reason):
                self._lose(f"the other side says: {reason}")
