"""How long to wait before trying again: one pure function.

Used for restarts: the first in a while is immediate, so a single kill costs nothing but the restart; a child that keeps
crashing is met with growing pauses, so that a crash loop settles instead of burning a core.
"""

from __future__ import annotations

from dataclasses import dataclass

from springline.errors import Misuse


@dataclass(frozen=True, slots=True)
class Backoff:
    """``base * factor**n`` seconds, at most ``cap``; the first ``free`` tries cost nothing.

    :param free: failures within the window that are met with an immediate restart.
    :param base: seconds of the first pause after those.
    :param factor: growth per further failure, at least 1.
    :param cap: seconds of the longest pause.
    :param jitter: share of each pause that is random, 0 to 1.
    :raises Misuse: a value is out of range.
    """

    free: int = 3
    base: float = 0.05
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.free < 0 or self.base < 0 or self.factor < 1 or self.cap < 0 or not 0 <= self.jitter <= 1:
            raise Misuse(f"{self} makes no sense", "free, base and cap >= 0, factor >= 1, 0 <= jitter <= 1")

    def delay(self, failures: int, random: float) -> float:
        """Seconds to wait after that many failures.

        :param failures: in the recent window, this one included; at least 1.
        :param random: a uniform draw from [0, 1).
        """
        if failures <= self.free:
            return 0.0
        try:
            pause = min(self.cap, self.base * self.factor ** (failures - self.free - 1))
        except OverflowError:
            pause = self.cap
        return pause * (1 - self.jitter * random)
