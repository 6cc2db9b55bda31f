"""A small actor of one's own, and what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from springline.actors.shell import Sender, Shell, receives


@dataclass(frozen=True)
class Add:
    """Add this. → the new total."""

    number: int


class Counter(Shell):
    """Counts; cannot stand the number 13."""

    def start(self, args: Any) -> None:
        self.total = args or 0

    @receives(Add)
    def add(self, message: Add, sender: Sender) -> int:
        if message.number == 13:
            raise RuntimeError("thirteen")
        self.total += message.number
        return self.total
