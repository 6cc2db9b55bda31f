"""A loop whose time stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Call:
    """One call that is due."""

    due: float
    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True

    def when(self) -> float:
        return self.due


@dataclass
class Clockwork:
    """``Timers`` of ``transport/timers.py``. :param early: seconds too early at which calls come, as real loops do."""

    now: float = 0.0
    early: float = 0.0
    calls: list[Call] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Call:
        self.calls.append(Call(when, lambda: callback(*args)))
        return self.calls[-1]

    @property
    def armed(self) -> list[float]:
        """When something is due."""
        return sorted(call.due for call in self.calls if not call.cancelled)

    def move(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        end = self.now + seconds
        while self.armed and self.armed[0] - self.early <= end:
            call = min((call for call in self.calls if not call.cancelled), key=Call.when)
            call.cancelled = True
            self.now = max(self.now + self.early, call.due - self.early)  # a call takes time, too
            call.callback()
        self.now = end
