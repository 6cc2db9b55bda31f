"""What a supervisor can be asked, and what it answers.

The rule: whoever asks need not have the supervisor itself, nor the engine that it runs on: a command starts in half the
time without.
"""

from __future__ import annotations

from dataclasses import dataclass

from springline.supervisors.spec import ChildSpec

ROOT = "node"
"""Name of the node's root supervisor, whose children go by their own names."""


@dataclass(frozen=True, slots=True)
class Supervise:
    """Start and watch one more child. → None, once it is being started."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Stop that child and forget it. → None."""

    name: str


@dataclass(frozen=True, slots=True)
class Children:
    """Who are your children? → ``tuple[ChildStatus, ...]``."""


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """How a child stands.

    :param phase: as in ``state.Phase``. :param restarts: how often it was started again.
    :param reason: why its last process ended, or ``""``.
    """

    name: str
    phase: str
    pid: int
    restarts: int
    quarantined: bool
    reason: str
