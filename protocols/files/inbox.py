"""Where received files are put together: partial under a hidden name, then whole under their own.

The rule: all that is needed to go on is on disk. The partial file is named after the transfer; a finished transfer
leaves a small record, so that a sender who never heard of its success is told so instead of sending it again. A handler
that is restarted in the middle knows nothing and needs nothing.

    .<transfer>.part    what has arrived      .<transfer>.done    JSON: name, size, BLAKE3

Everything happens below one directory descriptor; nothing follows a link, nothing is overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from springline.errors import Busy, LocalFault, Misuse, StorageFull
from springline.protocols.files.naming import numbered

ABANDONED = 7 * 86400.0
"""Seconds without a byte after which a partial file is given up."""

MOST_DONE = 256
"""Finished transfers remembered; beyond that the oldest are forgotten."""

_MOST_NAMESAKES = 999
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Done:
    """A finished transfer. :param name: under which the file lies. :param blake3: of the whole file."""

    name: str
    size: int
    blake3: bytes


def usable(folder: str | os.PathLike[str]) -> str:
    """A folder that somebody has chosen for received files, made if it does not exist.

    A full disk is no objection: it may have room when a file comes.

    :raises Misuse: it is none, or nothing may be written there.
    """
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        trouble = 0 if os.access(folder, os.W_OK | os.X_OK) else errno.EACCES
    except FileExistsError:
        trouble = errno.ENOTDIR
    except OSError as error:
        trouble = 0 if error.errno in _FULL else error.errno or errno.EIO
    if trouble:
        why = os.strerror(trouble).lower()
        raise Misuse(f"can't use {folder} for received files: {why}", "choose another --incoming")
    return os.fspath(folder)


class Inbox:
    """One folder for received files. :param folder: made if it does not exist."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LocalFault(f"can't use {folder} for received files: {(error.strerror or '').lower()}") from None

    def done(self, transfer: UUID) -> Done | None:
        """The record of a finished transfer, if it is remembered."""
        try:
            fd = os.open(_done(transfer), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return None
        with os.fdopen(fd, encoding="utf-8") as file, contextlib.suppress(ValueError, KeyError, TypeError):
            fields = json.load(file)
            return Done(str(fields["name"]), int(fields["size"]), bytes.fromhex(fields["blake3"]))
        return None

    def received(self, transfer: UUID, size: int) -> int:
        """Bytes of it that are here; a partial file longer than the whole is thrown away."""
        try:
            found = os.stat(_part(transfer), dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        if stat.S_ISREG(found.st_mode) and found.st_size <= size:
            return found.st_size
        os.unlink(_part(transfer), dir_fd=self._folder)
        return 0

    def open_part(self, transfer: UUID, offset: int) -> int:
        """A descriptor of the partial file, cut to ``offset`` bytes; the caller's to close.

        It is locked for as long as any copy of the descriptor is open, in whichever process: two streams of one
        transfer must not write at a time, and a killed process lets go.

        :raises Busy: a stream is still writing it. :raises LocalFault: it can't be had.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with _no_os_errors():
            fd = os.open(_part(transfer), flags, 0o600, dir_fd=self._folder)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(fd, offset)
            except BlockingIOError:
                os.close(fd)
                raise Busy("this file is being received already") from None
            except OSError:
                os.close(fd)
                raise
        return fd

    def discard(self, transfer: UUID) -> None:
        """Throw the partial file away."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_part(transfer), dir_fd=self._folder)

    def forget_abandoned(self, now: float) -> int:
        """Throw away partial files that nothing was written to for :data:`ABANDONED` seconds; how many.

        :param now: wall-clock seconds.
        """
        parts = [name for name in os.listdir(self._folder) if name.startswith(".") and name.endswith(".part")]
        return sum(self._forget_if_abandoned(name, now) for name in parts)

    def _forget_if_abandoned(self, part: str, now: float) -> bool:
        with contextlib.suppress(OSError):  # not ours after all, or a stream still has it
            fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(fd)
                if stat.S_ISREG(found.st_mode) and now - found.st_mtime > ABANDONED:
                    os.unlink(part, dir_fd=self._folder)
                    return True
            finally:
                os.close(fd)
        return False

    def finish(self, transfer: UUID, name: str, size: int, blake3: bytes) -> Done:
        """The file is whole and verified: put it under its name, or a namesake's, durably. Repeating does no harm.

        :raises LocalFault: it can't be done, as the partial file is gone or the disk is full.
        """
        with _no_os_errors():
            done = self.done(transfer)
            if done is None:
                self._sync(_part(transfer))
                done = Done(self._settle(_part(transfer), name), size, blake3)
                self._remember(transfer, done)
            self.discard(transfer)
            os.fsync(self._folder)
        return done

    def _sync(self, part: str) -> None:
        fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _settle(self, part: str, name: str) -> str:
        """Give the file its name; a link fails where a rename would overwrite."""
        for number in range(_MOST_NAMESAKES):
            candidate = numbered(name, number)
            try:
                os.link(part, candidate, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
            except FileExistsError:
                if self._same(part, candidate):
                    return candidate  # we were killed between the link and the record
                continue
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if not self._claim(part, candidate):
                    continue
            return candidate
        raise LocalFault(f"there are too many files named {name}")

    def _claim(self, part: str, name: str) -> bool:
        """Give the file its name where links are unknown (FAT); False if it is taken.

        Nobody else can take a name that we have made a file of, so what is overwritten is ours and empty. Killed right
        after, we have no record, and the sender sends a second copy.
        """
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        except FileExistsError:
            return False
        os.close(fd)
        os.replace(part, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        return True

    def _same(self, one: str, other: str) -> bool:
        first = os.stat(one, dir_fd=self._folder, follow_symlinks=False)
        second = os.stat(other, dir_fd=self._folder, follow_symlinks=False)
        return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)

    def _remember(self, transfer: UUID, done: Done) -> None:
        record = json.dumps({"name": done.name, "size": done.size, "blake3": done.blake3.hex()}).encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(_done(transfer) + ".new", flags, 0o600, dir_fd=self._folder)
        try:
            os.write(fd, record)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(_done(transfer) + ".new", _done(transfer), src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        records = [name for name in os.listdir(self._folder) if name.startswith(".") and name.endswith(".done")]
        if len(records) > MOST_DONE:
            records.sort(key=lambda name: os.stat(name, dir_fd=self._folder).st_mtime_ns)
            for name in records[: len(records) - MOST_DONE]:
                os.unlink(name, dir_fd=self._folder)

    def close(self) -> None:
        """Close the folder's descriptor."""
        os.close(self._folder)


@contextlib.contextmanager
def _no_os_errors() -> Iterator[None]:
    """Whatever the system says no to is a fault of this machine, not a reason to crash."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else LocalFault
        raise kind(f"can't write in the folder for received files: {(error.strerror or str(error)).lower()}") from None


def _part(transfer: UUID) -> str:
    return f".{transfer.hex}.part"


def _done(transfer: UUID) -> str:
    return f".{transfer.hex}.done"
