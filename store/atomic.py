"""Durable writes: after any crash a file holds the old or the new state, never half of one.

The order is the promise: write a temporary file in the same folder, fsync it, keep the present version under
``<name>.previous``, rename over the name, fsync the folder; a folder that is new is itself fsynced into its parent. A
file has one writer at a time. Every system call goes through :data:`calls`, so that a test can stop the world before
each of them.
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
_CHUNK = 1 << 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass
class Calls:
    """The system calls that change a disk."""

    write: Any = os.write
    fsync: Any = os.fsync
    link: Any = os.link
    rename: Any = os.replace
    unlink: Any = os.unlink
    mkdir: Any = os.mkdir
    rmdir: Any = os.rmdir


calls = Calls()


def read(path: Path) -> bytes | None:
    """The contents of ``path``, or None if there is no such file. :raises LocalFault: the system refused."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalFault(f"can't read {path.name}: {_why(error)}", "check who owns it") from None


def write(path: Path, data: bytes) -> None:
    """Replace the contents of ``path``, readable by its owner alone.

    :raises StorageFull: no room; the file is as before. :raises LocalFault: the system refused; likewise.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}{secrets.token_hex(4)}")
    try:
        make_folder(path.parent)
        _write_new(temporary, data)
        _keep_previous(path)
        calls.rename(temporary, path)
        _sync_or_undo(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            calls.unlink(temporary)
        if error.errno in _FULL:
            raise StorageFull(f"no room to write {path.name}", "free some space; nothing was lost") from None
        raise LocalFault(f"can't write {path.name}: {_why(error)}", "nothing was lost") from None


def undo(path: Path) -> None:
    """Take the last :func:`write` back: the version before it counts again, or none if it was the first.

    Needs no room on the disk. :raises LocalFault: the system refused.
    """
    try:
        try:
            calls.rename(previous(path), path)
        except FileNotFoundError:
            calls.unlink(path)
        sync_folder(path.parent)
    except OSError as error:
        raise LocalFault(f"can't restore {path.name}: {_why(error)}") from None


def _sync_or_undo(path: Path) -> None:
    try:
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(LocalFault):
            undo(path)
        raise


def previous(path: Path) -> Path:
    """Where the version before the present one is kept."""
    return path.with_name(path.name + PREVIOUS)


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and those above it, so that a crash does not lose it with what is in it.

    :raises OSError: the system refused.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        calls.mkdir(folder, 0o700)
    sync_folder(folder.parent)


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
    link = path.with_name(f"{path.name}{TEMPORARY}link")
    with contextlib.suppress(FileNotFoundError):
        calls.unlink(link)
    try:
        calls.link(path, link)
    except FileNotFoundError:
        return  # the first version has no former one
    calls.rename(link, previous(path))
    with contextlib.suppress(FileNotFoundError):
        calls.unlink(link)  # still there if both were one file already, after a crash: POSIX rename does nothing then


def sync_folder(folder: Path) -> None:
    """Make renames and removals in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.fsync(fd)
    finally:
        os.close(fd)


def erase(folder: Path) -> None:
    """Remove a folder of files, if it is there; present, previous and half-written versions, each overwritten first.

    Overwriting is a best effort: a journalling or copying file system may keep old blocks. What is erased here is
    sealed, so that what might remain is worth nothing without the key.

    :raises LocalFault: the system refused; some may be left.
    """
    try:
        for path in sorted(folder.iterdir()):
            with contextlib.suppress(OSError):
                _overwrite(path)  # a file system that copies has to have room for it
            calls.unlink(path)
        calls.rmdir(folder)
        sync_folder(folder.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalFault(f"can't erase what is kept of a device: {_why(error)}", "try again") from None


def _overwrite(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        rest = os.fstat(fd).st_size
        while rest > 0:
            rest -= calls.write(fd, bytes(min(rest, _CHUNK)))
        calls.fsync(fd)
    finally:
        os.close(fd)


def tidy(folder: Path) -> None:
    """Remove the temporary files that a crash has left behind."""
    for path in folder.glob(f"*{TEMPORARY}*"):
        with contextlib.suppress(OSError):  # they do no harm
            calls.unlink(path)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
