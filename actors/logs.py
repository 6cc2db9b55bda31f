"""Where a node's processes log: one file beside the bus, each process writing for itself.

The engine puts a forwarder in the place of Python's logging root, and its log actor is slow (2,000 records take 2.6 s).
So the root that was there at import is put back and given a file. A line appended with one ``write`` to a file opened
for appending is whole, whoever else writes; no process is needed for it.
"""

from __future__ import annotations

import logging
import os

FILE = "springline.log"
FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
KEEP = 4 << 20
"""Bytes after which a starting node sets the log aside as ``springline.log.1``."""

_root = logging.root
_manager = logging.Logger.manager


def log_to(directory: str) -> None:
    """Send this process's log records to the file in ``directory``, and nowhere else."""
    logging.root = logging.Logger.root = _root
    logging.Logger.manager = _manager
    handler = logging.FileHandler(os.path.join(directory, FILE), delay=True)
    handler.setFormatter(logging.Formatter(FORMAT))
    _root.handlers[:] = [handler]
    _root.setLevel(os.environ.get("SPRINGLINE_LOG", "INFO").upper())


def turn_over(directory: str) -> None:
    """Set a grown log aside; called when a node starts, before anybody writes."""
    path = os.path.join(directory, FILE)
    try:
        if os.path.getsize(path) > KEEP:
            os.replace(path, path + ".1")
    except FileNotFoundError:
        pass
