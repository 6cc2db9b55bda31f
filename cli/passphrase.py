"""Where a passphrase comes from: a file, a file named by the environment, the system's keyring, a prompt. Never argv.

The rule: the first that is given wins, in that order. One trailing line break is not part of a passphrase in a file. A
file that others may read is refused, because a passphrase there is no secret.

What is read goes into a ``bytearray`` by system calls alone, past Python's buffered files, text and ``getpass``, which
leave copies that nobody can wipe; whoever takes it wipes it. What the keyring hands out is text and can't be wiped; but
whoever may read this process may ask the keyring as well.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

from springline.actors.cell import LONGEST
from springline.actors.hardening import harden
from springline.cli import oskeyring
from springline.cli.console import err, is_terminal
from springline.errors import Damaged, LocalFault, Misuse, WrongPassphrase
from springline.store import config, opening
from springline.store.envelope import Strength
from springline.store.layout import Layout

VARIABLE = "SPRINGLINE_PASSPHRASE_FILE"

OPTION = "--passphrase-file"

_ROOM = LONGEST + 3
"""Bytes read of a passphrase: as long as it may be, the end of its line, and one that is too many."""


def new_passphrase(file: Path | None, what: str = "New passphrase", option: str = "--new-passphrase-file") -> bytearray:
    """A passphrase that is to be: from a file, or asked for twice.

    :param option: the one that ``file`` comes from.
    :raises LocalFault: the file can't be read. :raises Misuse: there is neither file nor terminal.
    """
    harden()
    return _from_file(file) if file is not None else _asked_twice(what, option)


def existing_passphrase(file: Path | None, what: str, option: str) -> bytearray:
    """The passphrase of something that is there: from a file, or asked for. Parameters as of :func:`new_passphrase`."""
    harden()
    return _from_file(file) if file is not None else _asked(what, option)


def first_passphrase(file: Path | None) -> bytearray:
    """The passphrase of a new store: as :func:`new_passphrase`, or from the file the environment names."""
    return new_passphrase(file or _named(), "Passphrase", OPTION)


def protection_level(data_dir: Path) -> str:
    """How hard the passphrase of the store there is to guess: ``moderate``, ``none`` …, or ``unknown``.

    :raises Misuse: there is no store.
    """
    try:
        strength = opening.protection(Layout(data_dir))
    except Damaged:  # opening it tells the rest, or goes back to its previous version
        strength = None
    return "unknown" if strength is None else strength.level


@contextlib.contextmanager
def present_passphrase(data_dir: Path, file: Path | None) -> Iterator[Present]:
    """The passphrase of the store there, to be asked for as late as possible; tells where a wrong one came from."""
    present = Present(data_dir, file)
    try:
        yield present
    except WrongPassphrase as error:
        if present.source is not None:
            raise WrongPassphrase(f"{error.message}: it came from {present.source}", error.hint) from None
        raise


class Present:
    """Called, it gives the passphrase of a store, or None if the store has none.

    :param file: from ``--passphrase-file``, or None.
    """

    def __init__(self, data_dir: Path, file: Path | None) -> None:
        self._layout = Layout(data_dir)
        self._file = file
        self.source: str | None = None

    @property
    def is_none(self) -> bool:
        """The store has no passphrase. :raises Misuse: there is no store."""
        return protection_level(self._layout.root) == Strength.NONE.level

    def __call__(self) -> bytearray | None:
        """The passphrase; whoever takes it wipes it.

        :raises LocalFault: the file can't be read. :raises Misuse: it is given nowhere, and there is no terminal.
        """
        given = self._from_file()
        if given is not None or self.is_none:
            return given
        found = self._from_keyring()
        return _asked("Passphrase", OPTION) if found is None else found

    def ask(self) -> bytearray:
        """As a call, but not from the keyring, and there is one."""
        given = self._from_file()
        return _asked("Passphrase", OPTION) if given is None else given

    def _from_file(self) -> bytearray | None:
        harden()
        named = self._file or _named()
        if named is None:
            return None
        self.source = str(named)
        return _from_file(named)

    def _from_keyring(self) -> bytearray | None:
        found = oskeyring.find(config.load(self._layout).device_id)
        if found is not None:
            self.source = "the keyring; 'springline passphrase forget' removes it there"
        return found


def _named() -> Path | None:
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def _from_file(path: Path) -> bytearray:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise LocalFault(f"others may read the passphrase file {path}", f"chmod 600 {path}")
            return _read(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise LocalFault(f"can't read the passphrase file: {(error.strerror or '').lower()}", str(path)) from None


def _read(fd: int, *, line: bool = False) -> bytearray:
    """All there is, or one line, without the end of the line."""
    room = bytearray(_ROOM)
    view, size = memoryview(room), 0
    while size < _ROOM and (got := os.readv(fd, [view[size:]])):
        size += got
        if line and room[size - 1] == ord("\n"):
            break
    for end in b"\n\r":
        size -= size > 0 and room[size - 1] == end
    found = bytearray(view[:size])
    room[:] = bytes(_ROOM)
    if size > LONGEST:
        found[:] = bytes(len(found))
        raise Misuse("the passphrase is too long", f"use at most {LONGEST} bytes")
    return found


def _asked_twice(what: str, option: str) -> bytearray:
    while True:
        first, second = _asked(what, option), _asked("The same again", option)
        same = first == second
        second[:] = bytes(len(second))
        if same and first:
            return first
        first[:] = bytes(len(first))
        err.print("They differ. Try again." if not same else "It is empty. Try again.")


def _asked(what: str, option: str) -> bytearray:
    if not is_terminal(sys.stdin):
        raise Misuse(f"{what.lower()}: none is given, and there is no terminal to ask on", f"use {option}")
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    quiet = [*before[:3], before[3] & ~termios.ECHO | termios.ICANON, *before[4:]]
    err.print(f"{what}: ", end="")
    try:
        termios.tcsetattr(fd, termios.TCSAFLUSH, quiet)
        return _read(fd, line=True)
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)
        err.print()
