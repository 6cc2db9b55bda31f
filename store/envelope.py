"""Sealed files: who has not the key learns only how long they are, and can change nothing unnoticed.

A sealed file is one line of JSON, the header, then the ciphertext (XChaCha20-Poly1305, tag included). The header line
and the *context* (what the file is and whose) are authenticated with it, so that no file can be put in another's
place::

    {"format": "springline-sealed", "version": 1, "nonce": "<base64>"}\\n<ciphertext>

One file has more in its header: how a passphrase opens it. Argon2id turns the passphrase into a key that wraps the
random *data key* everything else hangs on; so changing the passphrase rewrites this one file::

    "kdf": {"name": "argon2id", "level": "moderate", "ops": 3, "mem": 268435456, "salt": "…"},
    "wrap": {"nonce": "…", "key": "…"}, "check": "…"

The level is a name, so that a later version can tell that what was moderate then is not enough now. A derivation named
``none`` stands for no passphrase: the key that wraps comes from the salt, and whoever reads the file has it.

The salt has 16 bytes, a nonce 24, the wrapped key 48. The check, BLAKE2b-64 over passes and memory (8 bytes each, big
endian), salt, nonce and wrapped key, tells a damaged header from a wrong passphrase; it protects from a bad disk, not
from an attacker. Parameters read from a file are bounded before they are used: a hostile header must not ask for a
terabyte.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeGuard

import nacl.utils
from nacl import exceptions, pwhash
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)

from springline.errors import Damaged, LocalFault, Newer, WrongPassphrase

FORMAT = "springline-sealed"
EXPORT = "export"
"""The context of a file that moves an identity; it is a format of its own, so that neither is taken for the other."""

VERSION = 1
KEY_SIZE = 32
NONCE_SIZE = 24
SALT_SIZE = 16
CHECK_SIZE = 8

_GUARDED, _OPEN = "argon2id", "none"
_MOST_HEADER = 4096
_MOST_OPS = 16
_MOST_MEMORY = 2 << 30

Random = Callable[[int], bytes]


class Strength(Enum):
    """How hard a passphrase is to guess: passes over memory, and bytes of memory (RFC 9106)."""

    NONE = (0, 0)
    """There is no passphrase."""
    MINIMAL = (1, 8192)
    """For tests: no protection at all."""
    INTERACTIVE = (2, 64 << 20)
    MODERATE = (3, 256 << 20)
    SENSITIVE = (4, 1 << 30)

    @property
    def passes(self) -> int:
        """Passes over the memory."""
        return self.value[0]

    @property
    def memory(self) -> int:
        """Bytes of memory."""
        return self.value[1]

    @property
    def level(self) -> str:
        """What it is called in a file."""
        return self.name.lower()


_LEVELS = {strength.level: strength for strength in Strength}


@dataclass(frozen=True, slots=True)
class Lock:
    """How a passphrase opens a data key: the parts of a header.

    :param level: the name of the strength that was asked for, or ``""``.
    """

    passes: int
    memory: int
    salt: bytes
    nonce: bytes
    wrapped: bytes
    level: str = ""

    @property
    def is_open(self) -> bool:
        """There is no passphrase: anybody opens it."""
        return self.level == Strength.NONE.level

    @property
    def is_outdated(self) -> bool:
        """What its level stands for has been raised since."""
        present = _LEVELS.get(self.level)
        return present is not None and (self.passes < present.passes or self.memory < present.memory)

    def derive(self, passphrase: bytes) -> bytes:
        """The unlock key (32 bytes): Argon2id, which takes the time it takes.

        :raises LocalFault: it takes more memory than there is. :raises WrongPassphrase: there is no passphrase, and
            yet one is given: that is not the store its owner means.
        """
        if self.is_open:
            if passphrase:
                raise WrongPassphrase("there is no passphrase here, and yet one was given")
            return hashlib.blake2b(self.salt, digest_size=KEY_SIZE, person=b"no passphrase").digest()
        try:
            return pwhash.argon2id.kdf(KEY_SIZE, passphrase, self.salt, opslimit=self.passes, memlimit=self.memory)
        except (exceptions.RuntimeError, MemoryError):
            need = f"{self.memory >> 20} MiB"
            raise LocalFault(f"no memory to check the passphrase: it takes {need}", "free some memory") from None

    def open(self, unlock_key: bytes) -> bytes:
        """The data key (32 bytes). :raises WrongPassphrase: the unlock key is not the one."""
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(self.wrapped, b"data key", self.nonce, unlock_key)
        except exceptions.CryptoError:
            raise WrongPassphrase("the passphrase is wrong") from None

    @property
    def check(self) -> bytes:
        """8 bytes that change with any of the others."""
        work = self.passes.to_bytes(8, "big") + self.memory.to_bytes(8, "big")
        return hashlib.blake2b(work + self.salt + self.nonce + self.wrapped, digest_size=CHECK_SIZE).digest()


def new_lock(
    passphrase: bytes, data_key: bytes, strength: Strength, random: Random = nacl.utils.random
) -> tuple[Lock, bytes]:
    """A lock that opens ``data_key`` (32 bytes) with ``passphrase``, and the unlock key derived on the way.

    :param passphrase: empty for ``Strength.NONE``.
    """
    nonce, salt = random(NONCE_SIZE), random(SALT_SIZE)
    lock = Lock(strength.passes, strength.memory, salt, nonce, b"", strength.level)
    unlock_key = lock.derive(passphrase)
    wrapped = crypto_aead_xchacha20poly1305_ietf_encrypt(data_key, b"data key", nonce, unlock_key)
    return replace(lock, wrapped=wrapped), unlock_key


def subkey(key: bytes, purpose: str, whose: bytes = b"") -> bytes:
    """A key (32 bytes) for one purpose, and of one device: keyed BLAKE2b."""
    return hashlib.blake2b(whose, digest_size=KEY_SIZE, key=key, person=purpose.encode().ljust(16, b"\0")[:16]).digest()


def seal(
    key: bytes, plaintext: bytes, context: str, lock: Lock | None = None, random: Random = nacl.utils.random
) -> bytes:
    """A sealed file.

    :param key: 32 bytes. :param context: what the file is, e.g. ``session_keys/<device>``; needed again to open it.
    :param lock: put into the header of the file that a passphrase opens.
    """
    header: dict[str, Any] = {"format": _format(context), "version": VERSION}
    if lock is not None:
        header["kdf"] = _kdf(lock)
        header["wrap"] = {"nonce": _text(lock.nonce), "key": _text(lock.wrapped)}
        header["check"] = _text(lock.check)
    nonce = random(NONCE_SIZE)
    header["nonce"] = _text(nonce)
    line = json.dumps(header).encode() + b"\n"
    return line + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, line + context.encode(), nonce, key)


def unseal(key: bytes, blob: bytes, context: str) -> bytes:
    """What is inside. :raises Damaged: it is not what was sealed with this key for this context."""
    header, line, ciphertext = _split(blob, context)
    nonce = _bytes(header, "nonce", NONCE_SIZE, context)
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, line + context.encode(), nonce, key)
    except (exceptions.CryptoError, ValueError):
        raise Damaged(f"{_what(context)} does not open: it is damaged, or not this file's") from None


def lock_of(blob: bytes, context: str) -> Lock:
    """The lock in a sealed file's header. :raises Damaged: there is none that makes sense."""
    header, _, _ = _split(blob, context)
    kdf, wrap = header.get("kdf"), header.get("wrap")
    if not isinstance(kdf, dict) or not isinstance(wrap, dict):
        raise Damaged(f"{_what(context)} does not say how a passphrase opens it")
    passes, memory, level = _work(kdf, context)
    lock = Lock(
        passes,
        memory,
        _bytes(kdf, "salt", SALT_SIZE, context),
        _bytes(wrap, "nonce", NONCE_SIZE, context),
        _bytes(wrap, "key", KEY_SIZE + 16, context),
        level,
    )
    if _bytes(header, "check", CHECK_SIZE, context) != lock.check:
        raise Damaged(f"{_what(context)} has a damaged header")
    return lock


