"""A message that exists can be sent; what cannot be sent is Misuse where it is made."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args
from uuid import UUID

import pytest

from springline.errors import Misuse
from springline.protocols import message as m

ID = UUID(int=7)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTRY = m.Entry("key", b"value", 1, NOW)
TOO_EARLY = datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))

BAD: dict[str, Callable[[], object]] = {
    "time without zone": lambda: m.Pull(NOW.replace(tzinfo=None)),
    "time before the year 1 of UTC": lambda: m.Pull(TOO_EARLY),
    "no time": lambda: m.Pull(5),  # type: ignore[arg-type]
    "list of entries": lambda: m.Push([ENTRY]),  # type: ignore[arg-type]
    "entries of another kind": lambda: m.Push((ENTRY, b"")),  # type: ignore[arg-type]
    "too many entries": lambda: m.Push((ENTRY,) * (m.MOST_ITEMS + 1)),
    "conflict without remote": lambda: m.Conflict(ENTRY, None),  # type: ignore[arg-type]
    "resolution of nothing": lambda: m.Resolution("x"),  # type: ignore[arg-type]
    "key too long": lambda: m.Entry("k" * (m.MOST_TEXT + 1), b"", 0, NOW),
    "key with half a character": lambda: m.Entry("\ud800", b"", 0, NOW),
    "negative version": lambda: m.Entry("k", b"", -1, NOW),
    "version that is a truth value": lambda: m.Entry("k", b"", True, NOW),
    "operation of another kind": lambda: m.DatabaseSync(ID, ENTRY),  # type: ignore[arg-type]
    "text for bytes": lambda: m.DatabaseSync(ID, m.Pull(NOW), "data"),  # type: ignore[arg-type]
    "text for an id": lambda: m.LocationUpdate(str(ID), (), NOW),  # type: ignore[arg-type]
    "change of unknown kind": lambda: m.LocationChange("created", "a"),  # type: ignore[arg-type]
    "short checksum": lambda: m.FileTransferRequest(ID, "a", 1, bytes(31)),
    "size beyond 64 bits": lambda: m.FileTransferRequest(ID, "a", 2**64, bytes(32)),
    "final that is a number": lambda: m.FileChunk(ID, 0, b"", 1),  # type: ignore[arg-type]
    "name too long": lambda: m.FileMetadata("n" * 256, 0),
    "short digest": lambda: m.FileMetadata("n", 0, None, b"x"),
    "metadata of another kind": lambda: m.SpacedropRequest(ID, ENTRY),  # type: ignore[arg-type]
    "progress of another kind": lambda: m.IndexerProgress(ID, 5),  # type: ignore[arg-type]
    "phase too long": lambda: m.IndexingProgress(1, None, "p" * 65),
    "half a key": lambda: m.SessionRefresh(bytes(16), bytes(64)),
    "half a signature": lambda: m.SessionRefresh(bytes(32), bytes(32)),
    "protocol with capitals": lambda: m.Custom("Notes", 1, b""),
    "no protocol": lambda: m.Custom("", 1, b""),
    "protocol with a line end": lambda: m.Custom("notes\n", 1, b""),
    "protocol too long": lambda: m.Custom("n" * 49, 1, b""),
    "version beyond 32 bits": lambda: m.Custom("notes", 2**32, b""),
    "mutable payload": lambda: m.Custom("notes", 1, bytearray(b"x")),  # type: ignore[arg-type]
    "long unknown tag": lambda: m.Unknown("t" * 65, b""),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_sent_is_not_made(make: Callable[[], object]) -> None:
    with pytest.raises(Misuse, match="not a message"):
        make()


GOOD: tuple[m.DeviceMessage, ...] = (
    m.Keepalive(),
    m.KeepaliveResponse(),
    m.DatabaseSync(ID, m.Conflict(ENTRY, ENTRY), b"data"),
    m.FileTransferRequest(ID, "a/b", 2**64 - 1, bytes(32)),
    m.FileChunk(ID, 0, b"data", is_final=True),
    m.SpacedropRequest(ID, m.FileMetadata("name", 5, NOW, bytes(32))),
    m.LocationUpdate(ID, (m.LocationChange(m.ChangeKind.RENAMED, "a", "b"),), NOW),
    m.IndexerProgress(ID, m.IndexingProgress(1, None, "hashing")),
    m.SessionRefresh(bytes(32), bytes(64)),
    m.Custom("notes-2.x_y", 1, b"payload"),
    m.Unknown("Tomorrow", b"..."),
)


def test_every_variant_is_here() -> None:
    assert {type(message) for message in GOOD} == set(get_args(m.DeviceMessage))
    assert set(get_args(m.SyncOperation)) == {m.Push, m.Pull, m.Conflict, m.Resolution}


@pytest.mark.parametrize("message", GOOD, ids=lambda message: type(message).__name__)
def test_a_message_is_a_value(message: Any) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
    assert hash(message) == hash(dataclasses.replace(message))
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        message.tag = "other"
