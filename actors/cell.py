"""A secret cell: a few bytes of kernel memory, reached by a descriptor only, never by a name or a file.

It carries what opens the store from whoever knows it to the Keystore, and keeps what a killed Keystore needs to come
back without a question. Its life has two stages:

1. The app writes the **passphrase** into a new cell and hands the descriptor down the tree.
2. Whoever opens the store by it (Argon2id), once, writes the **data key** over the passphrase and seals the cell.
   Everybody who holds the descriptor now holds a cell with the key: app, supervisor, the next Keystore. No message has
   to tell them; nor is there anything to tell when the passphrase changes, because that key does not.

The order of the bytes written makes each step safe to be killed after: key first, then the one byte that says which of
the two counts, then the wiping. Supervisors hold the descriptor and never look. On Linux a sealed memfd; elsewhere
anonymous POSIX shared memory, which cannot be sealed. It is memory like any other: a machine that swaps may write it to
its swap space.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from collections.abc import Callable, Iterator

from springline.actors.datagram import Fd
from springline.errors import InternalFault, Misuse

SIZE = 4096
LONGEST = 1024
"""Bytes a passphrase may have."""

Secret = bytes | bytearray | str | None
Passphrase = Secret | Callable[[], Secret]
"""A passphrase, or what asks the user for it; None if there is to be none.

``bytes`` and ``str`` can't be wiped: they may stay in this process's memory until it ends.
"""

_KIND, _LENGTH, _KEY, _PASSPHRASE = 0, 2, 32, 64
_IS_PASSPHRASE, _IS_KEY = 1, 2
KEY_SIZE = 32

_READING = mmap.MAP_PRIVATE if hasattr(os, "memfd_create") else mmap.MAP_SHARED
"""How to map a cell for reading: Linux before 6.7 maps a sealed memfd in private only, macOS its memory shared only."""


def cell_of(passphrase: Passphrase) -> int:
    """A new cell with what the user gives, which is wiped afterwards if it is a ``bytearray``.

    :raises Misuse: it is too long, or empty, which is not the same as None.
    """
    given = passphrase() if callable(passphrase) else passphrase
    if given is not None and not given:
        raise Misuse("the passphrase is empty", "give one, or say that there is none")
    try:
        return new_cell(given.encode() if isinstance(given, str) else given or b"")
    finally:
        if isinstance(given, bytearray):
            given[:] = bytes(len(given))


@contextlib.contextmanager
def holding(passphrase: Passphrase) -> Iterator[Fd]:
    """A cell as of :func:`cell_of` for one message; closed afterwards."""
    fd = cell_of(passphrase)
    try:
        yield Fd(fd)
    finally:
        os.close(fd)


def new_cell(passphrase: bytes | bytearray) -> int:
    """A new cell that holds ``passphrase``.

    :param passphrase: 0 to 1,024 bytes.
    :returns: a close-on-exec descriptor, the caller's to close.
    :raises Misuse: it is too long.
    """
    if len(passphrase) > LONGEST:
        raise Misuse(f"a passphrase of {len(passphrase)} bytes is too long", f"use at most {LONGEST} bytes")
    fd = _memory()
    with mmap.mmap(fd, SIZE) as cell:
        cell[_LENGTH : _LENGTH + 2] = len(passphrase).to_bytes(2, "big")
        cell[_PASSPHRASE : _PASSPHRASE + len(passphrase)] = passphrase
        cell[_KIND] = _IS_PASSPHRASE
    return fd


def passphrase_in(fd: int) -> bytes | None:
    """The passphrase in the cell, or None once it holds the data key."""
    with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=_READING) as cell:
        if cell[_KIND] != _IS_PASSPHRASE:
            return None
        length = int.from_bytes(cell[_LENGTH : _LENGTH + 2], "big")
        return cell[_PASSPHRASE : _PASSPHRASE + length]


def key_in(fd: int) -> bytes | None:
    """The 32-byte data key in the cell, or None while it still holds the passphrase."""
    with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=_READING) as cell:
        return cell[_KEY : _KEY + KEY_SIZE] if cell[_KIND] == _IS_KEY else None


def keep_key(fd: int, key: bytes) -> None:
    """Replace the passphrase in the cell by the data key, and seal it."""
    if len(key) != KEY_SIZE:
        raise InternalFault(f"an data key has {KEY_SIZE} bytes, not {len(key)}")
    with mmap.mmap(fd, SIZE) as cell:
        cell[_KEY : _KEY + KEY_SIZE] = key
        cell[_KIND] = _IS_KEY
        cell[_PASSPHRASE : _PASSPHRASE + LONGEST] = bytes(LONGEST)
        cell[_LENGTH : _LENGTH + 2] = bytes(2)
    if hasattr(fcntl, "F_ADD_SEALS"):
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("springline-cell", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:  # macOS: a shared-memory object whose name is gone before anybody could look for it
        import _posixshmem  # type: ignore[import-not-found,unused-ignore]  # no stubs

        name = f"/springline-{secrets.token_hex(8)}"
        fd = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
        _posixshmem.shm_unlink(name)
    os.ftruncate(fd, SIZE)
    return fd
