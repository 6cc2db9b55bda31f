"""Handlers that installed packages bring: the entry-point group ``springline.protocols``.

An entry's object is a subclass of ``ProtocolHandler``. One that can't be loaded is logged and left out: a broken
plug-in must not keep a node from starting.
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

from springline.protocols.handler import ProtocolHandler

GROUP = "springline.protocols"

log = logging.getLogger("springline.plugins")


def installed() -> tuple[type[ProtocolHandler], ...]:
    """The handlers of installed packages, by name of their entry."""
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            handler = entry.load()
        except Exception as error:  # noqa: BLE001 - whatever a stranger's module raises when it is imported
            log.warning("plug-in %s can't be loaded: %s", entry.name, error)
            continue
        if isinstance(handler, type) and issubclass(handler, ProtocolHandler) and handler.protocol:
            found.append(handler)
        else:
            log.warning("plug-in %s is no ProtocolHandler with a protocol's name", entry.name)
    return tuple(found)
