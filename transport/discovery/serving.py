"""A node of the distributed table: what it answers others. Pure: the time and the secret are arguments.

The rule: every question costs a bounded amount, whoever asks: first the pace, then the token, then the work. A parcel
is kept if the key of its place has signed it. Whoever has shown by a token that it is where it seems to be, and lets
itself be asked, becomes known.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Callable

from springline.errors import Malformed
from springline.transport.anteroom import source_of
from springline.transport.discovery import parcels
from springline.transport.discovery.datagrams import (
    MOST_CONTACTS,
    TOKEN_SIZE,
    Again,
    Answer,
    Contact,
    Find,
    Question,
    Store,
    Stored,
    Told,
)
from springline.transport.discovery.pace import Pace
from springline.transport.discovery.routes import Routes, is_credible
from springline.transport.discovery.shelf import Shelf

EACH = (50.0, 500.0)
"""Units a second and at once that one host may ask for."""

TOGETHER = (1000.0, 3000.0)
"""Units that all may ask for."""

FINDING, STORING = 1.0, 3.0
"""Units: of a search in what is known, of a signature to check."""

TOKEN_SERVES = 300.0
"""Seconds after which tokens are made anew; the former ones serve as long again."""


class Tokens:
    """What shows that somebody is where it seems to be. :param random: bytes from a good source."""

    def __init__(self, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._random = random
        self._keys = (random(32), random(32))
        self._since = 0.0

    def give(self, at: tuple[str, int], now: float) -> bytes:
        """For whoever is there."""
        if now - self._since >= TOKEN_SERVES:
            former = self._keys[0] if now - self._since < 2 * TOKEN_SERVES else self._random(32)
            self._keys, self._since = (self._random(32), former), now
        return _token(self._keys[0], at)

    def is_good(self, token: bytes, at: tuple[str, int], now: float) -> bool:
        """Whether it was given there, not long ago."""
        self.give(at, now)
        return any(secrets.compare_digest(token, _token(key, at)) for key in self._keys)


class Servant:
    """Answers questions. :param own: this node's id."""

    def __init__(self, own: bytes, shelf: Shelf, routes: Routes) -> None:
        self._own, self._shelf, self._routes = own, shelf, routes
        self._tokens = Tokens()
        self._pace = Pace(EACH, TOGETHER)

    def answer(self, asked: Question, at: tuple[str, int], now: float) -> Answer | None:
        """The answer to who is there; None for none. :param now: seconds of a clock that does not go back."""
        source = source_of(at[0])
        if not self._pace.take(source, FINDING if isinstance(asked, Find) else STORING, now):
            return None
        token = self._tokens.give(at, now)
        if not self._tokens.is_good(asked.token, at, now):
            return Again(asked.call, self._own, token)
        speaker = Contact(asked.node, *at)
        if not asked.guest:
            self._routes.add(speaker)
        if isinstance(asked, Store):
            return Stored(asked.call, self._own, token, self._keep(asked, source, now))
        near = self._routes.nearest(asked.place, MOST_CONTACTS + 1)
        contacts = [one for one in near if one.at != at and is_credible(one, at[0])][:MOST_CONTACTS]
        packed = tuple(parcel.packed for parcel in self._shelf.get(asked.place, now))
        return Told(asked.call, self._own, token, tuple(contacts), packed)

    def _keep(self, asked: Store, source: str, now: float) -> bool:
        try:
            parcel = parcels.parse_untrusted(asked.parcel)
        except Malformed:
            return False
        self._shelf.put(parcel, source, now)
        return True


def _token(key: bytes, at: tuple[str, int]) -> bytes:
    where = ipaddress.ip_address(at[0]).packed + at[1].to_bytes(2, "big")
    return hashlib.blake2b(where, key=key, digest_size=TOKEN_SIZE).digest()
