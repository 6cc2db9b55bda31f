"""The link machine at work: one device's link, its timer, its sessions, and the ways to dial it.

The rule: ``transport/link.py`` decides; here its effects are carried out on sessions and by whoever owns the driver
(:class:`LinkUser`): the DeviceConnection in a node, a simulated one in ``tests/simulation``. So what the simulation
finds is true of the node. No clock and no chance of its own: both are given.

A dial takes a question to the Keystore before it begins. In the meantime it may have been called off, so its owner asks
:meth:`LinkDriver.awaits` before it goes on: or there would be two dials in flight.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from springline.transport import link, story
from springline.transport.address import Address
from springline.transport.link import SessionRef
from springline.transport.story import Entry
from springline.transport.timers import Timer, Timers
from springline.transport.ways import Finding, Ways

CLOCK_MARGIN = 600.0
"""Seconds that two devices' clocks may differ by before it is worth a word."""

LINGER = 1.0
"""Seconds a session that lost against a newer one stays to finish what is under way on it."""


class Carrier(Protocol):
    """What carries a session's frames: ``transport/channel.py``."""

    def begin(self) -> None:
        """Start to receive and to send; again does no harm."""

    def probe(self) -> None:
        """Find out at once whether it lives."""

    def look(self) -> None:
        """See that it is watched."""

    def goodbye(self, reason: str) -> None:
        """Tell the other side, and close."""

    def lose(self, reason: str) -> None:
        """It is dead; ``LinkDriver.lost`` is owed."""

    @property
    def local_host(self) -> str:
        """This side's address, or ``""``."""


class Held(Protocol):
    """A session, as the driver's owner keeps it."""

    @property
    def channel(self) -> Carrier:
        """What carries it."""


Session = TypeVar("Session", bound=Held)
Contra = TypeVar("Contra", bound=Held, contravariant=True)


class LinkUser(Protocol[Contra]):
    """What a driver has done, and tells."""

    def dial(self, attempt: int) -> None:
        """Dial the device; owe the driver a result."""

    def join_dial(self, attempt: int, addresses: tuple[Address, ...]) -> None:
        """Further addresses for a dial in flight."""

    def stop_dialling(self, attempt: int) -> None:
        """Its result is not wanted any more."""

    def adopted(self, session: Contra) -> None:
        """From now on this session carries the link; it has begun."""

    def dropped(self, tag: int, session: Contra, reason: str) -> None:
        """That session is over: closed by us, or lost. Told before the machine goes on."""

    def changed(self, change: link.Changed) -> None:
        """For observers."""

    def reported(self, entry: Entry) -> None:
        """The next line of the link's story."""


class LinkDriver(Generic[Session]):
    """One device's link.

    :param retry: how long to wait before another dial. :param timers: the loop all of it runs in.
    :param random: uniform draws from [0, 1). :param wall: wall-clock seconds.
    """

    def __init__(
        self,
        user: LinkUser[Session],
        retry: link.Retry,
        timers: Timers,
        random: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._user, self._timers, self._random, self._wall = user, timers, random, wall
        self.state = link.LinkState(retry=retry, since=timers.time())
        self.sessions: dict[int, Session] = {}
        self._tags = itertools.count(1)
        self._ways = Ways()
        self._timer: Timer | None = None

    # -- what happens ----------------------------------------------------------------------------------------------

    def step(self, event: link.Event) -> None:
        """Have the machine decide about ``event``, and do what it says."""
        before, now = self.state, self._timers.time()
        self.state, effects = link.step(before, event, now, self._random())
        if any(isinstance(effect, link.Changed) for effect in effects):
            self._user.reported(story.tell(event, before, self.state, now, self._wall()))
        for effect in effects:
            self._perform(effect)
        if self.state.deadline != before.deadline:
            self._arm()

    def next_tag(self) -> int:
        """A name for a session that is about to be given to :meth:`established`."""
        return next(self._tags)

    def established(
        self, tag: int, session: Session, epoch: int, *, by_lower_id: bool, attempt: int | None, where: str = ""
    ) -> None:
        """The transport has handed over an authenticated session; the rest as of ``link.Established``."""
        self.sessions[tag] = session
        self.step(link.Established(SessionRef(tag, epoch, by_lower_id), attempt, where))

    def lost(self, tag: int, reason: str) -> None:
        """A session's channel is closed, and not by us."""
        session = self.sessions.pop(tag, None)
        if session is not None:
            self._user.dropped(tag, session, reason)
            self.step(link.SessionLost(tag, reason))

    def found(self, via: str, addresses: tuple[Address, ...], issued_at: float) -> None:
        """The device has said where it is; so it seeks us, whatever we think of the link."""
        news = self._ways.find(via, addresses, issued_at, self._wall())
        if news is not self._ways:
            self._ways = news
            if self.state.dialling:
                self._user.join_dial(self.state.attempt, addresses)
            ahead = issued_at > self._wall() + CLOCK_MARGIN
            doubt = " (it speaks from the future: one of the two clocks is wrong)" if ahead else ""
            self.step(link.Hint(f"found by {via} at {', '.join(map(str, addresses[:3]))}{doubt}"))

    def network_changed(self, what: str, gone: frozenset[str]) -> None:
        """What was true of the network may not be any more: doubt sessions, and dial without waiting."""
        for session in list(self.sessions.values()):
            host = session.channel.local_host
            if host in gone:
                session.channel.lose(f"this device's address {host} is gone")
        self.step(link.Hint(what, afresh=True))

    def close(self, reason: str) -> None:
        """Say goodbye on every session; nothing follows."""
        for tag in list(self.sessions):
            self._drop(tag, reason)

    # -- what is asked ---------------------------------------------------------------------------------------------

    @property
    def current(self) -> int | None:
        """The tag of the session in use."""
        return None if self.state.session is None else self.state.session.id

    def awaits(self, attempt: int) -> bool:
        """True if the result of that dial is still wanted."""
        return self.state.dialling and self.state.attempt == attempt

    def ways(self, known: Sequence[Address]) -> tuple[Address, ...]:
        """The addresses to dial, best first. :param known: those that have worked, last good first."""
        return self._ways.order(known)

    @property
    def found_so_far(self) -> dict[str, Finding]:
        """What the device has said of where it is, by the way it came."""
        return self._ways.found

    # -- what is done about it -------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.state.deadline
        self._timer = None if deadline is None else self._timers.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self.step(link.DeadlineDue())
        if self._timer is None:  # a loop may call by its clock's resolution too early, and that decides nothing
            self._arm()

    def _perform(self, effect: link.Effect) -> None:
        match effect:
            case link.Dial(attempt=attempt):
                self._user.dial(attempt)
            case link.CancelDial(attempt=attempt):
                self._user.stop_dialling(attempt)
            case link.Probe(session_id=tag):
                self.sessions[tag].channel.probe()
            case link.Look(session_id=tag):
                self.sessions[tag].channel.look()
            case link.Adopt(session_id=tag):
                self.sessions[tag].channel.begin()
                self._user.adopted(self.sessions[tag])
            case link.Close(session_id=tag, reason=reason, linger=True):
                self.sessions[tag].channel.begin()
                self._timers.call_at(self._timers.time() + LINGER, self._drop, tag, reason)
            case link.Close(reason=reason):
                self.close(reason)  # the one meant, and whatever lingers
            case link.Changed():
                self._user.changed(effect)

    def _drop(self, tag: int, reason: str) -> None:
        session = self.sessions.pop(tag, None)
        if session is not None:
            session.channel.goodbye(reason)
            self._user.dropped(tag, session, reason)
