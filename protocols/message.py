"""DeviceMessage: everything two devices say to each other, as frozen dataclasses that check themselves.

The variants are the seed's; the types it only names (``Entry``, ``FileMetadata``, …) are defined here. A message holds
values only. What is not known here — a variant of a newer version — is an :class:`Unknown`, kept and passed on as it
is.

Limits are checked where a message is made, so a message that exists can be sent, and one that comes in and breaks them
is ``Malformed`` (``codec.decode_untrusted``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from springline.errors import Misuse

MOST_TEXT = 4096
MOST_ITEMS = 10_000
"""Entries or changes in one message; more of them go in several."""

DIGEST_SIZE = 32
_U64 = 2**64
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # in a str, but in no UTF-8
_PROTOCOL = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise Misuse(f"not a message: {what}")


def _text(value: object, what: str, most: int = MOST_TEXT) -> None:
    fits = isinstance(value, str) and len(value) <= most and _SURROGATE.search(value) is None
    _check(fits, f"{what} is not a text of at most {most} characters")


def _data(value: object, what: str, size: int | None = None) -> None:
    _check(isinstance(value, bytes) and size in (None, len(value)), f"{what} is not {size or 'some'} bytes")


def _number(value: object, what: str, below: int = _U64) -> None:
    _check(type(value) is int and 0 <= value < below, f"{what} is not a number from 0 to {below - 1}")


def _moment(value: object, what: str) -> None:
    fits = isinstance(value, datetime) and value.utcoffset() is not None
    _check(fits and _in_utc(value), f"{what} is not a time with its zone, in the years 1 to 9999 of UTC")


def _in_utc(value: Any) -> bool:
    try:
        value.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _is(value: object, kind: Any, what: str) -> None:
    _check(isinstance(value, kind), f"{what} is no {getattr(kind, '__name__', kind)}")


def _all(values: object, kind: type, what: str) -> None:
    fits = isinstance(values, tuple) and len(values) <= MOST_ITEMS and all(isinstance(value, kind) for value in values)
    _check(fits, f"{what} are not a tuple of {kind.__name__}")


# -- what messages are made of -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a synchronised library. :param version: grows with every change of the record."""

    key: str
    value: bytes
    version: int
    changed_at: datetime

    def __post_init__(self) -> None:
        _text(self.key, "an entry's key")
        _data(self.value, "an entry's value")
        _number(self.version, "an entry's version")
        _moment(self.changed_at, "an entry's time")


@dataclass(frozen=True, slots=True)
class Push:
    """Take these changes."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        _all(self.entries, Entry, "entries")


@dataclass(frozen=True, slots=True)
class Pull:
    """Send what has changed after that moment."""

    after: datetime

    def __post_init__(self) -> None:
        _moment(self.after, "after")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Both sides have changed the same record."""

    local: Entry
    remote: Entry

    def __post_init__(self) -> None:
        _is(self.local, Entry, "local")
        _is(self.remote, Entry, "remote")


@dataclass(frozen=True, slots=True)
class Resolution:
    """The conflict is resolved like this."""

    entry: Entry

    def __post_init__(self) -> None:
        _is(self.entry, Entry, "entry")


SyncOperation = Push | Pull | Conflict | Resolution


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """A file, before it is sent. :param size: bytes. :param blake3: 32 bytes, or None if not computed."""

    name: str
    size: int
    modified_at: datetime | None = None
    blake3: bytes | None = None

    def __post_init__(self) -> None:
        _text(self.name, "a file's name", 255)
        _number(self.size, "a file's size")
        if self.modified_at is not None:
            _moment(self.modified_at, "a file's time")
        if self.blake3 is not None:
            _data(self.blake3, "a file's digest", DIGEST_SIZE)


class ChangeKind(Enum):
    """What has happened to a path."""

    CREATED = "created"
    MODIFIED = "modified"
    REMOVED = "removed"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class LocationChange:
    """A change in a watched location. :param new_path: where it went, if it was renamed."""

    kind: ChangeKind
    path: str
    new_path: str | None = None

    def __post_init__(self) -> None:
        _is(self.kind, ChangeKind, "a change's kind")
        _text(self.path, "a path")
        if self.new_path is not None:
            _text(self.new_path, "a path")


