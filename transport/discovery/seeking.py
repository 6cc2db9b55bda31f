"""What a finder does that asks a table: whose turn it is, where to look, what of this device lies there. Pure.

The rule: of many that are sought each has its turn, and only a few turns are under way at a time. What this device puts
down says where it is: it is put down anew when that changes, when the period does, and long before it ends. What was
made in another network, or by a clock that has been set since, counts as not put down, even if that was under way.

It knows no socket and no clock: the same core serves ``actors/dht.py`` and the simulation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from springline.transport.address import Address
from springline.transport.discovery import tags
from springline.transport.discovery.rota import Rota
from springline.transport.discovery.watch import Wanted, Watch

RETRY = 0.5
"""Seconds after which somebody of this very node, who is just being restarted, is asked again."""

AT_ONCE = 4
"""Searches at a time: of many devices that are sought each has its turn."""

LOOKS = (2.0, 4.0, 8.0, 20.0)
"""Seconds between two looks for one device, however long it is away: when it is back, perhaps only this side can dial.
A try below and then a look, each a quarter late, and the searches of both must not take a minute together."""

TRIES = (2.0, 4.0, 8.0, 15.0)
"""Seconds between two tries to put down a record that nobody has taken: nobody tells when the way out works again."""

INVITED = 8.0
"""Seconds between two looks for an inviter, at most: an invitation is good for minutes."""

LIFETIME, RENEW = 7200.0, 1800.0
"""Seconds that a record is good for, and after which it is replaced."""

Who = UUID | bytes
"""A paired device; or the secret of an invitation."""


@dataclass(frozen=True, slots=True)
class Turn:
    """To put down a record for ``who``; or to look for it. :param taken: how many there were before it."""

    who: Who
    taken: int
    is_look: bool


@dataclass(frozen=True, slots=True)
class Laying:
    """What is about to be put down for somebody.

    :param until: monotonic seconds; later it is made anew. :param network: which one this is, of those we have been in.
    """

    who: Who
    addresses: tuple[Address, ...]
    period: int
    until: float
    network: int


@dataclass(slots=True)
class Seeking:
    """One finder's. Times ``now`` are monotonic seconds, ``wall`` those of the wall clock.

    :param looks, puts: whose turn it is to be looked for, and to be told where this device is.
    """

    looks: Rota[Who] = field(default_factory=lambda: Rota(LOOKS))
    puts: Rota[Who] = field(default_factory=lambda: Rota(TRIES))
    watch: Watch[Who] = field(default_factory=Watch)
    sought: frozenset[UUID] = frozenset()
    _inviters: frozenset[bytes] = frozenset()
    _invitations: frozenset[bytes] = frozenset()
    _wanted: dict[UUID, tuple[Wanted[Who], ...]] = field(default_factory=dict)
    _laid: dict[Who, Laying] = field(default_factory=dict)
    _period: int = -1
    _present: frozenset[str] | None = None
    _network: int = 0
    _under_way: int = 0

    # -- what it is told -------------------------------------------------------------------------------------------

    def seek(self, devices: frozenset[UUID], now: float) -> None:
        """These devices are to be found, and no others any more."""
        for device in self.sought - devices:
            self.watch.forget(device)
            self._wanted.pop(device, None)
        self.sought = devices
        self._reckon(now)

    def meet(self, offered: Iterable[bytes], sought: Iterable[bytes], now: float) -> None:
        """These invitations are open here, and those are looked for; by what both sides know of them."""
        inviters = frozenset(sought)
        for secret in self._inviters - inviters:
            self.watch.forget(secret)
        for secret in inviters:
            self.watch.look_out(secret, (_meeting(secret),))
        self._inviters, self._invitations = inviters, frozenset(offered)
        self._reckon(now)

    def _reckon(self, now: float) -> None:
        self.looks.keep(self.sought | self._inviters, now)
        self.puts.keep(self.sought | self._invitations, now)
        for who in [who for who, laid in self._laid.items() if laid.until <= now]:
            del self._laid[who]

    def is_needed(self) -> bool:
        """Whether anybody is to be found, or to find us."""
        return len(self.looks) + len(self.puts) > 0

    def moved(self, addresses: frozenset[str], now: float) -> bool:
        """The network or the clock has changed: begin anew. True if we are elsewhere. :param addresses: our own."""
        elsewhere = self._present is not None and addresses != self._present
        self._present = addresses
        self._network += 1
        self._laid.clear()
        self.afresh(now)
        return elsewhere

    def afresh(self, now: float) -> None:
        """What was in vain may not be any more."""
        self.looks.hurry(now)
        self.puts.hurry(now)

    # -- turns -----------------------------------------------------------------------------------------------------

    def next(self, now: float, wall: float) -> Turn | None:
        """Who has a turn now, if anybody; it is under way until it is :meth:`over`."""
        period = tags.period_at(wall)
        if period != self._period:
            self._period = period
            self.puts.hurry(now)
        if self._under_way >= AT_ONCE:
            return None
        for rota in (self.puts, self.looks):
            if (taken := rota.take(now)) is not None:
                self._under_way += 1
                return Turn(*taken, is_look=rota is self.looks)
        return None

    def over(self, turn: Turn, now: float, random: float, pause: float | None = None) -> None:
        """:param random: a uniform draw from [0, 1). :param pause: seconds until its next one, if not as usual."""
        if turn.is_look and isinstance(turn.who, bytes):
            pause = min(LOOKS[min(turn.taken, len(LOOKS) - 1)], INVITED)
        (self.looks if turn.is_look else self.puts).done(turn.who, now, random, pause)
        self._under_way -= 1

    def wait(self, now: float, wall: float) -> float:
        """Seconds until somebody's turn, or the next period."""
        until = RENEW
        if self._under_way < AT_ONCE:
            until = min(self.looks.wait(now), self.puts.wait(now), RENEW)
        return max(RETRY / 10, min(until, tags.begins(self._period + 1) - wall))

    # -- saying where we are ---------------------------------------------------------------------------------------

    def lay(self, who: Who, own: tuple[Address, ...], now: float) -> Laying | None:
        """What is to be put down for ``who``; None if that lies there. :param own: where this device is."""
        laid = self._laid.get(who)
        if laid is not None and (laid.addresses, laid.period) == (own, self._period) and now < laid.until:
            return None
        return Laying(who, own, self._period, now + RENEW / 2, self._network)

    def lies(self, laying: Laying) -> None:
        """It has been put down."""
        if laying.network == self._network:
            self._laid[laying.who] = laying

    # -- looking for others ----------------------------------------------------------------------------------------

    def must_ask(self, who: Who, wall: float) -> bool:
        """Whether it is not known where to look now: keys are of single periods, see :func:`tags.around`."""
        if isinstance(who, bytes):
            return False
        return not tags.are_due((one.spot.period for one in self._wanted.get(who, ())), wall)

    def look_out(self, device: UUID, wanted: tuple[Wanted[Who], ...]) -> None:
        """There its records lie, in the periods around the present one."""
        if device in self.sought:
            self._wanted[device] = wanted
            self.watch.look_out(device, wanted)

    def spots(self, turn: Turn) -> list[Wanted[Who]]:
        """Where to look now: in the present period, and by turns in the one before and the one after."""
        if isinstance(turn.who, bytes):
            return [_meeting(turn.who)]
        periods = self._period, self._period + (-1 if turn.taken % 2 else 1)
        return [one for one in self._wanted.get(turn.who, ()) if one.spot.period in periods]


def _meeting(secret: bytes) -> Wanted[Who]:
    return Wanted(secret, tags.meeting(secret), None)
