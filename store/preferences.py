"""``preferences.json``: how to reach one device and how eagerly (the seed's ConnectionConfig)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from springline.errors import Damaged, Misuse
from springline.store import migrate

ROLE = "preferences"
MOST_ADDRESSES = 16

KEEPALIVE = (5.0, 3600.0)
"""Seconds: more often would be traffic for its own sake; more seldom, and no router in between remembers the link."""

FIRST = (0.05, 3600.0)
CAP = (1.0, 86400.0)
"""Seconds between which the pauses of a retry policy may be chosen; no device is ever given up."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How eagerly a link is kept up; all in seconds.

    :param keepalive: of silence before a probe; a dead path is noticed five seconds later.
    :param retry_first: at most before the first retry; doubles with each failure. :param retry_cap: at most, ever.
    :raises Misuse: one of them makes no sense.
    """

    keepalive: float = 25.0
    retry_first: float = 0.1
    retry_cap: float = 30.0

    def __post_init__(self) -> None:
        for what, value, (least, most) in (
            ("the keep-alive", self.keepalive, KEEPALIVE),
            ("the first retry", self.retry_first, FIRST),
            ("the longest pause between retries", self.retry_cap, CAP),
        ):
            if not least <= value <= most:  # what is no number is not in between either
                raise Misuse(f"{what} can't be {value:g} s", f"choose {least:g} to {most:g} s")
        if self.retry_first > self.retry_cap:
            hint = "make the first one shorter, or the longest one longer"
            raise Misuse(f"the first retry ({self.retry_first:g} s) comes after the longest pause", hint)


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """:param known_addresses: ``host:port``, last good first.
    :param keepalive_interval: seconds of silence before a probe.
    :param retry_first: seconds before the first retry, doubling up to ``retry_cap``.
    """

    known_addresses: tuple[str, ...] = ()
    preferred_transports: tuple[str, ...] = ("tcp",)
    keepalive_interval: float = 25.0
    retry_first: float = 0.1
    retry_cap: float = 30.0

    @property
    def tuning(self) -> Tuning:
        """How eagerly; where a former program's file says what makes no sense here, the nearest that does."""
        cap = _within(self.retry_cap, CAP)
        return Tuning(_within(self.keepalive_interval, KEEPALIVE), min(cap, _within(self.retry_first, FIRST)), cap)

    def tuned(self, wanted: Tuning) -> ConnectionConfig:
        """The same, as eagerly as that."""
        return replace(
            self,
            keepalive_interval=wanted.keepalive,
            retry_first=wanted.retry_first,
            retry_cap=wanted.retry_cap,
        )

    def with_good_address(self, address: str) -> ConnectionConfig:
        """The same with ``address`` first; the oldest beyond ``MOST_ADDRESSES`` is forgotten."""
        rest = tuple(known for known in self.known_addresses if known != address)
        return replace(self, known_addresses=(address, *rest)[:MOST_ADDRESSES])

    def with_further_address(self, address: str) -> ConnectionConfig:
        """The same with ``address`` last, unless it is known; where there is no room it takes the last one's place."""
        if address in self.known_addresses:
            return self
        return replace(self, known_addresses=(*self.known_addresses[: MOST_ADDRESSES - 1], address))

    def encode(self) -> bytes:
        """JSON, to be sealed."""
        return json.dumps({"version": migrate.newest(ROLE), **asdict(self)}).encode()


def _within(value: float, bounds: tuple[float, float]) -> float:
    least, most = bounds
    return min(most, value) if value > least else least  # what is no number is not more


def decode(data: bytes) -> ConnectionConfig:
    """The preferences in an opened seal. :raises Damaged: there are none."""
    fields = migrate.parse(ROLE, data)
    try:
        return ConnectionConfig(
            tuple(str(address) for address in fields["known_addresses"]),
            tuple(str(transport) for transport in fields["preferred_transports"]),
            float(fields["keepalive_interval"]),
            float(fields["retry_first"]),
            float(fields["retry_cap"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("preferences are not what was written") from None
