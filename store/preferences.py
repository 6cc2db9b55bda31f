"""``preferences.json``: how to reach one device and how eagerly (the seed's ConnectionConfig)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from springline.errors import Damaged
from springline.store import migrate

ROLE = "preferences"
MOST_ADDRESSES = 16


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
