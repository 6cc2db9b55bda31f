"""The part of an event loop that what runs by the clock needs: asyncio's loops have it, and the simulation's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """One call that is due at some time."""

    def cancel(self) -> None:
        """It is not to happen any more."""

    def when(self) -> float:
        """When it is due, monotonic seconds."""


class Timers(Protocol):
    """Monotonic seconds, and calls at some of them."""

    def time(self) -> float:
        """Now."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Have ``callback(*args)`` called then, in the same thread."""
