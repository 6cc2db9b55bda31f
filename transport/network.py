"""What happens to this machine's network, and whether it has slept: which observations are news, and when to look.

The rule: this is decided here without a system call and without a clock. Whoever watches (``actors/network.py``) says
that the system has rung, what is to be seen when :attr:`Watch.look_at` is due, and what the clocks show when
:attr:`Watch.tick_at` is. What is told are differences between two views, so a message from the system that is lost,
doubled or beside the point costs a look and tells nothing.

**Bursts.** The first ring is looked into almost at once; after that looks are spaced, and the more so the longer
changes keep coming. So a cable that is put in is told in milliseconds, and one with a loose contact once a second.

**Sleep.** Of two clocks one stands still while the machine sleeps (``now``) and one does not (``boot``): what they
differ by was slept. A wall clock that jumps alone was set, by hand or over the network; if it jumped ahead, the machine
may have been frozen with all its clocks, as virtual ones are, so that is told like sleep but called what it is. Where
there is no ``boot`` clock, the two can't be told apart. A process that was stopped notices that its own tick is late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

OUTSIDE = {4: "198.41.0.4", 6: "2001:503:ba3e::2:30"}
"""Where the world lies, by family: a root name server's addresses. Systems are asked for the way, nothing is sent."""

SOON = 0.03
"""Seconds from the first ring to the look: what belongs together has come by then."""

LEAST_GAP, MOST_GAP = 0.25, 1.0
"""Seconds between two looks, at least; doubled with each change, up to the second figure."""

CALM = 10.0
"""Seconds without a change after which looks are spaced as in the beginning."""

TICK = 1.0
"""Seconds between two looks at the clocks, and therefore until waking is noticed."""

POLL = 2.0
"""Seconds between two looks where the system does not ring."""

RETRY = 5.0
"""Seconds after a look that failed."""

SLEPT = 0.5
"""Seconds by which the clocks must differ to mean sleep: they are not read at the same instant."""

JUMPED = 3.0
"""Seconds by which the wall clock must have jumped to be worth telling."""

STOOD_STILL = 5.0
"""Seconds by which a tick must be late to mean that this process was stopped: as long as others wait for an answer."""

MOST_TOLD = 4
"""Differences that are named in one line."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address this machine has on one of its interfaces; IPv6 without scope. Loopback is not among them."""

    interface: str
    ip: str


@dataclass(frozen=True, slots=True)
class Way:
    """How packets leave for the world. :param family: 4 or 6. :param gateway: ``""`` if there is none, or unknown."""

    family: int
    interface: str
    gateway: str = ""

    def __str__(self) -> str:
        return f"by {self.gateway} on {self.interface}" if self.gateway else f"by {self.interface}"


@dataclass(frozen=True, slots=True)
class View:
    """What a look has shown.

    :param carrying: interfaces of ``places`` whose cable is in. :param ways: the effective one of each family.
    """

    places: frozenset[Place] = frozenset()
    carrying: frozenset[str] = frozenset()
    ways: frozenset[Way] = frozenset()

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses of all interfaces."""
        return frozenset(place.ip for place in self.places)

    def way(self, family: int) -> Way | None:
        """How packets of that family leave."""
        return next((way for way in self.ways if way.family == family), None)


class Kind(Enum):
    """What sort of thing has happened; it decides whom it concerns."""

    NETWORK = "addresses, cables or ways out"
    WOKE = "time has passed in which this node could do nothing"
    CLOCK = "the wall clock was set back"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to tell.

    :param what: one line for people. :param addresses: this machine's now. :param gone: those it had before.
    """

    kind: Kind
    what: str
    addresses: frozenset[str]
    gone: frozenset[str] = frozenset()


# -- observations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rang:
    """The system says that something may have changed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A look has shown this."""

    view: View


@dataclass(frozen=True, slots=True)
class Blind:
    """A look has failed."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """The clocks were looked at. :param boot: as of :class:`Clocks`."""

    boot: float | None


Observation = Rang | Seen | Blind | Ticked


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds, as read together.

    :param now: of a clock that never goes back and stands still in sleep.
    :param boot: of one that goes on in sleep, or None where there is none. :param wall: of the wall clock.
    """

    now: float
    boot: float | None
    wall: float


@dataclass(frozen=True, slots=True)
class Watch:
    """The state. Times are seconds of ``now``.

    :param polls: the system does not ring. :param view: what was seen last, or None.
    :param look_at: when to look, or None for when it rings. :param tick_at: when to look at the clocks.
    """

    polls: bool = False
    view: View | None = None
    look_at: float | None = 0.0
    tick_at: float = 0.0
    looked_at: float = float("-inf")
    told_at: float = float("-inf")
    gap: float = LEAST_GAP
    clocks: Clocks | None = None

    @property
    def due_at(self) -> float:
        """When to look at something."""
        return self.tick_at if self.look_at is None else min(self.look_at, self.tick_at)


