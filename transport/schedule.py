"""Whose turn it is to use the link: classes by weight, and within a class everybody in turn.

The rule: the control class always comes first. The others share by weight: each has a clock that runs the slower the
heavier the class is, bytes sent move it on, and the clock that is furthest behind goes next (stride scheduling,
Waldspurger & Weihl 1995). A class that was idle starts at the present, so it saves up nothing; and since every clock of
a waiting class is caught up with in the end, nobody starves.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from springline.transport.records import Priority

Flow = TypeVar("Flow")

WEIGHTS = {Priority.INTERACTIVE: 16, Priority.SYNC: 4, Priority.BULK: 1}
"""Shares of the link while all have something to send."""

_STRIDES = {priority: 16 // weight for priority, weight in WEIGHTS.items()}


class Scheduler(Generic[Flow]):
    """Flows that have something to send."""

    __slots__ = ("_clocks", "_present", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Priority, deque[Flow]] = {priority: deque() for priority in Priority}
        self._clocks = dict.fromkeys(WEIGHTS, 0)
        self._present = 0

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def add(self, priority: Priority, flow: Flow) -> None:
        """``flow`` waits, behind the others of its class. It must not be waiting already."""
        waiting = self._waiting[priority]
        if not waiting and priority in self._clocks:
            self._clocks[priority] = max(self._clocks[priority], self._present)
        waiting.append(flow)

    def take(self) -> tuple[Priority, Flow] | None:
        """Whose turn it is; it does not wait any more. None if nobody does."""
        if self._waiting[Priority.CONTROL]:
            return Priority.CONTROL, self._waiting[Priority.CONTROL].popleft()
        priority = min((p for p in WEIGHTS if self._waiting[p]), key=self._clocks.__getitem__, default=None)
        if priority is None:
            return None
        self._present = self._clocks[priority]
        return priority, self._waiting[priority].popleft()

    def charge(self, priority: Priority, size: int) -> None:
        """``size`` bytes of that class were sent."""
        if priority in self._clocks:
            self._clocks[priority] += size * _STRIDES[priority]
