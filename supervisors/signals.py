"""What ``policy.step`` is told, and what it wants done: events in, actions out.

The rule: an event says what has happened, and of which generation of a child; an action says what to do, never how.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from springline.supervisors.spec import ChildSpec

# -- events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the children."""


@dataclass(frozen=True, slots=True)
class ChildReady:
    """A child says that it works."""

    name: str
    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class ChildExited:
    """A child's process has ended.

    :param outside: somebody else killed it (a person, the system): that is no fault of the child's.
    """

    name: str
    generation: int
    reason: str
    normal: bool
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Ponged:
    """A child answers a ping."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The clock reached the deadline last armed."""


@dataclass(frozen=True, slots=True)
class AddChild:
    """Supervise one more, from now on."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class RemoveChild:
    """Stop that child and forget it."""

    name: str


@dataclass(frozen=True, slots=True)
class StopAll:
    """End: stop every child, last started first."""

    reason: str


Event = Begin | ChildReady | ChildExited | Ponged | TimerDue | AddChild | RemoveChild | StopAll


# -- actions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartChild:
    """Fork a process for the child."""

    spec: ChildSpec
    generation: int


@dataclass(frozen=True, slots=True)
class StopChild:
    """Ask the child to end."""

    name: str


@dataclass(frozen=True, slots=True)
class KillChild:
    """SIGKILL its process; its exit follows."""

    name: str


@dataclass(frozen=True, slots=True)
class PingChild:
    """Ask whether it still handles messages."""

    name: str


@dataclass(frozen=True, slots=True)
class ArmTimer:
    """Deliver :class:`TimerDue` at that moment; replaces the former one."""

    at: float


class What(Enum):
    """What has become of a child, for observers."""

    READY = "ready"
    EXITED = "exited"
    HUNG = "hung"
    LATE = "not ready in time"
    RESTARTING = "restarting"
    QUARANTINED = "quarantined"
    REMOVED = "removed"
    ESCALATING = "escalating"


@dataclass(frozen=True, slots=True)
class Announce:
    """Something an observer may want to know."""

    what: What
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AllReady:
    """Every child is up: the supervisor itself is ready."""


@dataclass(frozen=True, slots=True)
class Finished:
    """No child is left; the supervisor ends, normally or not."""

    reason: str
    normal: bool


Action = StartChild | StopChild | KillChild | PingChild | ArmTimer | Announce | AllReady | Finished
