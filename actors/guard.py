"""No orphans: a process of the tree ends when its parent ends, however that ended.

The rule: each process that starts children owns a pipe, its *lifeline*, whose write end it never shares. A child keeps
the read end, and a thread waits on it; end of file means that the parent is gone, and the child leaves at once. This
works while the actor hangs, needs nothing but POSIX pipes and fork, and takes a subtree down level by level in
milliseconds. Leaving at once, without ceremony, is safe because every write of ours is: that is what SIGKILL tests.
A *stopped* process runs no thread; Linux can be asked to kill that one too (``prctl(2)``, ``PR_SET_PDEATHSIG``).

The other way round, the app holds the read end of a pipe whose write end every process of the tree inherits: end of
file there means that the last of them is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1

_own: tuple[int, int] | None = None
"""This process's lifeline (read, write), once it has started a child."""

_parents: int | None = None
"""Read end of the parent's lifeline, in a child."""


def extend() -> None:
    """Call in the parent, before it forks a child that shall not outlive it."""
    global _own
    if _own is None:
        _own = os.pipe()


def watch(*, adopted: bool = False) -> None:
    """Call in the child, once: from now on it ends with its parent.

    :param adopted: the process that forked it is to end at once, as daemons do it, and leaves it to the one before.
    """
    if not adopted:
        _die_even_stopped()
    if _parents is not None:
        threading.Thread(target=_wait, args=(_parents,), name="guard", daemon=True).start()


@contextlib.contextmanager
def tree() -> Iterator[int]:
    """What is forked inside the block, and forked by that in turn, is one tree.

    Yields a descriptor, the caller's to close, that becomes readable when the last process of the tree has ended.
    """
    ended, held = os.pipe()
    try:
        yield ended
    finally:
        os.close(held)  # here only: the forked keep theirs, knowing nothing of it


def _die_even_stopped() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _wait(lifeline: int) -> None:
    os.read(lifeline, 1)  # nobody ever writes: this returns at end of file
    os._exit(1)


def _in_child() -> None:
    global _own, _parents
    if _own is None:  # a fork within a fork, as daemons do: the lifeline stays the one there is
        return
    read, write = _own
    os.close(write)
    if _parents is not None:
        os.close(_parents)
    _own, _parents = None, read


os.register_at_fork(after_in_child=_in_child)
