"""Where one device may be reached, in the order in which to try.

The rule: where it was last is likeliest, what it has just said of itself comes next, and everything else that was ever
known follows. What is found is kept while it is news: a record is signed and says when it was made, so an older one
never replaces a newer. Clocks are wrong at times, though. A record from the future can't be the latest there is, so
another one replaces it, and for that it is not heard again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from springline.transport.address import Address

MOST = 24
"""Addresses tried in one dial."""

MOST_AHEAD = 8
"""Records from the future that are remembered."""


@dataclass(frozen=True, slots=True)
class Finding:
    """:param issued_at: wall-clock seconds at which the device said so."""

    addresses: tuple[Address, ...]
    issued_at: float


@dataclass(frozen=True, slots=True)
class Ways:
    """What has been found, by the way it came.

    :param ahead: when the latest records from the future were made, wall-clock seconds.
    """

    found: dict[str, Finding] = field(default_factory=dict)
    ahead: tuple[float, ...] = ()

    def find(self, via: str, addresses: tuple[Address, ...], issued_at: float, now: float) -> Ways:
        """With a record that came ``via`` some way; the same if it is no news.

        :param issued_at: by the device's clock. :param now: by ours. Both wall-clock seconds.
        """
        known = self.found.get(via)
        if issued_at in self.ahead or (known is not None and issued_at <= known.issued_at <= now):
            return self
        ahead = (*self.ahead, issued_at)[-MOST_AHEAD:] if issued_at > now else self.ahead
        return Ways({**self.found, via: Finding(addresses, issued_at)}, ahead)

    def order(self, known: Sequence[Address]) -> tuple[Address, ...]:
        """The addresses to try. :param known: those that have worked, last good first."""
        newest_first = sorted(self.found.values(), key=lambda finding: -finding.issued_at)
        news = (address for finding in newest_first for address in finding.addresses)
        return tuple(dict.fromkeys((*known[:1], *news, *known[1:])))[:MOST]