def step(watch: Watch, observation: Observation, now: float, wall: float) -> tuple[Watch, tuple[Change, ...]]:
    """What an observation means. :param now: :param wall: as of :class:`Clocks`."""
    match observation:
        case Rang():
            return _rang(watch, now), ()
        case Blind():
            return replace(watch, look_at=now + RETRY, looked_at=now), ()
        case Seen(view=view):
            return _seen(watch, view, now)
        case Ticked(boot=boot):
            return _ticked(watch, Clocks(now, boot, wall))


def _rang(watch: Watch, now: float) -> Watch:
    due = max(now + SOON, watch.looked_at + watch.gap)
    return replace(watch, look_at=due if watch.look_at is None else min(watch.look_at, due))


# -- what was seen -------------------------------------------------------------------------------------------------


def _seen(watch: Watch, view: View, now: float) -> tuple[Watch, tuple[Change, ...]]:
    before, calm = watch.view, now - watch.told_at >= CALM
    after = replace(watch, view=view, looked_at=now, look_at=now + POLL if watch.polls else None)
    if before == view:
        return replace(after, gap=LEAST_GAP) if calm else after, ()
    if before is None:
        told = Change(Kind.NETWORK, "nobody watched the network until now", view.addresses)
    else:
        told = Change(Kind.NETWORK, describe(before, view), view.addresses, before.addresses - view.addresses)
    return replace(after, told_at=now, gap=LEAST_GAP if calm else min(2 * watch.gap, MOST_GAP)), (told,)


def describe(before: View, after: View) -> str:
    """The differences, in words."""
    found = [f"{ip} is gone" for ip in sorted(before.addresses - after.addresses)]
    found += _places_that_are_new(before, after)
    known = {place.interface for place in before.places} & {place.interface for place in after.places}
    found += [f"{name} is not connected any more" for name in sorted((before.carrying - after.carrying) & known)]
    found += [f"{name} is connected again" for name in sorted((after.carrying - before.carrying) & known)]
    for family in (4, 6):
        old, new = before.way(family), after.way(family)
        if old != new:
            found.append(f"the way out (IPv{family}) is {new}" if new else f"there is no way out (IPv{family})")
    told = found[:MOST_TOLD] or ["an address is not where it was"]
    if len(found) > MOST_TOLD:
        told.append(f"{len(found) - MOST_TOLD} more changes")
    return "; ".join(told)


def _places_that_are_new(before: View, after: View) -> list[str]:
    new = sorted(after.places - before.places, key=lambda place: (place.ip, place.interface))
    return [f"{place.ip} is on {place.interface} now" for place in new]


# -- what the clocks show ------------------------------------------------------------------------------------------


def _ticked(watch: Watch, clocks: Clocks) -> tuple[Watch, tuple[Change, ...]]:
    after = replace(watch, clocks=clocks, tick_at=clocks.now + TICK)
    if watch.clocks is None:
        return after, ()
    told = _passed(watch.clocks, clocks)
    if told is None:
        return after, ()
    kind, what = told
    addresses = frozenset() if watch.view is None else watch.view.addresses
    look_at = clocks.now if kind is Kind.WOKE else watch.look_at  # nobody rings for what was missed while stopped
    return replace(after, look_at=look_at), (Change(kind, what, addresses),)


def _passed(then: Clocks, now: Clocks) -> tuple[Kind, str] | None:
    """What the time between two readings was, if it was anything."""
    awake = now.now - then.now
    counted = None if now.boot is None or then.boot is None else now.boot - then.boot
    slept = 0.0 if counted is None else counted - awake
    jumped = now.wall - then.wall - (awake if counted is None else counted)
    if slept >= SLEPT:
        return Kind.WOKE, f"woke after {duration(slept)} of sleep"
    if jumped >= JUMPED and counted is None:
        return Kind.WOKE, f"woke after {duration(jumped)} of sleep, or the clock was set ahead"
    if jumped >= JUMPED:
        return Kind.WOKE, f"the clock was set {duration(jumped)} ahead; if not by hand, this machine stood still"
    if awake - TICK >= STOOD_STILL:
        return Kind.WOKE, f"this process stood still for {duration(awake - TICK)}"
    if jumped <= -JUMPED:
        return Kind.CLOCK, f"the clock was set back by {duration(-jumped)}"
    return None


def duration(seconds: float) -> str:
    """For people: ``3 s``, ``8 min``, ``5 h``, ``12 days``."""
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < {"s": 120, "min": 7200, "h": 172800}[unit]:
            return f"{max(1, round(seconds / size))} {unit}"
    return f"{round(seconds / 86400)} days"
