"""No orphans: a process of the tree ends when its parent ends, however that ended.

The rule: each process that starts children owns a pipe, its *lifeline*, whose write end it never shares. A child keeps
the read end, and a thread waits on it; end of file means that the parent is gone, and the child leaves at once. This
works while the actor hangs, needs nothing but POSIX pipes and fork, and takes a subtree down level by level in
milliseconds. Leaving at once, without ceremony, is safe because every write of ours is: that is what SIGKILL tests.
A *stopped* process runs no thread; Linux can be asked to kill that one too (``prctl(2)``, ``PR_SET_PDEATHSIG``).

The other way round, the app holds the read end of a pipe whose write end every process of the tree inherits: end of
file there means that the last of them is gone. And each tree hangs on a lifeline of its own, which the app can cut.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1

_own: tuple[int, int] | None = None
"""The lifeline (read, write) that the next child gets, once there has been one."""

_write_ends: set[int] = set()
"""Of all of this process's lifelines: what its children must not hold."""

_parents: int | None = None
"""Read end of the parent's lifeline, in a child."""


def extend() -> None:
    """Call in the parent, before it forks a child that shall not outlive it."""
    global _own
    if _own is None:
        _own = _lifeline()


def watch(*, adopted: bool = False) -> None:
    """Call in the child, once: from now on it ends with its parent.

    :param adopted: the process that forked it is to end at once, as daemons do it, and leaves it to the one before.
    """
    if not adopted:
        _die_even_stopped()
    if _parents is not None:
        threading.Thread(target=_wait, args=(_parents,), name="guard", daemon=True).start()


class Tree:
    """One tree of processes, as the app that starts it sees it: what is forked inside the ``with`` block, and so on."""

    def __init__(self) -> None:
        self.end, self._held = os.pipe()
        self._lifeline: tuple[int, int] | None = _lifeline()

    def __enter__(self) -> Tree:
        global _own
        self._outer, _own = _own, self._lifeline
        return self

    def __exit__(self, *_: object) -> None:
        global _own
        _own = self._outer
        os.close(self._held)  # here only: the forked keep theirs, knowing nothing of it

    def is_over(self, patience: float) -> bool:
        """Wait up to ``patience`` seconds for the last process to end; whether it has."""
        poll = select.poll()
        poll.register(self.end, select.POLLIN)
        return bool(poll.poll(patience * 1000))

    def cut(self) -> None:
        """End every process of the tree at once; does nothing the second time."""
        if self._lifeline is not None:
            read, write = self._lifeline
            self._lifeline = None
            _write_ends.discard(write)
            os.close(write)
            os.close(read)

    def close(self) -> None:
        """Cut it, and forget it: :attr:`end` is closed."""
        self.cut()
        os.close(self.end)
        self.end = -1


def _die_even_stopped() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _wait(lifeline: int) -> None:
    os.read(lifeline, 1)  # nobody ever writes: this returns at end of file
    os._exit(1)


def _lifeline() -> tuple[int, int]:
    read, write = os.pipe()
    _write_ends.add(write)
    return read, write


def _in_child() -> None:
    global _own, _parents
    for write in _write_ends:
        os.close(write)
    _write_ends.clear()
    if _own is None:  # a fork within a fork, as daemons do: the lifeline stays the one there is
        return
    if _parents is not None:
        os.close(_parents)
    _parents, _ = _own
    _own = None


os.register_at_fork(after_in_child=_in_child)
