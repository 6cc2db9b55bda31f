"""The simulated PortMapper: the real core, and a router that grants what it is asked for, if it is one that maps.

The rule: as in ``actors/ports.py``: ``transport/ports/keeping.py`` decides when the router is asked, and what is told
to the transport. So a new address that the provider gives the router is known here when the router is looked at next.
Looks that would show the same are left out while nothing changes (see ``resting.py``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from springline.tests.simulation.clock import Timer
from springline.tests.simulation.monitor import view_of
from springline.tests.simulation.network import PORT, address_of
from springline.tests.simulation.process import Process
from springline.transport.network import Change
from springline.transport.ports import keeping
from springline.transport.ports.keeping import LOOK, Denied, Grant, Granted, Keeping, Looked, Router

if TYPE_CHECKING:
    from springline.tests.simulation.node import Node

ANSWERS = 0.02
"""Seconds a router takes."""


class Ports(Process):
    """One node's."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._keeping = Keeping()
        self._timer: Timer | None = None
        self._rests = False
        self._find_router()

    def network_changed(self, _change: Change) -> None:
        """The router may be another one."""
        self._find_router()

    def addresses_changed(self) -> None:
        """The transport may have been born again."""
        self._tell()

    def _tell(self) -> None:
        node, address = self.node, self._keeping.told
        node.tell(("ports", "transport"), lambda: node.transport, lambda transport: transport.mapped_at(address))

    def _find_router(self) -> None:
        host = self.node.host
        way = view_of(host).way(4)
        if way is None:
            self._feed(keeping.Routed(None, "this machine has no way out (IPv4)"))
        elif keeping.needs_no_router(host.ip):
            self._feed(keeping.Routed(None, "no router translates"))
        else:
            self._feed(keeping.Routed(Router(host.ip, way)))

    def _feed(self, event: keeping.Event) -> None:
        self._rests = False
        self._keeping, effects = keeping.step(self._keeping, event, self.loop.time())
        for effect in effects:
            if isinstance(effect, keeping.Tell):
                self._tell()
            else:
                self.loop.call_later(ANSWERS, self._answered, effect)
        if self._timer is not None:
            self._timer.cancel()
        self._arm(self._keeping.due_at)

    def _arm(self, due_at: float | None) -> None:
        self._timer = None if due_at is None else self.loop.call_at(due_at, self._feed, keeping.Due())

    def look_soon(self) -> None:
        """Something is different: the next look may show it. It comes when it would have come."""
        if self._rests:
            self._rests = False
            due_at, now = self._keeping.due_at or 0.0, self.loop.time()
            self._keeping = replace(self._keeping, due_at=due_at + math.ceil(max(0.0, now - due_at) / LOOK) * LOOK)
            if self._timer is not None:
                self._timer.cancel()
            self._arm(self._keeping.due_at)

    def _rest(self) -> None:
        """All is as it was: looks that would show the same are left out."""
        kept = self._keeping.kept
        if kept is not None and self._timer is not None and self.node.world.rest.allowed:
            self._rests = True
            self._timer.cancel()
            self._arm(kept.renew_at)

    def _answered(self, question: keeping.Map | keeping.Look) -> None:
        host = self.node.host
        site = host.site
        if site is None or not site.nat or not site.maps:
            self._feed(Denied(question.number, "the router maps no port"))
            return
        if isinstance(question, keeping.Look):
            self._feed(Looked(question.number, site.public, there=host.mapped))
            self._rest()
            return
        host.mapped = True
        self.node.world.network.changed()
        outside = address_of(site.public, PORT + host.number)
        self._feed(Granted(question.number, Grant("NAT-PMP", outside, True, keeping.LIFETIME)))
