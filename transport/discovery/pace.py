"""How much may be asked, by one host and by all together. Pure.

The rule: each host has a bucket that fills by so much a second; what is asked beyond it gets no answer. Who is
remembered is bounded: a host that is forgotten begins anew with a full bucket, which the bucket of all together bounds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """:param rate: units a second. :param burst: units at once. Times are seconds of a clock that does not go back."""

    rate: float
    burst: float
    _left: float = -1.0
    _at: float = 0.0

    def holds(self, units: float, now: float) -> bool:
        """Whether there is as much as that."""
        full = self._left < 0
        self._left = self.burst if full else min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        return self._left >= units

    def take(self, units: float) -> None:
        """What :meth:`holds` has found."""
        self._left -= units


class Pace:
    """:param each: rate and burst of one host. :param together: of all. :param most: hosts remembered."""

    def __init__(self, each: tuple[float, float], together: tuple[float, float], most: int = 4096) -> None:
        self._each, self._together, self._most = each, Bucket(*together), most
        self._hosts: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, host: str, units: float, now: float) -> bool:
        """True if ``host`` may have as much now."""
        bucket = self._hosts.pop(host, None) or Bucket(*self._each)
        self._hosts[host] = bucket
        if len(self._hosts) > self._most:
            self._hosts.popitem(last=False)
        if not (bucket.holds(units, now) and self._together.holds(units, now)):
            return False
        bucket.take(units)
        self._together.take(units)
        return True

    def __len__(self) -> int:
        return len(self._hosts)