def _kdf(lock: Lock) -> dict[str, Any]:
    if lock.is_open:
        return {"name": _OPEN, "salt": _text(lock.salt)}
    level = {"level": lock.level} if lock.level else {}
    return {"name": _GUARDED, **level, "ops": lock.passes, "mem": lock.memory, "salt": _text(lock.salt)}


def _work(kdf: dict[str, Any], context: str) -> tuple[int, int, str]:
    """Passes, memory and level that a header asks for."""
    name, level = kdf.get("name"), kdf.get("level")
    if name == _OPEN:
        return *Strength.NONE.value, Strength.NONE.level
    if name != _GUARDED:
        raise Damaged(f"{_what(context)} does not say how a passphrase opens it")
    passes, memory = kdf.get("ops"), kdf.get("mem")
    if not (_within(passes, 1, _MOST_OPS) and _within(memory, Strength.MINIMAL.memory, _MOST_MEMORY)):
        raise Damaged(f"{_what(context)} asks for an unreasonable amount of work")
    known = isinstance(level, str) and level in _LEVELS and level != Strength.NONE.level
    return passes, memory, str(level) if known else ""


def _format(context: str) -> str:
    return "springline-export" if context == EXPORT else FORMAT


def _split(blob: bytes, context: str) -> tuple[dict[str, Any], bytes, bytes]:
    end = blob.find(b"\n", 0, _MOST_HEADER) + 1
    if end == 0:
        raise Damaged(f"{_what(context)} has no header: it is damaged, or another program's")
    line = blob[:end]
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != _format(context):
        raise Damaged(f"{_what(context)} has no header: it is damaged, or another program's")
    version = header.get("version")
    if type(version) is int and version > VERSION:
        raise Newer(f"{_what(context)} was written by a newer version")
    if version != VERSION:
        raise Damaged(f"{_what(context)} is of no known version")
    return header, line, blob[end:]


def _bytes(fields: dict[str, Any], name: str, size: int, context: str) -> bytes:
    try:
        value = base64.b64decode(fields[name], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        value = b""
    if len(value) != size:
        raise Damaged(f"{_what(context)} has a damaged header")
    return value


def _within(value: object, least: int, most: int) -> TypeGuard[int]:
    return type(value) is int and least <= value <= most


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _what(context: str) -> str:
    """The role of the file, without whose it is."""
    return "the exported identity" if context == EXPORT else f"the file '{context.partition('/')[0]}'"
