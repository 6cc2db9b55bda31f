"""A disk that forgets: what a crash may leave of what was not fsynced, as badly as POSIX allows.

The rule: files are written for real; beside them this model notes what each system call below ``store/atomic`` has
changed, and what an fsync has made durable. After a crash any subset of the rest may be there: of each folder's entries
(a rename is one change, kept or lost), and of each write any prefix. File systems are kinder than this, each in its own
way, so what survives here survives on all of them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from springline.store import atomic
from springline.store.atomic import Calls

MOST_OUTCOMES = 256
"""Of one crash; if there are more, the likely ones are looked at."""


@dataclass(eq=False)
class File:
    """:param writes: not fsynced: where, and what; None stands for a cut there."""

    data: bytes = b""
    writes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        """Everything is on the disk."""
        for at, data in self.writes:
            self.data = over(self.data, at, data) if data is not None else self.data[:at]
        self.writes.clear()


@dataclass(eq=False)
class Folder:
    """:param changes: not fsynced: names, and what they stand for from then on."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def sync(self) -> None:
        """Everything is on the disk; what is in its files is another matter."""
        for change in self.changes:
            apply(self.entries, change)
        self.changes.clear()

    def now(self) -> dict[str, File | Folder]:
        """The entries as a running system sees them."""
        seen = dict(self.entries)
        for change in self.changes:
            apply(seen, change)
        return seen


Node = File | Folder
Outcome = dict[str, "bytes | str | None"]
"""What is there after a crash. By path: a file's bytes, or the path that it is another name of; None for a folder."""


def over(data: bytes, at: int, new: bytes) -> bytes:
    """``data`` with ``new`` written at an offset; a hole is zeros."""
    return data[:at].ljust(at, b"\0") + new + data[at + len(new) :]


