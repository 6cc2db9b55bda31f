"""The secret cell: passphrase first, data key later, nothing left of the former."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.actors import cell
from springline.actors.cell import LONGEST, SIZE, keep_key, key_in, new_cell, passphrase_in
from springline.actors.datagram import Fd
from springline.actors.wire import Mailbox
from springline.errors import InternalFault, Misuse

KEY = bytes(range(32))
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs a sealed memfd")


@pytest.fixture
def fd() -> Iterator[int]:
    fd = new_cell(b"correct horse")
    yield fd
    os.close(fd)


def everything_in(fd: int) -> bytes:
    with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=cell._READING) as memory:
        return memory[:]


@given(passphrase=st.binary(max_size=LONGEST), key=st.binary(min_size=32, max_size=32))
def test_a_cell_holds_the_passphrase_and_then_the_key(passphrase: bytes, key: bytes) -> None:
    fd = new_cell(passphrase)
    try:
        assert (passphrase_in(fd), key_in(fd)) == (passphrase, None)
        keep_key(fd, key)
        assert (passphrase_in(fd), key_in(fd)) == (None, key)
    finally:
        os.close(fd)


def test_nothing_is_left_of_the_passphrase(fd: int) -> None:
    assert b"correct horse" in everything_in(fd)
    keep_key(fd, KEY)
    assert everything_in(fd).replace(KEY, b"").strip(b"\0") == b"\x02"  # the kind


@LINUX
def test_a_cell_with_a_key_cannot_be_changed(fd: int) -> None:
    keep_key(fd, KEY)
    with pytest.raises(PermissionError):
        keep_key(fd, bytes(32))
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    assert key_in(fd) == KEY


@LINUX
def test_a_cell_can_be_sealed_while_somebody_reads_it(fd: int) -> None:
    with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=cell._READING):
        keep_key(fd, KEY)
    assert key_in(fd) == KEY


def test_everybody_who_holds_it_sees_the_key(fd: int, directory: str) -> None:
    a, b = Mailbox(directory), Mailbox(directory)
    a.send(b.path, Fd(fd))
    received = b.receive()
    assert received
    other = received[1]
    assert isinstance(other, Fd)
    assert passphrase_in(other.fileno()) == b"correct horse"
    keep_key(fd, KEY)
    assert key_in(other.fileno()) == KEY
    a.close()
    b.close()


def test_it_is_not_inherited_by_programs(fd: int) -> None:
    assert not os.get_inheritable(fd)


def test_limits(fd: int) -> None:
    with pytest.raises(Misuse, match="too long"):
        new_cell(b"x" * (LONGEST + 1))
    with pytest.raises(InternalFault, match="32 bytes"):
        keep_key(fd, b"short")
    assert passphrase_in(fd) == b"correct horse"


def test_the_memory_of_systems_without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(cell, "_READING", mmap.MAP_SHARED)
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    fd = new_cell(b"correct horse")
    try:
        assert passphrase_in(fd) == b"correct horse"
        with mmap.mmap(fd, SIZE) as memory:
            memory[: SIZE // 2] = memory[: SIZE // 2]
        if os.path.isdir("/dev/shm"):
            assert set(os.listdir("/dev/shm")) <= before
    finally:
        os.close(fd)
