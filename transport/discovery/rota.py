"""Whose turn it is to be looked for, or to be told where this device is. Pure.

The rule: who is new has a turn at once; then at growing intervals, because whoever is not found for long will not be
found by asking more often. A turn that has been taken is over when it is said to be, so nobody has two at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Who = TypeVar("Who", bound=Hashable)

NEVER = float("inf")


@dataclass(slots=True)
class _Turn:
    """:param at: when the next one is. :param taken: how many there were since something has changed."""

    at: float
    taken: int = 0
    under_way: bool = False
    again: bool = False


class Rota(Generic[Who]):
    """Times are seconds of a clock that does not go back.

    :param pauses: seconds from one turn to the next; the last one is for ever.
    """

    def __init__(self, pauses: Sequence[float]) -> None:
        self._pauses = tuple(pauses)
        self._turns: dict[Who, _Turn] = {}

    def keep(self, everybody: Collection[Who], now: float) -> None:
        """These have turns from now on, and no others any more."""
        for who in [who for who in self._turns if who not in everybody]:
            del self._turns[who]
        for who in everybody:
            if who not in self._turns:
                self._turns[who] = _Turn(now)

    def hurry(self, now: float) -> None:
        """Something has changed: everybody has a turn at once, and often at first."""
        for turn in self._turns.values():
            turn.at, turn.taken, turn.again = now, 0, turn.under_way

    def take(self, now: float) -> tuple[Who, int] | None:
        """Who is next, if it is time, and how many turns it had; the one who waits for longest."""
        who = min(self._waiting(), key=lambda who: self._turns[who].at, default=None)
        if who is None or self._turns[who].at > now:
            return None
        self._turns[who].under_way, self._turns[who].again = True, False
        return who, self._turns[who].taken

    def done(self, who: Who, now: float, random: float, pause: float | None = None) -> None:
        """Its turn is over.

        :param random: a uniform draw from [0, 1): those who began together do not stay together.
        :param pause: seconds until the next one, if something else than usual.
        """
        turn = self._turns.get(who)
        if turn is None or not turn.under_way:
            return
        turn.under_way = False
        if turn.again:
            return
        usual = self._pauses[min(turn.taken, len(self._pauses) - 1)]
        turn.taken += 1
        turn.at = now + (usual if pause is None else pause) * (0.75 + random / 2)

    def wait(self, now: float) -> float:
        """Seconds until somebody's turn; for ever if nobody waits for one."""
        return max(0.0, min((self._turns[who].at for who in self._waiting()), default=NEVER) - now)

    def _waiting(self) -> list[Who]:
        return [who for who, turn in self._turns.items() if not turn.under_way]

    def __len__(self) -> int:
        return len(self._turns)
