"""Virtual time: one queue of events, machines whose clocks stop while they sleep, and loops that die with a process.

The rule: nothing happens but what is in the queue, in the order of time and, at the same time, in the order in which it
was put there; chance comes from one seeded generator. So a run is a function of its seed.

A machine has two clocks, as real ones do. The monotonic one stands still while it sleeps, and the timers of its
processes with it. The wall clock runs on, and may be wrong. As real loops do, these call a timer up to their clock's
resolution too early now and then.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from typing import Any

from springline.errors import InternalFault

BEGINNING = 1_800_000_000.0
"""Wall-clock seconds at which every simulation begins: some day in 2027."""

RESOLUTION = 1e-6
"""Seconds that a loop may be too early."""

TICK = 1e-7
"""Seconds that pass at least before a loop calls something: time goes on whatever happens."""


class Timer:
    """One call that is due; ``Timer`` of ``transport/timers.py``."""

    __slots__ = ("args", "callback", "due", "loop")

    def __init__(self, loop: Loop | None, due: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.loop, self.due = loop, due
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        """It does not happen any more."""
        self.callback = None
        self.args = ()

    def when(self) -> float:
        """When it is due, in its loop's time."""
        return self.due


class Queue:
    """Everything that is going to happen.

    :param seed: decides every chance. :param most: events after which something must be going round in circles.
    """

    def __init__(self, seed: int | str, most: float = math.inf) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.events = 0
        self.most = most
        self._heap: list[tuple[float, int, Timer]] = []
        self._pushed = 0

    def push(self, when: float, timer: Timer) -> None:
        """Have it come up then, virtual seconds."""
        self._pushed += 1
        heapq.heappush(self._heap, (when, self._pushed, timer))

    def at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Have something happen whatever machine sleeps."""
        timer = Timer(None, when, callback, args)
        self.push(when, timer)
        return timer

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        """The same, some seconds from now."""
        return self.at(self.now + seconds, callback, *args)

    def run(self, until: float) -> None:
        """Let everything up to then happen. :raises InternalFault: it goes on and on."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, timer = heapq.heappop(heap)
            callback = timer.callback
            if callback is None:
                continue
            if when > self.now:
                self.now = when
            if timer.loop is None or timer.loop.may_call(timer):
                self.events += 1
                timer.callback = None  # it has come up
                callback(*timer.args)
                if self.events > self.most:
                    raise InternalFault(f"{self.events} events at {self.now:.3f} s and no end")
        self.now = until


class Clock:
    """A machine's clocks. :param queue: whose time they tell in their own way."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.asleep = False
        self.wrong = 0.0  # seconds the wall clock is ahead of true time
        self._lag = queue.now  # virtual seconds that the monotonic clock has not counted
        self._stopped_at = 0.0
        self._parked: list[Timer] = []

    @property
    def monotonic(self) -> float:
        """Seconds since the machine was started, sleep left out."""
        return (self._stopped_at if self.asleep else self.queue.now) - self._lag

    @property
    def wall(self) -> float:
        """What the machine takes for the time."""
        return BEGINNING + self.queue.now + self.wrong

    def sleep(self) -> None:
        """Stop."""
        self.asleep, self._stopped_at = True, self.queue.now

    def wake(self) -> None:
        """Go on where it stopped; what was due in the meantime has as long to go as it had then."""
        self.asleep = False
        self._lag += self.queue.now - self._stopped_at
        parked, self._parked = self._parked, []
        for timer in parked:
            self.arm(timer)

    def arm(self, timer: Timer) -> None:
        """Have a loop's timer come up when it is due."""
        queue = self.queue
        due = timer.due + self._lag
        if queue.events & 15 == 0:
            due -= RESOLUTION / 2
        queue.push(max(queue.now + TICK, due), timer)

    def is_due(self, timer: Timer) -> bool:
        """True if it is time for that timer; else it is seen to that it comes up again."""
        if self.asleep:
            self._parked.append(timer)
            return False
        if timer.due - RESOLUTION > self.monotonic:
            self.arm(timer)
            return False
        return True


class Loop:
    """A process's event loop: ``Timers`` of ``transport/timers.py``, as far as asyncio's loops are that."""

    __slots__ = ("clock", "closed")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.closed = False

    def time(self) -> float:
        """Monotonic seconds."""
        return self.clock.monotonic

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Have something happen then, unless the process has died by then."""
        timer = Timer(self, when, callback, args)
        self.clock.arm(timer)
        return timer

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        """The same, some seconds from now."""
        return self.call_at(self.clock.monotonic + seconds, callback, *args)

    def close(self) -> None:
        """The process has died."""
        self.closed = True

    def may_call(self, timer: Timer) -> bool:
        """True if a timer that came up is to be called."""
        return not self.closed and self.clock.is_due(timer)