def apply(entries: dict[str, Node], change: dict[str, Node | None]) -> None:
    """One change of a folder."""
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Disk:
    """The model of everything below ``root``, which is durable to begin with.

    :param stop_before: called before each system call with its number; may raise.
    """

    def __init__(self, root: Path, stop_before: Callable[[int], None] = lambda _number: None) -> None:
        self.root = root
        self.made = 0
        self._stop_before = stop_before
        self._nodes: dict[int, Node] = {}
        self._top = self._scan(root)

    def __enter__(self) -> Disk:
        plain = Calls()
        self._plain, atomic.calls = atomic.calls, Calls(**{name: self._noting(name, plain) for name in vars(plain)})
        return self

    def __exit__(self, *_: object) -> None:
        atomic.calls = self._plain

    def _scan(self, path: Path) -> Node:
        status = path.stat()
        known = self._nodes.get(status.st_ino)
        if known is not None:
            return known
        node: Node
        if path.is_dir():
            node = Folder({entry.name: self._scan(entry) for entry in path.iterdir() if not entry.is_symlink()})
        else:
            node = File(path.read_bytes())
        self._nodes[status.st_ino] = node
        return node

    # -- what the calls do -----------------------------------------------------------------------------------------

    def _noting(self, name: str, plain: Calls) -> Callable[..., Any]:
        call, note = getattr(plain, name), getattr(self, f"_{name}")

        def noting(*args: Any) -> Any:
            self._stop_before(self.made)
            self.made += 1
            return note(call, *args)

        return noting

    def _place(self, path: Any) -> tuple[Folder, str]:
        path = Path(path)
        folder = self._nodes[path.parent.stat().st_ino]
        assert isinstance(folder, Folder)
        return folder, path.name

    def _node(self, path: Any) -> Node:
        folder, name = self._place(path)
        return folder.now()[name]

    def _create(self, call: Callable[..., int], path: Path, *args: Any) -> int:
        fd = call(path, *args)
        folder, name = self._place(path)
        if name not in folder.now():
            node = self._nodes[os.fstat(fd).st_ino] = File()
            folder.changes.append({name: node})
        return fd

    def _mkdir(self, call: Callable[..., None], path: Path, *args: Any) -> None:
        call(path, *args)
        folder, name = self._place(path)
        node = self._nodes[path.stat().st_ino] = Folder()
        folder.changes.append({name: node})

    def _write(self, call: Callable[..., int], fd: int, data: Any) -> int:
        file = self._nodes[os.fstat(fd).st_ino]
        assert isinstance(file, File)
        written = call(fd, data)
        at = os.lseek(fd, 0, os.SEEK_CUR) - written
        file.writes.append((at, bytes(data)[:written]))
        return written

    def _truncate(self, call: Callable[..., None], fd: int, size: int) -> None:
        call(fd, size)
        file = self._nodes[os.fstat(fd).st_ino]
        assert isinstance(file, File)
        file.writes.append((size, None))

    def _fsync(self, _call: Callable[..., None], fd: int) -> None:
        self._nodes[os.fstat(fd).st_ino].sync()

    def _link(self, call: Callable[..., None], old: Path, new: Path) -> None:
        call(old, new)
        folder, name = self._place(new)
        folder.changes.append({name: self._node(old)})

    def _rename(self, call: Callable[..., None], old: Path, new: Path) -> None:
        node, (folder, name) = (self._node(old) if old.exists() else None), self._place(new)
        one_file = new.exists() and old.exists() and new.samefile(old)
        call(old, new)
        before, former = self._place(old)
        assert before is folder, "a rename from one folder into another is two changes, which this does not model"
        if not one_file:  # else POSIX does nothing
            folder.changes.append({former: None, name: node})

    def _unlink(self, call: Callable[..., None], path: Path) -> None:
        call(path)
        folder, name = self._place(path)
        folder.changes.append({name: None})

    _rmdir = _unlink

    # -- what a crash leaves ---------------------------------------------------------------------------------------

    def outcomes(self) -> Iterator[Outcome]:
        """Everything that may be there if the power fails now, each once."""
        seen: set[tuple[tuple[str, bytes | str | None], ...]] = set()
        for choice in _choices([len(options) for options in self._options()]):
            found = self.outcome(choice)
            key = tuple(sorted(found.items()))
            if key not in seen:
                seen.add(key)
                yield found

    def options(self) -> list[int]:
        """How many ways each change that is not durable can end."""
        return [len(options) for options in self._options()]

    def outcome(self, choice: tuple[int, ...]) -> Outcome:
        """What is there if each change ends in that way (numbers below those of :meth:`options`)."""
        changes = self._pending()
        chosen = dict(zip(map(id, changes), choice, strict=True))
        found: Outcome = {}
        self._leave(self._top, "", chosen, found, {})
        return found

    def _options(self) -> list[range]:
        """For a folder's change or a cut: lost, kept; for a write: nothing, half, all but a byte, all of it."""
        return [range(2) if isinstance(change, dict) or change[1] is None else range(4) for change in self._pending()]

    def _pending(self) -> list[Any]:
        nodes: dict[int, Node] = {}
        self._reach(self._top, nodes)
        return [c for n in nodes.values() for c in (n.changes if isinstance(n, Folder) else n.writes)]

    def _reach(self, node: Node, nodes: dict[int, Node]) -> None:
        """Every node that may be there after a crash."""
        if id(node) in nodes:
            return
        nodes[id(node)] = node
        if isinstance(node, Folder):
            later = (after for change in node.changes for after in change.values() if after is not None)
            for inner in itertools.chain(node.entries.values(), later):
                self._reach(inner, nodes)

    def _leave(self, node: Node, path: str, chosen: dict[int, int], found: Outcome, names: dict[int, str]) -> None:
        if isinstance(node, File):
            first = names.setdefault(id(node), path)
            found[path] = self._torn(node, chosen) if first == path else first
            return
        found[path] = None
        entries = dict(node.entries)
        for change in node.changes:
            if chosen[id(change)]:
                apply(entries, change)
        for name in sorted(entries):
            self._leave(entries[name], f"{path}/{name}".lstrip("/"), chosen, found, names)

    @staticmethod
    def _torn(file: File, chosen: dict[int, int]) -> bytes:
        data = file.data
        for write in file.writes:
            at, new = write
            if new is None:
                data = data[:at] if chosen[id(write)] else data
                continue
            kept = (0, len(new) // 2, len(new) - 1, len(new))[chosen[id(write)]]
            data = over(data, at, new[:kept]) if kept else data
        return data


def _choices(options: list[int]) -> Iterator[tuple[int, ...]]:
    total = 1
    for count in options:
        total *= count
    if total <= MOST_OUTCOMES:
        yield from itertools.product(*map(range, options))
        return
    last = tuple(count - 1 for count in options)
    for base in (last, (0,) * len(options)):
        yield base
        for at, count in enumerate(options):
            yield from ((*base[:at], way, *base[at + 1 :]) for way in range(count))


def leave(outcome: Outcome, folder: Path) -> None:
    """Write it down in a folder that is not there yet."""
    for path, what in outcome.items():
        place = folder / path if path else folder
        if what is None:
            place.mkdir()
        elif isinstance(what, str):
            os.link(folder / what, place)
        else:
            place.write_bytes(what)
