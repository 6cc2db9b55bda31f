"""How a process of the tree comes to be: forked by its parent, on a lifeline.

The rule: a parent sees its child's end, and the child its parent's, with nothing left open for it elsewhere. The engine
would fork by multiprocessing, whose two sentinel pipes stay open in the parent and are inherited by every later child,
and it would keep the process to itself.
"""

from __future__ import annotations

import gc
import os
from multiprocessing import popen_fork
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any

from thespian.actors import ActorAddress

from springline.actors import guard
from springline.errors import LocalFault


class Popen(popen_fork.Popen):
    """A fork with a lifeline and without sentinel pipes."""

    latest: Popen | None = None

    def _launch(self, process_obj: Any) -> None:
        guard.extend()
        self.finalizer = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            gc.freeze()  # the collector writes into what it looks at, and then the memory is not shared any more
            try:
                code = process_obj._bootstrap()
            finally:
                os._exit(code)
        self.sentinel = -1
        Popen.latest = self


class _Process(ForkProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return Popen(process_obj)


class Context(ForkContext):
    """What the engine starts its processes by."""

    Process = _Process


def start_child(actor: Any, kind: type) -> tuple[ActorAddress, Any]:
    """Start a child of ``actor``; its address, and its process (``pid``, ``is_alive()``, ``exitcode``).

    The engine keeps the process to itself, but a supervisor must be able to see and end one that answers no message.

    :raises LocalFault: the system has no process left; the engine itself would say nothing.
    """
    engine = actor._myRef
    before = getattr(engine, "_child_procs", [])[-1:]
    child = actor.createActor(kind)
    started = getattr(engine, "_child_procs", [])[-1:]
    if not started or started == before:
        raise LocalFault(f"no process could be started for {kind.__name__}", "see engine.log beside the bus")
    return child, started[0].childProc
