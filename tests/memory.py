"""Temporary files in memory, for tests that write and remove thousands of small ones.

It is no loss of truth where what a disk does is played, or not asked: a real one is slow at removing them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

MEMORY = "/dev/shm"
ENOUGH = 256 << 20
"""Bytes that have to be free there."""


@pytest.fixture(scope="module", autouse=True)
def in_memory() -> Iterator[None]:
    """Where the system has a place for it, ``tempfile`` makes its files there. For all tests of a module."""
    before = tempfile.tempdir
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
        tempfile.tempdir = MEMORY
    yield
    tempfile.tempdir = before
