"""``network/audit.log``: what has happened, one sealed line each; edits and cuts show.

The rule: a line is only ever added. Adding is one write, without waiting for the disk; :meth:`AuditLog.sync`, called
within a second, makes the lines durable first and then tells ``audit.head`` how far they reach. So the lines may be
ahead of the head but never behind it: if they are, somebody has cut them. What was added in the last second before a
crash may be lost, and a cut of just that would not show.

A crash in the middle of a write leaves a torn line: the next opening writes over it and says so in an entry. Any other
damage found then becomes an entry, too, and is left in place: the chain goes on from there, and stays broken for
whoever verifies it. At :data:`MOST_BYTES` the file is renamed to ``audit.log.<n>``, and the chain runs on across the
border; of :data:`MOST_PARTS` such parts the oldest is dropped, which the head knows and an entry says.

What this can't show: that the whole folder was put back to an earlier state while no node was running, or that all of
the trail was removed; the new one then begins with an entry that says when.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar
from uuid import UUID

from springline.errors import Damaged, LocalFault, Newer, StorageFull
from springline.store import atomic, chain
from springline.store.chain import GENESIS, HEAD_ROLE, MOST_LINE, Checker, Entry, Head, Lines, Verdict, span
from springline.store.envelope import seal, subkey, unseal

MOST_BYTES = 4 << 20
"""Bytes of a part; about 13,000 entries."""

MOST_PARTS = 7
"""Full parts kept, beside the one that is being written."""

TURN = 500
"""Lines between two pauses of :meth:`AuditLog.checking` and :meth:`AuditLog.looking`."""

BEGUN, TORN, DROPPED = "trail begun", "line torn", "entries dropped"

Result = TypeVar("Result")

_BLOCK = 64 << 10
_LOOK_BACK = 10_000
"""Unreadable lines at the end to look past for one that tells where we are."""


class AuditLog:
    """The trail of one store; its only writer.

    :param path: of ``audit.log``; its folder exists. :param data_key: 32 bytes. :param now: for the entries that
        opening makes. :param most_bytes, most_parts: see above.
    :raises Newer: a newer version has written it; it is left alone. :raises LocalFault: the system refuses.
    """

    _seq: int
    _digest: bytes
    _first: int
    _end: int

    def __init__(
        self, path: Path, data_key: bytes, now: datetime, most_bytes: int = MOST_BYTES, most_parts: int = MOST_PARTS
    ) -> None:
        self._path = path
        self._head_path = path.with_name("audit.head")
        self._head_key = subkey(data_key, HEAD_ROLE)
        self._lines = Lines(data_key)
        self._most_bytes = most_bytes
        self._most_parts = most_parts
        self._dirty = False
        try:
            self._fd = self._open_last()
            try:
                self._take_up(now)
                self._shorten(now)
            except BaseException:
                os.close(self._fd)
                raise
        except OSError as error:
            raise _fault(error) from None

    def close(self) -> None:
        """Close the file; what was appended since the last :meth:`sync` is as safe as after a kill."""
        os.close(self._fd)

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, kind: str, device: UUID | None, detail: str, now: datetime) -> None:
        """Add an entry; durable after :meth:`sync`.

        :raises StorageFull: no room. :raises LocalFault: the system refuses. It is not in the trail then.
        """
        if self._end >= self._most_bytes:
            with contextlib.suppress(LocalFault):  # the entry matters more than the file's size
                self._rotate(now)
        self._add(kind, device, detail, now)

    def _add(self, kind: str, device: UUID | None, detail: str, now: datetime) -> None:
        line = self._lines.seal(Entry(self._seq + 1, now, kind, device, detail), self._digest)
        try:
            self._write(line + b"\n")
        except OSError as error:
            raise _fault(error) from None
        self._seq, self._digest = self._seq + 1, chain.digest(line)

    def _write(self, data: bytes) -> None:
        self._dirty = True
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[atomic.calls.write(self._fd, rest) :]
        except OSError:
            with contextlib.suppress(OSError):  # else the next line is written over it
                atomic.calls.truncate(self._fd, self._end)
            os.lseek(self._fd, self._end, os.SEEK_SET)
            raise
        self._end += len(data)

    def sync(self) -> None:
        """Make all entries durable, then the head. :raises LocalFault: it did not work; the next one will do both."""
        if not self._dirty:
            return
        try:
            atomic.calls.fsync(self._fd)
        except OSError as error:
            raise _fault(error) from None
        head = Head(self._seq, self._digest, self._first)
        atomic.write(self._head_path, seal(self._head_key, head.encode(), HEAD_ROLE), keep=False)
        self._dirty = False

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open_last(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd: int = atomic.calls.create(self._path, flags, 0o600)
        return fd

    def _take_up(self, now: datetime) -> None:
        """Find the end of what is there, write over what a crash has torn, and say what is wrong."""
        size = os.fstat(self._fd).st_size
        self._end = _end_of_lines(self._fd, size)
        head, head_is_wrong = self._read_head()
        last, seq, wrong = self._find_last()
        self._digest = GENESIS if last is None else chain.digest(last)
        self._seq = max(seq, head.seq if head else 0)
        self._first = head.first if head else self._first_of(self._parts()) or 1
        if head is None and (head_is_wrong or last is not None):
            wrong.append("the head was missing or damaged when the trail was opened: its end may have been cut off")
        if head is not None and seq < head.seq:
            wrong.append(f"{span(seq + 1, head.seq)} missing at the end, found when the trail was opened")
        os.lseek(self._fd, self._end, os.SEEK_SET)
        if size > self._end:
            self._add(TORN, None, f"{size - self._end} bytes of an entry that a crash cut short", now)
            if size > self._end:  # the entry was shorter
                atomic.calls.truncate(self._fd, self._end)
        for what in wrong:
            self._add(chain.DAMAGED, None, what, now)
        if self._seq == 0:
            self._dirty = True
            self.sync()  # first the head, or a crash in between would look like its removal
            self._add(BEGUN, None, "there was none before", now)

    def _read_head(self) -> tuple[Head | None, bool]:
        """The head, and whether there is one that makes no sense."""
        blob = atomic.read(self._head_path)
        if blob is None:
            return None, False
        try:
            opened = unseal(self._head_key, blob, HEAD_ROLE)
        except Damaged:  # or a seal that says it is newer, which anybody could have written
            return None, True
        try:
            return chain.decode_head(opened), False
        except Newer:
            raise
        except Damaged:
            return None, True

    def _find_last(self) -> tuple[bytes | None, int, list[str]]:
        """The last line, the last readable entry's number, and what is wrong with the end."""
        lines = self._lines_backwards()
        last = first = next(lines, None)
        for _ in range(_LOOK_BACK):
            if last is None:
                break
            try:
                seq = self._lines.open(last).entry.seq
            except Damaged:
                last = next(lines, None)
            else:
                wrong = [] if last is first else [f"what stands after entry {seq} is none of this trail's"]
                return first, seq, wrong
        return first, 0, [] if first is None else ["no line at the end is one of this trail's"]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _parts(self) -> list[Path]:
        """The full ones, oldest first."""
        numbered = [(path.name.rpartition(".")[2], path) for path in self._path.parent.glob(f"{self._path.name}.*")]
        return [path for _, path in sorted((int(number), path) for number, path in numbered if number.isdecimal())]

    def _rotate(self, now: datetime) -> None:
        self.sync()
        parts = self._parts()
        number = 1 + int(parts[-1].name.rpartition(".")[2]) if parts else 1
        try:
            with contextlib.suppress(FileNotFoundError):  # done, but the new one could not be made
                atomic.calls.rename(self._path, self._path.with_name(f"{self._path.name}.{number}"))
            atomic.sync_folder(self._path.parent)
            full, self._fd = self._fd, self._open_last()
            os.close(full)
            self._end = 0
            self._shorten(now)
        except OSError as error:
            raise _fault(error) from None

    def _shorten(self, now: datetime) -> None:
        """Drop parts beyond the limit: first an entry says so, then the head knows, then they go."""
        parts = self._parts()
        surplus, kept = parts[: -self._most_parts], parts[-self._most_parts :]
        if not surplus:
            return
        first = self._first_of(kept)
        if first > self._first:
            dropped = f"entries {self._first} to {first - 1}: only the latest are kept"
            self._first = first
            self.append(DROPPED, None, dropped, now)
        self.sync()
        for part in surplus:
            atomic.calls.unlink(part)
        atomic.sync_folder(self._path.parent)

    def _first_of(self, parts: list[Path]) -> int:
        """The number of the first readable entry there; 0 if there is none."""
        for path in (*parts, self._path):
            with path.open("rb") as file:
                for line in _lines_of(file, MOST_LINE):
                    with contextlib.suppress(Damaged):
                        return self._lines.open(line.rstrip(b"\n")).entry.seq
        return 0

    # -- reading -------------------------------------------------------------------------------------------------------

    def entries(self, limit: int, since: datetime | None = None, device: UUID | None = None) -> list[Entry]:
        """The latest, newest first; unreadable ones are left out.

        :param since: none before that. :param device: only those about it.
        """
        return _run(self.looking(limit, since, device))

    def looking(
        self, limit: int, since: datetime | None = None, device: UUID | None = None
    ) -> Generator[None, None, list[Entry]]:
        """:meth:`entries`, with pauses in which its caller may do something else, appending included."""
        found: list[Entry] = []
        for number, line in enumerate(self._lines_backwards(), start=1):
            if number % TURN == 0:
                yield
            if len(found) >= limit:
                break
            with contextlib.suppress(Damaged):
                entry = self._lines.open(line).entry
                if (device is None or entry.device == device) and (since is None or entry.at >= since):
                    found.append(entry)
        return found

    def verify(self) -> Verdict:
        """Is everything there, unchanged and in its place? :raises LocalFault: it can't be read."""
        return _run(self.checking())

    def checking(self) -> Generator[None, None, Verdict]:
        """:meth:`verify`, with pauses; what is appended meanwhile is not looked at."""
        self.sync()
        with contextlib.ExitStack() as opened:
            try:
                files = [opened.enter_context(path.open("rb")) for path in (*self._parts(), self._path)]
            except OSError as error:
                raise _fault(error) from None
            sizes = [os.fstat(file.fileno()).st_size for file in files]
            ends = [*sizes[:-1], self._end]
            checker = Checker(self._lines, self._read_head()[0])
            for file, end in zip(files, ends, strict=True):
                lines = _lines_of(file, end)
                while turn := list(islice(lines, TURN)):
                    for line in turn:
                        checker.take(line[:-1]) if line.endswith(b"\n") else checker.take_cut()
                    yield
            if sizes[-1] > ends[-1]:
                checker.take_cut()  # nobody else writes here
            return checker.verdict()

    def _lines_backwards(self) -> Iterator[bytes]:
        """All whole lines, the last first. A part that is dropped meanwhile is left out."""
        with self._path.open("rb") as file:
            parts = self._parts()
            yield from _backwards(file.fileno(), self._end)
        for path in reversed(parts):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                yield from _backwards(file.fileno(), _end_of_lines(file.fileno(), size))


def _run(steps: Generator[None, None, Result]) -> Result:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result


def _lines_of(file: IO[bytes], end: int) -> Iterator[bytes]:
    """Lines up to ``end``, with their line feeds; one that is too long comes in pieces."""
    left = end
    while left > 0 and (line := file.readline(min(left, MOST_LINE))):
        left -= len(line)
        yield line


def _backwards(fd: int, end: int) -> Iterator[bytes]:
    """The lines before ``end``, which is after a line feed; the last first, without their line feeds."""
    rest = b""
    while end > 0:
        start = max(0, end - _BLOCK)
        rest, *lines = (os.pread(fd, end - start, start) + rest).split(b"\n")
        yield from (line for line in reversed(lines) if line)
        rest, end = rest if len(rest) <= MOST_LINE else b"", start
    if rest:
        yield rest


def _end_of_lines(fd: int, size: int) -> int:
    """Where the last whole line ends."""
    while size > 0:
        start = max(0, size - _BLOCK)
        found = os.pread(fd, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _fault(error: OSError) -> LocalFault:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageFull("no room for the audit trail", "free some space")
    return LocalFault(f"can't use the audit trail: {(error.strerror or str(error)).lower()}", "check who owns it")
