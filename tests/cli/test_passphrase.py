"""Where a passphrase comes from: files, the environment, the keyring, a terminal."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked, PasswordDeleteError

from springline.actors.cell import LONGEST
from springline.cli import oskeyring, passphrase
from springline.cli.passphrase import (
    VARIABLE,
    Present,
    existing_passphrase,
    first_passphrase,
    new_passphrase,
    present_passphrase,
)
from springline.errors import LocalFault, Misuse, WrongPassphrase
from springline.store import opening
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.store.vault import Vault
from springline.tests.store.cast import NOW, PASSPHRASE, new_vault


class Memory(KeyringBackend):
    """A keyring that keeps its entries in this process."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def _open(self) -> None:
        if self.locked:
            raise KeyringLocked("locked")

    def get_password(self, service: str, username: str) -> str | None:
        self._open()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._open()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError("there is none")


@pytest.fixture(autouse=True)
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    monkeypatch.delenv(VARIABLE, raising=False)
    before, memory = keyring.get_keyring(), Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path / "data")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What a person types at; standard input is the other side."""
    typed, seen = pty.openpty()
    with os.fdopen(seen, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typed
    os.close(typed)


def secret_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def now_types(monkeypatch: pytest.MonkeyPatch, terminal: int, *lines: bytes) -> None:
    """Each line is typed when it is asked for."""
    waiting = iter(lines)
    asked = passphrase._asked

    def typing(what: str, option: str) -> bytearray:
        reading = passphrase._read

        def read(fd: int, *, line: bool = False) -> bytearray:
            os.write(terminal, next(waiting) + b"\n")
            return reading(fd, line=line)

        with monkeypatch.context() as patched:
            patched.setattr(passphrase, "_read", read)
            return asked(what, option)

    monkeypatch.setattr(passphrase, "_asked", typing)


def given_by(present: Present) -> bytes | None:
    given = present()
    return None if given is None else bytes(given)


# -- files -------------------------------------------------------------------------------------------------------------


one_line = st.binary(min_size=1, max_size=LONGEST).filter(lambda it: it[-1] not in b"\r\n")


@given(one_line, st.sampled_from(["", "\n", "\r\n"]))
@example(b"x" * LONGEST, "\r\n")
@settings(max_examples=50)
def test_a_file_holds_it_with_or_without_the_end_of_the_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, end: str
) -> None:
    file = secret_file(tmp_path_factory.mktemp("secret") / "file", content + end.encode())
    assert new_passphrase(file) == content


def test_a_file_others_may_read_and_one_that_is_not_there_and_one_too_long(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "file", b"secret\n")
    file.chmod(0o640)
    with pytest.raises(LocalFault, match="chmod 600"):
        new_passphrase(file)
    with pytest.raises(LocalFault, match="no such file"):
        new_passphrase(tmp_path / "none")
    with pytest.raises(Misuse, match="too long"):
        new_passphrase(secret_file(tmp_path / "long", b"x" * (LONGEST + 2)))


def test_a_pipe_will_do(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"through ")
    os.write(write, b"a pipe\n")
    os.close(write)
    assert new_passphrase(Path(f"/dev/fd/{read}")) == b"through a pipe"
    os.close(read)


# -- in which order ----------------------------------------------------------------------------------------------------


def test_the_first_that_is_given_wins(
    vault: Vault, ring: Memory, terminal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, device = vault.layout.root, vault.config.device_id
    now_types(monkeypatch, terminal, b"typed")
    assert given_by(Present(root, None)) == b"typed"
    oskeyring.keep(device, bytearray("from the ring é".encode()))
    assert given_by(Present(root, None)) == "from the ring é".encode()
    monkeypatch.setenv(VARIABLE, str(secret_file(tmp_path / "named", b"named\n")))
    assert given_by(Present(root, None)) == b"named"
    assert first_passphrase(None) == b"named"
    assert given_by(Present(root, secret_file(tmp_path / "given", b"given\n"))) == b"given"


def test_an_empty_file_is_an_empty_passphrase_and_nobody_is_asked(vault: Vault, tmp_path: Path) -> None:
    empty = secret_file(tmp_path / "empty", b"\n")
    assert given_by(Present(vault.layout.root, empty)) == b""
    assert Present(vault.layout.root, empty).ask() == bytearray()


def test_without_any_there_has_to_be_a_terminal(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        for ask, option in (
            (Present(vault.layout.root, None), "--passphrase-file"),
            (lambda: new_passphrase(None), "--new-passphrase-file"),
            (lambda: existing_passphrase(None, "Its passphrase", "--its-file"), "--its-file"),
        ):
            with pytest.raises(Misuse, match="terminal") as caught:
                ask()
            assert caught.value.hint == f"use {option}"


def test_a_store_without_one_asks_for_none(tmp_path: Path, ring: Memory) -> None:
    vault = opening.create(Layout(tmp_path / "data"), b"", "anchor", Strength.NONE, NOW)
    present = Present(vault.layout.root, None)
    assert present.is_none
    assert given_by(present) is None
    assert given_by(Present(vault.layout.root, secret_file(tmp_path / "given", b"given"))) == b"given"  # to be refused


def test_a_wrong_one_is_said_to_come_from_where_it_came(vault: Vault, ring: Memory) -> None:
    oskeyring.keep(vault.config.device_id, bytearray(b"of last year"))
    root = vault.layout.root
    with pytest.raises(WrongPassphrase, match=r"keyring.*forget"), present_passphrase(root, None) as present:
        opening.unlock(vault.layout, bytes(present() or b""))


# -- at the terminal ---------------------------------------------------------------------------------------------------


def test_a_new_one_is_asked_for_until_it_is_given_twice_and_never_shown(
    terminal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_types(monkeypatch, terminal, b"one", b"other", b"", b"", b"same", b"same")
    assert new_passphrase(None) == b"same"
    os.set_blocking(terminal, False)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except BlockingIOError:
            break
    assert b"same" not in shown
    assert b"other" not in shown


def test_the_terminal_is_as_it_was_when_the_user_has_had_enough(terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    def interrupted(fd: int, *, line: bool = False) -> bytearray:
        assert not termios.tcgetattr(fd)[3] & termios.ECHO
        raise KeyboardInterrupt

    before = termios.tcgetattr(sys.stdin)
    monkeypatch.setattr(passphrase, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        new_passphrase(None)
    assert termios.tcgetattr(sys.stdin) == before


# -- the keyring -------------------------------------------------------------------------------------------------------


def test_one_entry_per_device_kept_and_forgotten(vault: Vault, tmp_path: Path, ring: Memory) -> None:
    other = new_vault(tmp_path / "other").config.device_id
    device = vault.config.device_id
    oskeyring.keep(device, bytearray(PASSPHRASE))
    assert oskeyring.find(device) == bytearray(PASSPHRASE)
    assert oskeyring.find(other) is None
    assert not oskeyring.forget(other)
    assert oskeyring.forget(device)
    assert not oskeyring.forget(device)
    assert ring.entries == {}


def test_what_a_keyring_refuses_is_said_plainly_and_does_not_keep_anybody_from_the_prompt(
    vault: Vault, ring: Memory
) -> None:
    device = vault.config.device_id
    actions: list[Callable[[], object]] = [
        lambda: oskeyring.keep(device, bytearray(PASSPHRASE)),
        lambda: oskeyring.forget(device),
    ]
    ring.locked = True
    for action in actions:
        with pytest.raises(LocalFault, match="locked"):
            action()
    assert oskeyring.find(device) is None
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
    for action in actions:
        with pytest.raises(LocalFault, match="no keyring"):
            action()
    assert oskeyring.find(device) is None
    with pytest.raises(Misuse, match="text"):
        oskeyring.keep(device, bytearray(b"\xff"))


def test_without_the_package_there_is_a_hint(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert oskeyring.find(vault.config.device_id) is None
    with pytest.raises(Misuse, match=r"springline\[keyring\]"):
        oskeyring.forget(vault.config.device_id)
