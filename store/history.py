"""``history.json``: the latest sessions with one device that have ended, compressed under the seal.

The rule: bounded in number and in age, whoever adds. What is kept in memory is the compressed form: a thousand devices
have a quarter of a million sessions, of which nobody may ever ask for one.

Compressed by zstd, whose frames say how large they become; that is not believed, and reading stops at
:data:`MOST_BYTES`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import zstandard

from springline.errors import Damaged
from springline.store import migrate

ROLE = "history"
MOST_SESSIONS = 256
LONGEST = timedelta(days=90)
"""How long an ended session is remembered."""

BRIEF = timedelta(seconds=5)
"""Sessions shorter than that which end for the same reason are remembered as one, with a count."""

MOST_REASON = 300
"""Characters of a reason; the rest is cut off."""

MOST_BYTES = 1 << 20
"""Bytes a file may have when it is decompressed; the largest that is written has a third."""

_WINDOW = 1 << 23


@dataclass(frozen=True, slots=True)
class Session:
    """One session that has ended.

    :param reason: why it ended. :param dialled: by this device. :param remote: where the other end was.
    :param received, sent: bytes on the wire; 0 if they are not known.
    :param count: how many there were like it; then it is the latest, and the bytes are theirs altogether.
    """

    began: datetime
    ended: datetime
    reason: str
    dialled: bool
    remote: str
    received: int = 0
    sent: int = 0
    count: int = 1

    def repeats(self, other: Session) -> bool:
        """True if both were brief and ended alike."""
        brief = max(self.ended - self.began, other.ended - other.began) < BRIEF
        return brief and (self.reason, self.dialled) == (other.reason, other.dialled)

    def after(self, other: Session) -> Session:
        """Both as one."""
        received, sent = self.received + other.received, self.sent + other.sent
        return replace(self, received=received, sent=sent, count=self.count + other.count)


@dataclass(frozen=True, slots=True)
class History:
    """:param sessions: in the order they were noted, which is about that of their ends."""

    sessions: tuple[Session, ...] = ()

    def add(self, *ended: Session) -> History:
        """With more, repeated ones counted; the oldest beyond :data:`MOST_SESSIONS` are forgotten."""
        known = list(self.sessions)
        for session in ended:
            known.append(session.after(known.pop()) if known and session.repeats(known[-1]) else session)
        return History(tuple(known[-MOST_SESSIONS:]))

    def pruned(self, now: datetime) -> History:
        """Without those that ended longer ago than :data:`LONGEST`."""
        kept = tuple(session for session in self.sessions if now - session.ended <= LONGEST)
        return self if len(kept) == len(self.sessions) else History(kept)

    def encode(self) -> bytes:
        """Compressed JSON, to be sealed."""
        fields = {"version": migrate.newest(ROLE), "sessions": [_fields(session) for session in self.sessions]}
        return zstandard.ZstdCompressor().compress(json.dumps(fields, separators=(",", ":")).encode())


def decode(data: bytes) -> History:
    """The history in an opened seal. :raises Damaged: it is none."""
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data) as reader:
            opened = reader.read(MOST_BYTES + 1)
    except zstandard.ZstdError:
        raise Damaged("a history is not what was written") from None
    if len(opened) > MOST_BYTES:
        raise Damaged("a history is too large to be one")
    fields = migrate.parse(ROLE, opened)
    try:
        return History(tuple(_session(entry) for entry in fields["sessions"])[-MOST_SESSIONS:])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("a history is not what was written") from None


def checked(data: bytes) -> bytes:
    """The same bytes, if they are a history. :raises Damaged: they are not."""
    decode(data)
    return data


def _fields(session: Session) -> dict[str, object]:
    return {
        "began": session.began.isoformat(),
        "ended": session.ended.isoformat(),
        "reason": session.reason[:MOST_REASON],
        "dialled": session.dialled,
        "remote": session.remote,
        "received": session.received,
        "sent": session.sent,
        "count": session.count,
    }


def _session(entry: dict[str, object]) -> Session:
    return Session(
        datetime.fromisoformat(str(entry["began"])),
        datetime.fromisoformat(str(entry["ended"])),
        str(entry["reason"]),
        bool(entry["dialled"]),
        str(entry["remote"]),
        _count(entry["received"]),
        _count(entry["sent"]),
        _count(entry["count"]),
    )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
