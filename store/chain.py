"""The audit trail's lines: each sealed, each naming the one before it; and what is wrong with a row of them.

A line is base64 of::

    version u8 = 1 · digest of the line before, 32 bytes · nonce, 24 bytes · ciphertext

The ciphertext (XChaCha20-Poly1305, tag included) holds compact JSON: seq, at, kind, device, detail. Version and digest
are its associated data. So without the key nobody can make or change a line; and because each names its predecessor,
nobody can remove, double or move one. The digest stands in the line itself, so that what follows a damaged line can
still be read.

What lines can't show is that the last of them are gone. The *head* does: the number and digest of the latest line that
is known to be on the disk, and the number of the first that should still be there.

Pure: lines come in, a verdict goes out. ``store/audit.py`` has the files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import nacl.utils
from nacl import exceptions
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as _open
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as _seal

from springline.errors import Damaged
from springline.store import migrate
from springline.store.envelope import NONCE_SIZE, subkey

VERSION = 1
HEAD_ROLE = "audit_head"
DIGEST_SIZE = 32
GENESIS = bytes(DIGEST_SIZE)
"""What the first line names as its predecessor."""

MOST_KIND = 64
MOST_DETAIL = 1000
"""Characters of an entry's detail; the rest is cut off."""

MOST_LINE = 32 << 10
"""Bytes a line may have; the longest entry has half of it."""

DAMAGED = "trail damaged"
"""The kind of an entry that says what was found to be wrong when the trail was opened. It breaks the trail for good."""

_AD = 1 + DIGEST_SIZE


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that has happened. :param seq: counts from 1. :param device: whom it is about, if anybody."""

    seq: int
    at: datetime
    kind: str
    device: UUID | None
    detail: str


@dataclass(frozen=True, slots=True)
class Link:
    """An entry in its place. :param before: digest of the line before it."""

    entry: Entry
    before: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """:param seq: of the latest line known to be on the disk, whose digest is ``digest``. :param first: of the oldest
    that is kept."""

    seq: int
    digest: bytes
    first: int

    def encode(self) -> bytes:
        """JSON, to be sealed."""
        fields = {"seq": self.seq, "digest": self.digest.hex(), "first": self.first}
        return json.dumps({"version": migrate.newest(HEAD_ROLE), **fields}).encode()


def decode_head(data: bytes) -> Head:
    """The head in an opened seal. :raises Damaged: there is none. :raises Newer: it is of a newer version."""
    fields = migrate.parse(HEAD_ROLE, data)
    try:
        return Head(int(fields["seq"]), bytes.fromhex(fields["digest"]), int(fields["first"]))
    except (ValueError, KeyError, TypeError):
        raise Damaged("the head of the audit trail is not what was written") from None


def digest(line: bytes) -> bytes:
    """What names a line (without its line feed): 32 bytes."""
    return hashlib.blake2b(line, digest_size=DIGEST_SIZE, person=b"springline line").digest()


class Lines:
    """Makes and opens lines. :param data_key: the store's, 32 bytes."""

    def __init__(self, data_key: bytes, random: Callable[[int], bytes] = nacl.utils.random) -> None:
        self._key = subkey(data_key, "audit trail")
        self._random = random

    def seal(self, entry: Entry, before: bytes) -> bytes:
        """The line of ``entry``, without a line feed; what is too long in it is cut. :param before: 32 bytes."""
        fields = {
            "seq": entry.seq,
            "at": entry.at.isoformat(),
            "kind": _cut(entry.kind, MOST_KIND),
            "device": entry.device.hex if entry.device else None,
            "detail": _cut(entry.detail, MOST_DETAIL),
        }
        said = json.dumps(fields, separators=(",", ":")).encode()
        open_part, nonce = bytes((VERSION,)) + before, self._random(NONCE_SIZE)
        return base64.b64encode(open_part + nonce + _seal(said, open_part, nonce, self._key))

    def open(self, line: bytes) -> Link:
        """What a line says. :raises Damaged: it is none of ours.

        Nor is one of a newer version: only the head, whose version is sealed, can say that a newer one was here.
        """
        try:
            raw = base64.b64decode(line, validate=True)
            if base64.b64encode(raw) != line:  # there are several ways to write the last few bits
                raise ValueError
            if raw[0] != VERSION:
                raise ValueError
            open_part, nonce, sealed = raw[:_AD], raw[_AD : _AD + NONCE_SIZE], raw[_AD + NONCE_SIZE :]
            fields = json.loads(_open(sealed, open_part, nonce, self._key))
            return Link(_entry(fields), open_part[1:])
        except (binascii.Error, exceptions.CryptoError, ValueError, KeyError, TypeError, IndexError):
            raise Damaged("a line of the audit trail is not what was written") from None


def _entry(fields: dict[str, Any]) -> Entry:
    device = fields["device"]
    at = datetime.fromisoformat(fields["at"])
    return Entry(int(fields["seq"]), at, str(fields["kind"]), UUID(device) if device else None, str(fields["detail"]))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# -- is it whole? --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """:param entries: how many are there, unchanged and in their places. :param broken: the first place that is not
    as it was written, in words; or ``""``."""

    entries: int
    broken: str = ""

    @property
    def sound(self) -> bool:
        """Nothing is broken."""
        return not self.broken


class Checker:
    """Takes a trail's lines, oldest first. :param head: None if it is missing or damaged."""

    def __init__(self, lines: Lines, head: Head | None) -> None:
        self._lines = lines
        self._head = head
        self._last = 0
        self._digest: bytes | None = None
        self._sound = 0
        self._broken = ""

    def take(self, line: bytes) -> None:
        """The next one, without its line feed."""
        own = digest(line)
        try:
            link = self._lines.open(line)
        except Damaged:
            self._breaks(f"the line {self._after()} was altered, or is none of this trail's")
        else:
            wrong = self._wrong(link, own)
            self._sound += not wrong
            if not wrong and link.entry.kind == DAMAGED:
                wrong = f"entry {link.entry.seq} says: {link.entry.detail}"
            self._breaks(wrong)
            self._last = link.entry.seq
        self._digest = own

    def take_cut(self) -> None:
        """Bytes that end without a line feed."""
        self._breaks(f"the line {self._after()} was cut, or is none of this trail's")

    def verdict(self) -> Verdict:
        """After the last line."""
        head = self._head
        if head is None:
            if self._digest is not None:
                self._breaks("the head is missing or damaged, so that a cut at the end could not be seen")
        elif self._last < head.seq:
            self._breaks(f"{span(self._last + 1, head.seq)} missing at the end")
        return Verdict(self._sound, self._broken)

    def _wrong(self, link: Link, own: bytes) -> str:
        """What is wrong with the place of this line, or ``""``."""
        seq, head = link.entry.seq, self._head
        if head is not None and seq == head.seq and own != head.digest:
            return f"entry {seq} is not the one that was written last"
        if self._digest is None:
            first = seq if head is None else head.first
            return f"{span(first, seq - 1)} missing at the beginning" if seq > first else ""
        if seq <= self._last:
            return f"entry {seq} stands where entry {self._last + 1} belongs"
        if seq > self._last + 1:
            return f"{span(self._last + 1, seq - 1)} missing"
        return "" if link.before == self._digest else f"entry {seq} does not follow the line before it"

    def _after(self) -> str:
        return f"after entry {self._last}" if self._last else "at the beginning"

    def _breaks(self, what: str) -> None:
        self._broken = self._broken or what


def span(first: int, last: int) -> str:
    """Entries from one to another, with the verb."""
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
