"""One peer's sealed files — keys, preferences, history — read when they are first needed and kept from then on.

The rule: a store with a thousand devices opens none of their files before somebody asks for that device. Each device
has a key of its own under the data key, and each file a context (its role and whose it is), so that no file can stand
in another's place. A file that does not open falls back to its previous version, and says so.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from springline.errors import Damaged, LocalFault, Newer, WrongPassphrase
from springline.store import atomic
from springline.store.envelope import seal, subkey, unseal
from springline.store.layout import Layout

log = logging.getLogger("springline.store")

REPAIRED = "store repaired"
"""The kind of news that a previous version counts."""

Parsed = TypeVar("Parsed")
Report = Callable[[str, UUID | None, str], None]
"""Hears what the user should know of the store: a kind, whose file it is, what happened."""


class DeviceFiles:
    """The files of all peers, by peer and role (the file's name without ``.json``).

    :param data_key: 32 bytes. :param report: hears of files that fell back to their previous version.
    """

    def __init__(self, layout: Layout, data_key: bytes, report: Report) -> None:
        self._layout = layout
        self._data_key = data_key
        self._report = report
        self._cache: dict[tuple[UUID, str], Any] = {}

    def folder(self, peer: UUID) -> Path:
        """Where the peer's files are; its name says nothing to who has not the key."""
        return self._layout.connection(self._data_key, peer)

    def read(self, peer: UUID, role: str, decode: Callable[[bytes], Parsed]) -> Parsed | None:
        """What a file says, or None if there is none. :raises Damaged: neither it nor its previous version opens."""
        known = self._cache.get((peer, role))
        if known is None:
            known = self._load(peer, role, decode)
            if known is not None:
                self._cache[peer, role] = known
        found: Parsed | None = known
        return found

    def write(self, peer: UUID, role: str, content: Parsed, encode: Callable[[Parsed], bytes]) -> None:
        """Write durably, then believe. :raises LocalFault: it could not be written; the former content counts."""
        atomic.write(self.path(peer, role), seal(self._key(peer), encode(content), f"{role}/{peer}"))
        self._cache[peer, role] = content

    def write_both(self, peer: UUID, role: str, content: Parsed, encode: Callable[[Parsed], bytes]) -> None:
        """As :meth:`write`, and no version of the file keeps what it held."""
        atomic.write_both(self.path(peer, role), seal(self._key(peer), encode(content), f"{role}/{peer}"))
        self._cache[peer, role] = content

    def undo(self, peer: UUID, role: str) -> None:
        """Take the last :meth:`write` of a file back. :raises LocalFault: the system refused."""
        self._cache.pop((peer, role), None)
        atomic.undo(self.path(peer, role))

    def remove(self, peer: UUID, role: str) -> None:
        """Wipe one file of a peer, if there is one. :raises LocalFault: the system refused; some of it may be left."""
        self.forget(peer, role)
        atomic.remove(self.path(peer, role))

    def forget(self, peer: UUID, role: str) -> None:
        """Do not keep in memory what that file says."""
        self._cache.pop((peer, role), None)

    def erase(self, peer: UUID) -> None:
        """Wipe everything of a peer. :raises LocalFault: the system refused; some may be left."""
        for key in [key for key in self._cache if key[0] == peer]:
            del self._cache[key]
        atomic.erase(self.folder(peer))

    def erase_others(self, peers: Iterable[UUID]) -> None:
        """Wipe whatever is of none of these; what the system refuses to, next time. Opens no file of theirs."""
        kept = {self.folder(peer).name for peer in peers}
        with contextlib.suppress(OSError):
            others = [folder for folder in self._layout.connections.iterdir() if folder.name not in kept]
            for folder in others:
                with contextlib.suppress(LocalFault):
                    atomic.erase(folder)

    def path(self, peer: UUID, role: str) -> Path:
        """The file's place."""
        return self.folder(peer) / f"{role}.json"

    def _key(self, peer: UUID) -> bytes:
        return subkey(self._data_key, "device", peer.bytes)

    def _load(self, peer: UUID, role: str, decode: Callable[[bytes], Parsed]) -> Parsed | None:
        path = self.path(peer, role)
        blob = atomic.read(path)
        if blob is None:
            return None
        atomic.tidy(path.parent)
        key = self._key(peer)
        return or_previous(
            path,
            blob,
            lambda blob: decode(unseal(key, blob, f"{role}/{peer}")),
            lambda: self._report(REPAIRED, peer, f"{role} was damaged: its previous version counts"),
        )


def or_previous(
    path: Path, blob: bytes, parse: Callable[[bytes], Parsed], repaired: Callable[[], None] | None
) -> Parsed:
    """A file's contents, or its previous version's if it is damaged.

    The previous version is put back: the next write would keep the damaged one in its place, and a crash or a failure
    before the new one counts would then leave nothing that opens.

    :param blob: the file's bytes. :param repaired: called when the previous version counts; without it, that one is
        read and not put back, because the file is somebody else's to write.
    :raises Damaged: neither opens. :raises Newer: it is not damaged but of a newer version.
    """
    try:
        return parse(blob)
    except Newer:
        raise
    except Damaged:
        former = atomic.read(atomic.previous(path))
        if former is None:
            raise
        with contextlib.suppress(Damaged, WrongPassphrase):
            found = parse(former)
            log.warning("%s was damaged: its previous version counts, and the last change to it is lost", path.name)
            if repaired is not None:
                with contextlib.suppress(LocalFault):  # it can be read all the same
                    atomic.undo(path)
                repaired()
            return found
        raise
