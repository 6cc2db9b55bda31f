"""Looking for the nodes nearest to a place: whom to ask next, and when that is enough. Pure.

The rule is Kademlia's: ask the nearest that is known, learn of nearer ones from it, until the nearest have all been
asked. All that answer are heard, not the first or the most: whoever asks believes what is signed, so it takes one
honest node. What hostile nodes can do is bounded. Those that were known before are asked in any case; beyond them so
many are asked in all, an address once, and of one host a few. Who answers says its id itself, so nobody can put a wrong
id or a wrong address in somebody else's way; who tells of nodes that do not exist has cost as many questions and no
more.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable

from kademlia.node import Node

from springline.transport.anteroom import source_of
from springline.transport.discovery.datagrams import Contact
from springline.transport.discovery.routes import HERE, NEAR, is_credible, reach

MOST_ASKED = 40
"""Nodes asked in one search."""

MOST_EACH = 4
"""Nodes of one host that are heard."""


class Crawl:
    """One search. :param own: this node's id. :param known: nodes to begin with."""

    def __init__(self, place: bytes, own: bytes, known: Iterable[Contact]) -> None:
        self._place, self._own = Node(place), own
        self._first = deque(known)
        self._candidates = dict.fromkeys(self._first)
        self._asked: set[tuple[str, int]] = set()
        self._answered: dict[bytes, Contact] = {}
        self._hosts: Counter[str] = Counter()

    def next(self) -> Contact | None:
        """Whom to ask now; None if nobody, for as long as no further answer comes."""
        if len(self._asked) >= MOST_ASKED:
            return None
        for contact in (*self._first, *self._near(self._candidates)):
            if self._first and contact is self._first[0]:
                self._first.popleft()
            if contact.at not in self._asked and not self._is_crowded(contact):
                self._asked.add(contact.at)
                return contact
        return None

    def answered(self, asked: Contact, node: bytes, told: Iterable[Contact]) -> None:
        """It has answered, that this is its id, and told of these."""
        real = Contact(node, *asked.at)
        if real != asked:
            del self._candidates[asked]
        if node != self._own:
            self._candidates[real] = None
            self._answered[node] = real
            self._hosts[source_of(real.ip)] += 1
        for contact in told:
            if contact.node != self._own and contact.at not in self._asked and is_credible(contact, asked.ip):
                self._candidates[contact] = None

    def failed(self, asked: Contact) -> None:
        """It gives no answer."""
        del self._candidates[asked]

    @property
    def nearest(self) -> tuple[Contact, ...]:
        """Those that have answered, the nearest first."""
        return tuple(self._near(self._answered.values()))

    def _near(self, contacts: Iterable[Contact]) -> list[Contact]:
        return heapq.nsmallest(NEAR, contacts, key=lambda contact: self._place.distance_to(Node(contact.node)))

    def _is_crowded(self, contact: Contact) -> bool:
        return self._hosts[source_of(contact.ip)] >= MOST_EACH and reach(contact.ip) != HERE
