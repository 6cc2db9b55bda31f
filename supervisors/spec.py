"""Supervision as data: what a child is, and what its supervisor does about its end.

The terms and their meaning are OTP's (https://www.erlang.org/doc/system/sup_princ.html). A spec is checked when it is
made, with a specific reason, so that a tree that starts is a tree that makes sense.

Two things are ours. A supervisor that has seen too many restarts either *escalates*, as in OTP: it ends and its own
supervisor decides; or it *quarantines*: it leaves that one child down and reports it, and its siblings live on. And
restarts may be unlimited (``intensity=None``), paced by the backoff alone: a link to a device is never given up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from springline.errors import Misuse
from springline.supervisors.backoff import Backoff

DEFAULT_BACKOFF = Backoff()

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


class Restart(Enum):
    """When a child that has ended is started again."""

    PERMANENT = "always"
    TRANSIENT = "unless it ended normally"
    TEMPORARY = "never"


class Strategy(Enum):
    """Whom the end of a child concerns."""

    ONE_FOR_ONE = "that child"
    REST_FOR_ONE = "that child and those started after it"
    ONE_FOR_ALL = "all children"


class Excess(Enum):
    """What happens when restarts exceed the intensity."""

    ESCALATE = "the supervisor ends, and its own supervisor decides"
    QUARANTINE = "that child stays down, its siblings live on"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child.

    :param name: unique among its siblings: 1 to 48 of ``a-z 0-9 . _ -``. On the bus it is ``<supervisor>.<name>``.
    :param actor: an importable subclass of ``Shell`` or ``IoShell``; a ``Supervisor`` for a subtree.
    :param args: given to the actor's ``start``; for a supervisor its :class:`SupervisorSpec`. Must pickle.
    :param start_deadline: seconds until it must be ready. :param stop_deadline: seconds to stop, then SIGKILL.
    :param ping_every: seconds between pings, or None for none.
    :param ping_misses: unanswered pings after which it is taken for hung and killed.
    :raises Misuse: a value makes no sense; the message says which.
    """

    name: str
    actor: type
    args: Any = field(default=None, repr=False)
    restart: Restart = Restart.PERMANENT
    start_deadline: float = 10.0
    stop_deadline: float = 5.0
    ping_every: float | None = 5.0
    ping_misses: int = 2

    def __post_init__(self) -> None:
        _check(isinstance(self.name, str) and _NAME.fullmatch(self.name) is not None, f"name {self.name!r}",
               "1 to 48 of a-z 0-9 . _ -, starting with a letter or digit")  # fmt: skip
        _check(isinstance(self.actor, type), f"actor {self.actor!r} of {self.name}", "a class")
        _check(self.actor.__module__ != "__main__", f"actor {self.actor.__name__} of {self.name}",
               "a class that another process can import, not one of __main__")  # fmt: skip
        _check(isinstance(self.restart, Restart), f"restart {self.restart!r} of {self.name}", "a Restart")
        _check(self.start_deadline > 0, f"start_deadline of {self.name}", "more than 0 seconds")
        _check(self.stop_deadline > 0, f"stop_deadline of {self.name}", "more than 0 seconds")
        pinged = self.ping_every is None or self.ping_every > 0
        _check(pinged, f"ping_every of {self.name}", "more than 0 seconds, or None")
        _check(self.ping_misses >= 1, f"ping_misses of {self.name}", "at least 1")

    @property
    def start_patience(self) -> float:
        """Seconds until it must be ready: for a subtree never less than its own children may take, and one more."""
        return max(self.start_deadline, self._below("start_patience"))

    @property
    def stop_patience(self) -> float:
        """Seconds until SIGKILL: for a subtree as those to start."""
        return max(self.stop_deadline, self._below("stop_patience"))

    def _below(self, patience: str) -> float:
        if not isinstance(self.args, SupervisorSpec) or not self.args.children:
            return 0.0
        each = [float(getattr(child, patience)) for child in self.args.children]
        return 1 + (sum(each) if self.args.in_order else max(each))


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """A supervisor: its children in start order, and its policy.

    :param intensity: restarts allowed within ``period`` seconds, or None for any number.
    :param period: also the window in which failures count for the backoff.
    :param in_order: start each child only when the one before is ready, and stop it only when the one after has ended;
        otherwise all at once (one_for_one only).
    :raises Misuse: a value makes no sense; the message says which.
    """

    children: tuple[ChildSpec, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int | None = 5
    period: float = 10.0
    backoff: Backoff = DEFAULT_BACKOFF
    excess: Excess = Excess.ESCALATE
    in_order: bool = True

    def __post_init__(self) -> None:
        names = [child.name for child in self.children]
        doubled = sorted({name for name in names if names.count(name) > 1})
        _check(not doubled, f"names {doubled}", "unique names among siblings")
        _check(isinstance(self.strategy, Strategy), f"strategy {self.strategy!r}", "a Strategy")
        _check(isinstance(self.excess, Excess), f"excess {self.excess!r}", "an Excess")
        _check(self.intensity is None or self.intensity >= 0, "intensity", "0 or more, or None")
        _check(self.period > 0, "period", "more than 0 seconds")
        together = not self.in_order and self.strategy is not Strategy.ONE_FOR_ONE
        _check(not together, "in_order", "True unless the strategy is one_for_one")


def _check(holds: bool, what: str, wanted: str) -> None:
    if not holds:
        raise Misuse(f"a child spec is wrong: {what}", f"wanted: {wanted}")
