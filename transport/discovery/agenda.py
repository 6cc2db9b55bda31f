"""When a finder acts: looks for others, and says anew where this device is.

The rule: after something has changed at once, then at doubling intervals, because whoever is not found now will not be
found by asking more often. Records are sealed anew when the period changes, when they are about to end, and when
somebody says so. All of it is decided from clocks that are passed in; the wall clock may jump.

Of very many devices that are away only some are announced at a time, so that nobody's network is flooded: those that
have just been lost first, then all in turn. Listening has no such bound, and it is enough that one side is heard.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from uuid import UUID

from springline.transport.discovery.tags import period_at

FIRST, LONGEST = 1.0, 60.0
"""Seconds between two questions, at first and for long."""

LIFETIME, RENEW = 1800.0, 600.0
"""Seconds that a record is good for, and after which it is replaced."""

TICK = 5.0
"""Seconds after which clocks are looked at again in any case: a machine that sleeps stops timers."""

MOST_EFFORT = 0.5
"""Of the time between two looks at the clocks, how much a finder may compute. More than that is somebody's flood."""

MOST_ANNOUNCED = 64
"""Devices told where this one is, at a time."""


@dataclass(frozen=True, slots=True)
class Agenda:
    """What is due when, in monotonic seconds.

    :param asked: how often was asked since something has changed. :param seal_at: when records are to be renewed.
    :param period: the one the present records are of; -1 before there are any.
    """

    asked: int = 0
    ask_at: float = 0.0
    seal_at: float = 0.0
    period: int = -1

    def afresh(self, now: float) -> Agenda:
        """Something has changed: ask at once, and often at first."""
        return replace(self, asked=0, ask_at=now)

    def reseal(self, now: float) -> Agenda:
        """What the records say is not true any more."""
        return replace(self, seal_at=now)

    def must_ask(self, now: float) -> bool:
        """Is it time to look?"""
        return now >= self.ask_at

    def must_seal(self, now: float, wall: float) -> bool:
        """Is it time to seal records anew, and to look under new tags?"""
        return now >= self.seal_at or period_at(wall) != self.period

    def has_asked(self, now: float, random: float) -> Agenda:
        """:param random: a uniform draw from [0, 1): finders that began together do not stay together."""
        pause = min(LONGEST, FIRST * 2.0 ** min(self.asked, 16)) * (0.75 + random / 4)
        return replace(self, asked=self.asked + 1, ask_at=now + pause)

    def has_sealed(self, now: float, wall: float) -> Agenda:
        """The records are of now."""
        return replace(self, seal_at=now + RENEW, period=period_at(wall))

    def wait(self, now: float) -> float:
        """Seconds until something may be due."""
        return max(0.0, min(self.ask_at, self.seal_at, now + TICK) - now)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Who is announced, of those who are sought.

    :param queue: all of them, those whose turn it is first.
    """

    queue: tuple[UUID, ...] = ()

    def seek(self, devices: Collection[UUID]) -> Rounds:
        """These are sought from now on: who is new has the first turn."""
        stay = tuple(device for device in self.queue if device in devices)
        return Rounds(tuple(sorted(set(devices) - set(stay))) + stay)

    def turn(self) -> Rounds:
        """The next ones' turn, if there are more than have room."""
        if len(self.queue) <= MOST_ANNOUNCED:
            return self
        return Rounds(self.queue[MOST_ANNOUNCED:] + self.queue[:MOST_ANNOUNCED])

    @property
    def present(self) -> tuple[UUID, ...]:
        """Whose turn it is."""
        return self.queue[:MOST_ANNOUNCED]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a process has computed. :param cpu: seconds of it, until :param at: seconds of any clock."""

    cpu: float
    at: float

    def is_too_much(self, cpu: float, at: float) -> bool:
        """:param cpu: seconds computed until now. :param at: now."""
        return at - self.at >= TICK / 2 and cpu - self.cpu > (at - self.at) * MOST_EFFORT
