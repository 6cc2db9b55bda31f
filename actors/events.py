"""EventHub: every subscriber gets every event, as long as it renews its lease.

The rule: a subscriber is a bus path and a time. One that is dead is dropped at the first event it misses; one that is
alive but silent is dropped when its lease ends. The list is kept beside the bus, so that a killed hub comes back with
its subscribers and nobody has to notice.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from springline.actors.messages import Publish, Subscribe, Unsubscribe
from springline.actors.shell import IoShell, Sender, receives

log = logging.getLogger("springline.events")

FILE = "subscribers.json"
MOST = 1000
"""Subscribers at a time; beyond that the oldest lease goes."""


class EventHub(IoShell):
    """Spreads :class:`Publish` to everybody who has sent :class:`Subscribe`."""

    async def start(self, args: Any) -> None:
        """Take up the subscribers of a former life."""
        self._ends: dict[str, float] = {}
        try:
            with open(os.path.join(self.bus_directory, FILE), encoding="utf-8") as file:
                former = json.load(file)
        except (FileNotFoundError, ValueError):
            return
        now = self.loop.time()
        self._ends = {path: now + float(lease) for path, lease in former.items()}

    @receives(Subscribe)
    def subscribe(self, message: Subscribe, sender: Sender) -> None:
        """Add the sender, or renew its lease."""
        known = sender.path in self._ends
        self._ends[sender.path] = self.loop.time() + message.lease
        if len(self._ends) > MOST:
            del self._ends[min(self._ends, key=self._ends.__getitem__)]
        if not known:
            self._remember()

    @receives(Unsubscribe)
    def unsubscribe(self, message: Unsubscribe, sender: Sender) -> None:
        """Forget the sender."""
        if self._ends.pop(sender.path, None) is not None:
            self._remember()

    @receives(Publish)
    def publish(self, message: Publish, sender: Sender) -> None:
        """Pass the event on; forget whoever is not there any more."""
        now = self.loop.time()
        gone = [path for path, end in self._ends.items() if end < now or not self.tell(path, message.event)]
        for path in gone:
            del self._ends[path]
        if gone:
            self._remember()

    def _remember(self) -> None:
        now = self.loop.time()
        temporary = os.path.join(self.bus_directory, FILE + ".new")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump({path: end - now for path, end in self._ends.items() if end > now}, file)
            os.replace(temporary, os.path.join(self.bus_directory, FILE))
        except OSError as error:  # no room, say: should this process die now, they are here again when they renew
            log.warning("the subscribers can't be noted: %s", error)
