"""What a process does so that its memory stays its own: no core dumps, no readers, and, for secrets, no swap.

The rule: every process of the tree does the first two when it is forked, the Keystore the third once its secrets are in
memory. All of it is what the system grants; none of it stops root, or a system that sleeps to disk.

* No core dumps: the size limit of one is 0, and on Linux the process is not dumpable (``prctl(2)``), which also covers
  dumps handed to a program, and lets nobody else of the same user look into its memory or ``/proc``.
* No swap: ``mlockall(2)`` of what is mapped by then, each page as it is touched. What is mapped later is not covered:
  with ``MCL_FUTURE``, a process at its limit would fail to get memory at all. Users without privilege may lock 8 MiB
  on most systems, which is too little for a Python process; then nothing is locked, and the log says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import sys

log = logging.getLogger("springline.hardening")

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_ONFAULT = 1, 4


def harden() -> None:
    """No core dumps of this process, and on Linux nobody of the same user reads it."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def keep_in_memory() -> bool:
    """Keep what is mapped now out of the swap space; whether the system grants it."""
    if sys.platform != "linux":
        log.debug("this system is not asked to keep memory out of its swap space")
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_ONFAULT) == 0:
        return True
    why = os.strerror(ctypes.get_errno()).lower()
    log.debug("memory could not be kept out of the swap space: %s", why)
    return False
