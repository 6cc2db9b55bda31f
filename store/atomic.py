"""Durable writes: after any crash a file holds the old or the new state, never half of one.

The order is the promise: write a temporary file in the same folder, fsync it, keep the present version under
``<name>.previous``, rename over the name, fsync the folder; a folder that is new is itself fsynced into its parent. A
folder has one writer at a time: the data directory (``device.json``) the app's process, ``network`` and what is below
it the Keystore's. Every system call goes through :data:`calls`, so that a test can stop the world before each of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from springline.errors import LocalFault, Misuse, StorageFull

log = logging.getLogger("springline.store")

PREVIOUS = ".previous"
TEMPORARY = ".new-"
_CHUNK = 1 << 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _flush(fd: int) -> None:
    """fsync, down to the medium: on macOS fsync alone leaves the data in the drive's cache (its fsync(2) says so)."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with contextlib.suppress(OSError):  # a network's file system may not know it
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


@dataclass
class Calls:
    """The system calls that change a disk."""

    create: Any = os.open
    write: Any = os.write
    fsync: Any = _flush
    link: Any = os.link
    rename: Any = os.replace
    truncate: Any = os.ftruncate
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


def write(path: Path, data: bytes, *, keep: bool = True) -> None:
    """Replace the contents of ``path``, readable by its owner alone.

    :param keep: the present version, as the previous one.
    :raises StorageFull: no room; the file is as before. :raises LocalFault: the system refused; likewise.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}{secrets.token_hex(4)}")
    try:
        make_folder(path.parent)
        _write_new(temporary, data)
        if keep:
            _keep_previous(path)
        calls.rename(temporary, path)
        _sync_or_undo(path) if keep else sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            calls.unlink(temporary)
        if error.errno in _FULL:
            raise StorageFull(f"no room to write {path.name}", "free some space; nothing was lost") from None
        raise LocalFault(f"can't write {path.name}: {_why(error)}", "nothing was lost") from None


def rehearse(folder: Path, size: int) -> None:
    """Find out whether there is room for so many bytes in a folder: they are written, and removed again.

    Random ones, as what is sealed looks: a file system that compresses has room for any number of zeros.

    :raises StorageFull: no room. :raises LocalFault: the system refused.
    """
    temporary = folder / f"room{TEMPORARY}{secrets.token_hex(4)}"
    try:
        make_folder(folder)
        try:
            _write_new(temporary, secrets.token_bytes(size))
        finally:
            with contextlib.suppress(FileNotFoundError):
                calls.unlink(temporary)
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("there is no room on the disk", "free some space; nothing was lost") from None
        raise LocalFault(f"can't write to {folder.name}: {_why(error)}", "nothing was lost") from None


def publish(path: Path, data: bytes, *, replace: bool) -> None:
    """A file for the user, whole or not there, readable by its owner alone; in a folder that exists.

    :raises Misuse: it exists, and is not to be replaced. :raises StorageFull: no room. :raises LocalFault: the system
        refused.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}{secrets.token_hex(4)}")
    try:
        try:
            _write_new(temporary, data)
            (calls.rename if replace else calls.link)(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                calls.unlink(temporary)
        sync_folder(path.parent)
    except FileExistsError:
        raise Misuse(f"{path} exists", "choose another name") from None
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"no room to write {path}", "free some space") from None
        raise LocalFault(f"can't write {path}: {_why(error)}") from None


def write_both(path: Path, data: bytes) -> None:
    """Replace the present and the previous version, and overwrite what they held: none of it may be found any more.

    Overwriting is a best effort, as that of :func:`erase`. So is the previous version's replacement: once the present
    one is written, the next write does it.

    :raises StorageFull: no room; both are as before. :raises LocalFault: the system refused; likewise.
    """
    with contextlib.ExitStack() as former:
        fds = [fd for version in (path, previous(path)) if (fd := _opened(version, former)) is not None]
        write(path, data)
        try:
            write(path, data)
            for fd in fds:
                _blank(fd)
        except (LocalFault, OSError) as error:
            log.warning("the version of %s before this one is still there: %s", path.name, error)


def _opened(path: Path, until: contextlib.ExitStack) -> int | None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None
    until.callback(os.close, fd)
    return fd


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
    fd = calls.create(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
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
            _erase_file(path)
        calls.rmdir(folder)
        sync_folder(folder.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalFault(f"can't erase what is kept of a device: {_why(error)}", "try again") from None


def remove(path: Path) -> None:
    """Remove all versions of one file, if there are any; overwritten as by :func:`erase`.

    :raises LocalFault: the system refused; some may be left.
    """
    try:
        found = [version for version in (path, previous(path)) if version.exists()]
        for version in found:
            _erase_file(version)
        if found:
            sync_folder(path.parent)
    except OSError as error:
        raise LocalFault(f"can't remove {path.name}: {_why(error)}", "try again") from None


def _erase_file(path: Path) -> None:
    with contextlib.suppress(OSError):
        _overwrite(path)  # a file system that copies has to have room for it
    calls.unlink(path)


def _overwrite(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        _blank(fd)
    finally:
        os.close(fd)


def _blank(fd: int) -> None:
    rest = os.fstat(fd).st_size
    while rest > 0:
        rest -= calls.write(fd, bytes(min(rest, _CHUNK)))
    calls.fsync(fd)


def tidy(folder: Path, before: float = math.inf) -> None:
    """Remove the temporary files that a crash has left behind; only the folder's writer may.

    :param before: only older ones (wall-clock seconds): these anybody may remove.
    """
    for path in folder.glob(f"*{TEMPORARY}*"):
        with contextlib.suppress(OSError):  # they do no harm
            if path.lstat().st_mtime < before:
                calls.unlink(path)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