@dataclass(frozen=True, slots=True)
class IndexingProgress:
    """How far an indexer is. :param total: or None if it is not known yet."""

    done: int
    total: int | None
    phase: str

    def __post_init__(self) -> None:
        _number(self.done, "done")
        if self.total is not None:
            _number(self.total, "total")
        _text(self.phase, "phase", 64)


# -- the messages --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Are you there? (The link's own probes are below messages; this is for apps.)"""


@dataclass(frozen=True, slots=True)
class KeepaliveResponse:
    """Yes."""


@dataclass(frozen=True, slots=True)
class DatabaseSync:
    """A step of synchronising a library."""

    library_id: UUID
    operation: SyncOperation
    data: bytes = b""

    def __post_init__(self) -> None:
        _is(self.library_id, UUID, "library_id")
        _is(self.operation, SyncOperation, "operation")
        _data(self.data, "data")


@dataclass(frozen=True, slots=True)
class FileTransferRequest:
    """May I send you this file? :param checksum: BLAKE3, 32 bytes."""

    transfer_id: UUID
    file_path: str
    file_size: int
    checksum: bytes

    def __post_init__(self) -> None:
        _is(self.transfer_id, UUID, "transfer_id")
        _text(self.file_path, "file_path")
        _number(self.file_size, "file_size")
        _data(self.checksum, "checksum", DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class FileChunk:
    """A piece of a file."""

    transfer_id: UUID
    chunk_index: int
    data: bytes
    is_final: bool

    def __post_init__(self) -> None:
        _is(self.transfer_id, UUID, "transfer_id")
        _number(self.chunk_index, "chunk_index")
        _data(self.data, "data")
        _is(self.is_final, bool, "is_final")


@dataclass(frozen=True, slots=True)
class SpacedropRequest:
    """May I drop this file on you?"""

    transfer_id: UUID
    file_metadata: FileMetadata

    def __post_init__(self) -> None:
        _is(self.transfer_id, UUID, "transfer_id")
        _is(self.file_metadata, FileMetadata, "file_metadata")


@dataclass(frozen=True, slots=True)
class LocationUpdate:
    """What has changed in a watched location."""

    location_id: UUID
    changes: tuple[LocationChange, ...]
    timestamp: datetime

    def __post_init__(self) -> None:
        _is(self.location_id, UUID, "location_id")
        _all(self.changes, LocationChange, "changes")
        _moment(self.timestamp, "timestamp")


@dataclass(frozen=True, slots=True)
class IndexerProgress:
    """How far the indexing of a location is."""

    location_id: UUID
    progress: IndexingProgress

    def __post_init__(self) -> None:
        _is(self.location_id, UUID, "location_id")
        _is(self.progress, IndexingProgress, "progress")


@dataclass(frozen=True, slots=True)
class SessionRefresh:
    """A new public key for the session. :param signature: Ed25519, 64 bytes."""

    new_public_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _data(self.new_public_key, "new_public_key", 32)
        _data(self.signature, "signature", 64)


@dataclass(frozen=True, slots=True)
class Custom:
    """An app's own. :param protocol: 1 to 48 of ``a-z 0-9 . _ -``. :param version: of that protocol, below 2**32."""

    protocol: str
    version: int
    payload: bytes

    def __post_init__(self) -> None:
        named = isinstance(self.protocol, str) and _PROTOCOL.fullmatch(self.protocol) is not None
        _check(named, "protocol is not 1 to 48 of a-z 0-9 . _ -")
        _number(self.version, "version", 2**32)
        _data(self.payload, "payload")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variant this version does not know. :param encoded: the whole message, as it came."""

    tag: str
    encoded: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _text(self.tag, "tag", 64)
        _data(self.encoded, "encoded")


DeviceMessage = (
    Keepalive
    | KeepaliveResponse
    | DatabaseSync
    | FileTransferRequest
    | FileChunk
    | SpacedropRequest
    | LocationUpdate
    | IndexerProgress
    | SessionRefresh
    | Custom
    | Unknown
)
