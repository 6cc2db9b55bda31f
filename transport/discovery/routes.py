"""Which other nodes of the distributed table a node knows: kademlia's buckets, with bounds.

The rule: only who has shown that it is where it says is known here, and whoever has been good for longest stays
(Maymounkov and Mazières, 2002, §2.2 and §4.1). A host has a few places, so one machine can't be everybody. Only the
bucket around this node's own id is split: there are no more of them than bits in an id.

And an address is believed no further than it goes: who is reached over the internet can't send us to our own network,
nor can a neighbour to our own machine.

Of the library we take nodes, buckets and the routing table. Not its server and its protocol: they load a pickled file,
call a method by a name that came from the network, decode without a bound, know whoever claims to be somewhere, take
any value from anybody, and copy all they keep to each node that is new.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import Counter
from typing import Any

from kademlia.node import Node
from kademlia.routing import RoutingTable

from springline.transport.anteroom import source_of
from springline.transport.discovery.datagrams import Contact
from springline.transport.lineup import objection

NEAR = 8
"""Nodes that are near a place; the *k* of Kademlia."""

MOST = 512
"""Nodes known, those that wait to replace others included."""

MOST_EACH = 8
"""Nodes known of one host; another machine is not concerned by what is on this one."""

NOWHERE, HERE, NEARBY, ANYWHERE = range(4)


def reach(ip: str, port: int = 1) -> int:
    """From where an address can be reached: this machine (:data:`HERE`), a network of our own, or the internet.

    :data:`NOWHERE` for one that is none, that depends on an interface, or that is written as what it is not.
    """
    found = ipaddress.ip_address(ip)
    mapped = isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None
    if objection(ip, port) or found.is_link_local or mapped:
        return NOWHERE
    if found.is_loopback:
        return HERE
    return ANYWHERE if found.is_global else NEARBY


def is_credible(told: Contact, teller: str) -> bool:
    """Whether that host can be believed to know that address."""
    return NOWHERE < reach(told.ip, told.port) >= reach(teller)


class _Buckets(RoutingTable):  # type: ignore[misc]  # the library is untyped
    """The library's routing table, split only where this node is, and exact at a bucket's edges."""

    def bucket_for(self, node: Any) -> Any:
        """The bucket that has it, or would."""
        return self.buckets[self.get_bucket_for(node)]

    def get_bucket_for(self, node: Any) -> int:
        return next(index for index, bucket in enumerate(self.buckets) if node.long_id <= bucket.range[1])

    def add_contact(self, node: Any) -> bool:
        """False if there is no room for it."""
        while len(bucket := self.bucket_for(node)) >= NEAR and bucket.has_in_range(self.node):
            self.split_bucket(self.get_bucket_for(node))
        if len(bucket) >= NEAR and len(bucket.replacement_nodes) >= NEAR:
            return False
        bucket.add_node(node)  # if it is full, it waits there for one that is known to fail
        return True


class Routes:
    """The nodes that are known. :param own: this node's id."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._buckets = _Buckets(None, NEAR, Node(own))
        self._hosts: Counter[str] = Counter()

    def add(self, contact: Contact) -> None:
        """It has just been heard of at its address. Who is known already is known where it was."""
        node, host = _node(contact), source_of(contact.ip)
        bucket = self._buckets.bucket_for(node)
        if contact.node == self._own or contact.node in bucket.nodes or contact.node in bucket.replacement_nodes:
            return
        crowded = self._hosts[host] >= MOST_EACH and reach(contact.ip) != HERE
        if not crowded and self._hosts.total() < MOST and self._buckets.add_contact(node):
            self._hosts[host] += 1

    def remove(self, contact: Contact) -> None:
        """It gives no answer there."""
        node, host = _node(contact), source_of(contact.ip)
        known = self._buckets.bucket_for(node)[contact.node]
        if known is not None and known.same_home_as(node):
            self._buckets.remove_contact(node)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    def nearest(self, place: bytes, count: int = NEAR) -> tuple[Contact, ...]:
        """The nodes nearest to that place, the nearest first."""
        there = Node(place)
        nodes = (node for bucket in self._buckets.buckets for node in bucket.get_nodes())
        return tuple(_contact(node) for node in heapq.nsmallest(count, nodes, key=there.distance_to))

    def __len__(self) -> int:
        return sum(map(len, self._buckets.buckets))


def _node(contact: Contact) -> Any:
    return Node(contact.node, contact.ip, contact.port)


def _contact(node: Any) -> Contact:
    return Contact(node.id, node.ip, node.port)
