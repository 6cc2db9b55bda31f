"""What a supervisor knows of its children: plain values, changed by ``policy.step`` alone.

Every child is in one of five phases::

    DOWN ──start──▶ STARTING ──ready──▶ UP ──stop──▶ STOPPING ──exit──▶ DOWN
      ▲                │ exit, deadline    │ exit, hung                     │
      └── PAUSED ◀─────┴───────────────────┘ (until the backoff is over) ◀──┘
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from springline.supervisors.spec import ChildSpec, SupervisorSpec


class Phase(Enum):
    """Where a child stands."""

    DOWN = "down"
    PAUSED = "waiting to be restarted"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Child:
    """One child's state. Times are monotonic seconds.

    :param generation: of its latest process; never used twice under a name. :param starts: processes started so far.
    :param wanted: whether it shall run (again) when its turn comes.
    :param deadline: when its phase must be over. :param ping_at: when the next ping is due.
    :param unanswered: pings sent since the last pong.
    :param failures: moments of its recent ends that called for a restart, for the backoff.
    :param faults: those of them that nobody outside has caused, for the intensity.
    :param killed: why we killed it, or ``""``.
    :param reason: why its last process ended.
    :param due: whether it must stop, when its turn comes, before its group restarts.
    :param told: whether we had told it to stop: then its end is no failure.
    """

    spec: ChildSpec
    phase: Phase = Phase.DOWN
    generation: int = 0
    starts: int = 0
    wanted: bool = True
    pid: int = 0
    deadline: float | None = None
    ping_at: float | None = None
    unanswered: int = 0
    failures: tuple[float, ...] = ()
    faults: tuple[float, ...] = ()
    killed: str = ""
    due: bool = False
    told: bool = False
    quarantined: bool = False
    removed: bool = False
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.phase in (Phase.STARTING, Phase.UP, Phase.STOPPING)

    def pinged_by(self, moment: float) -> bool:
        """Whether the next ping is due by then (monotonic seconds)."""
        return self.phase is Phase.UP and self.ping_at is not None and self.ping_at <= moment


@dataclass(frozen=True, slots=True)
class State:
    """A supervisor's whole state: its spec, its children in start order, its recent restarts.

    :param ready: whether all children have been up once. :param stopping: whether the supervisor is ending, and why.
    :param finished: whether it has ended. :param forgotten: the highest generation of a child that is no more.
    """

    spec: SupervisorSpec
    children: tuple[Child, ...] = ()
    restarts: tuple[float, ...] = ()
    ready: bool = False
    stopping: str = ""
    escalating: bool = False
    finished: bool = False
    forgotten: int = 0

    def child(self, name: str) -> Child | None:
        """The child of that name."""
        return next((child for child in self.children if child.spec.name == name), None)
