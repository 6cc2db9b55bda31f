"""Durable writes: after any crash a file holds the old or the new state, never half of one.

The order is the promise: write a temporary file in the same folder, fsync it, keep the present version under
``<name>.previous``, rename over the name, fsync the folder. Every system call goes through :data:`calls`, so that a
test can stop the world before each of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from springline.errors import LocalFault, StorageFull

PREVIOUS = ".previous"
TEMPORARY = ".new-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass
class Calls:
    """The system calls that change a disk."""

    write: Any = os.write
    fsync: Any = os.fsync
    link: Any = os.link
    rename: Any = os.replace
    unlink: Any = os.unlink


calls = Calls()


def write(path: Path, data: bytes) -> None:
    """Replace the contents of ``path``, readable by its owner alone.

    :raises StorageFull: no room; the file is as before. :raises LocalFault: the system refused; likewise.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(temporary, data)
        _keep_previous(path)
        calls.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            calls.unlink(temporary)
        if error.errno in _FULL:
            raise StorageFull(f"no room to write {path.name}", "free some space; nothing was lost") from None
        why = (error.strerror or str(error)).lower()
        raise LocalFault(f"can't write {path.name}: {why}", "nothing was lost") from None


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[calls.write(fd, rest) :]
        calls.fsync(fd)
    finally:
        os.close(fd)


def _keep_previous(path: Path) -> None:
    previous = path.with_name(path.name + PREVIOUS)
    link = path.with_name(f"{path.name}{TEMPORARY}link")
    with contextlib.suppress(FileNotFoundError):
        calls.unlink(link)
    try:
        calls.link(path, link)
    except FileNotFoundError:
        return  # the first version has no former one
    calls.rename(link, previous)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.fsync(fd)
    finally:
        os.close(fd)


def erase(path: Path) -> None:
    """Remove a file and its previous version, overwriting both first.

    Overwriting is a best effort: a journalling or copying file system may keep old blocks. What is erased here is
    sealed, so that what might remain is worth nothing without the key.
    """
    for victim in (path, path.with_name(path.name + PREVIOUS)):
        with contextlib.suppress(FileNotFoundError):
            size = victim.stat().st_size
            fd = os.open(victim, os.O_WRONLY | os.O_CLOEXEC)
            try:
                calls.write(fd, bytes(size))
                calls.fsync(fd)
            finally:
                os.close(fd)
            calls.unlink(victim)
    if path.parent.exists():
        sync_folder(path.parent)


def tidy(folder: Path) -> None:
    """Remove the temporary files that a crash has left behind."""
    for path in folder.glob(f"*{TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            calls.unlink(path)
