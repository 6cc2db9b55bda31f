"""Mailboxes on real sockets: what arrives, and from whom; and what does not."""

from __future__ import annotations

import copy
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.actors import wire
from springline.actors.datagram import INLINE, Fd, Sent
from springline.actors.wire import Mailbox
from springline.errors import InternalFault
from springline.tests.actors.stage import Bomb, NewMailbox, open_fds, private_directory, received

# -- messages ------------------------------------------------------------------------------------------------------


def test_a_message_arrives_with_its_senders_path(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    assert a.send(b.path, {"any": ["thing", 1]}) is Sent.DONE
    assert b.receive() == (a.path, {"any": ["thing", 1]})
    assert b.receive() is None


@pytest.mark.parametrize("size", [0, INLINE - 100, INLINE, INLINE + 1, 5_000_000])
def test_messages_of_any_size(mailbox: NewMailbox, size: int) -> None:
    a, b = mailbox(), mailbox()
    message = os.urandom(size)
    assert a.send(b.path, message) is Sent.DONE
    assert received(b) == [message]


def test_a_large_message_without_memfd_leaves_no_file(
    mailbox: NewMailbox, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    a, b = mailbox(), mailbox()
    a.send(b.path, b"x" * 100_000)
    assert received(b) == [b"x" * 100_000]
    assert set(os.listdir(directory)) == {os.path.basename(a.path), os.path.basename(b.path)}


def test_without_credentials_on_the_socket(mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_CREDENTIALS", None)
    a, b = mailbox(), mailbox()
    a.send(b.path, "hello")
    assert b.receive() == (a.path, "hello")


def test_what_cannot_be_pickled_raises_and_leaks_nothing(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    before = open_fds()
    with pytest.raises(Exception, match="pickle"):
        a.send(b.path, [Fd(0), threading.Lock()])
    assert open_fds() == before
    assert received(b) == []


# -- descriptors ---------------------------------------------------------------------------------------------------


def test_a_descriptor_is_lent_by_the_sender_and_given_to_the_receiver(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    read, write = os.pipe()
    sent = Fd(read)
    assert a.send(b.path, {"first": sent, "again": sent}) is Sent.DONE
    sent.close()
    os.fstat(read)  # the sender's own is still open
    os.close(read)
    os.write(write, b"hello")
    os.close(write)
    (message,) = received(b)
    assert os.read(message["again"].fileno(), 10) == b"hello"


def test_a_received_descriptor_is_closed_when_nobody_took_it(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    before = open_fds()
    for _ in range(3):
        a.send(b.path, Fd(0))
    closed, taken, forgotten = received(b)
    closed.close()
    closed.close()
    fd = taken.take()
    del taken, forgotten
    assert open_fds() == before + 1
    os.fstat(fd)
    os.close(fd)


def test_a_descriptor_travels_with_a_large_message(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    read, write = os.pipe()
    a.send(b.path, (bytes(100_000), Fd(write)))
    ((_, fd),) = received(b)
    os.write(fd.fileno(), b"!")
    assert os.read(read, 1) == b"!"
    os.close(read)
    os.close(write)


def test_programs_started_by_the_receiver_do_not_get_the_descriptor(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    a.send(b.path, (Fd(0), bytes(100_000)))
    ((fd, _),) = received(b)
    assert not os.get_inheritable(fd.fileno())


def test_forked_processes_do_not_get_the_descriptor(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    read, write = os.pipe()
    a.send(b.path, Fd(write))
    os.close(write)
    (fd,) = received(b)
    stay_r, stay_w = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(stay_w)
        os.read(stay_r, 1)
        os._exit(0)
    fd.close()
    assert select.select([read], [], [], 30)[0]  # end of file, though the child still lives
    os.close(stay_w)
    os.waitpid(child, 0)
    for each in (stay_r, read):
        os.close(each)


def test_the_most_descriptors_of_a_message(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    before = open_fds()
    a.send(b.path, [bytes(100_000), *[Fd(0)] * 64])
    (message,) = received(b)
    assert len(message) == 65
    del message
    with pytest.raises(InternalFault, match="64"):
        a.send(b.path, [Fd(0)] * 65)
    assert open_fds() == before


def test_a_descriptor_cannot_leave_otherwise() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Fd(0))
    with pytest.raises(TypeError):
        copy.copy(Fd(0))
    fd = Fd(0)
    assert copy.deepcopy([fd])[0] is fd


# -- strangers and garbage -----------------------------------------------------------------------------------------


def send_raw(sock: socket.socket, target: str, data: bytes, fds: list[int] | None = None) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    sock.sendmsg([data], rights, 0, target)


def test_a_socket_without_a_place_in_the_directory_is_not_heard(
    mailbox: NewMailbox, directory: str, tmp_path: Path
) -> None:
    b = mailbox()
    bomb = b"P" + pickle.dumps(Bomb(str(tmp_path / "exploded")))
    before = open_fds()
    with private_directory() as elsewhere, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        send_raw(stranger, b.path, bomb, [0])
        stranger.bind(os.path.join(elsewhere, "stranger"))
        send_raw(stranger, b.path, bomb, [0])
        assert received(b) == []
    assert not (tmp_path / "exploded").exists()
    assert open_fds() == before
    assert os.listdir(directory) == [os.path.basename(b.path)]


ANOTHER_USER = """
import os, pickle, socket, sys
target, mine = sys.argv[1:]
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(mine)
os.setuid(65534)
try:
    sock.sendto(b"P" + pickle.dumps("hello"), target)
    print("sent")
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused(mailbox: NewMailbox, directory: str) -> None:
    def try_it(name: str) -> str:
        command = [sys.executable, "-c", ANOTHER_USER, b.path, os.path.join(directory, name)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    a, b = mailbox(), mailbox()
    assert try_it("one") == "refused"  # by the directory
    os.chmod(directory, 0o755)
    os.chmod(b.path, 0o777)
    assert try_it("two") == "sent"
    if hasattr(socket, "SO_PASSCRED"):
        assert received(b) == []  # by its uid
    os.chmod(directory, 0o700)
    a.send(b.path, "still well")
    assert received(b)[-1:] == ["still well"]


@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"P" + data))
@example(b"")
@example(b"P")
@example(b"M")
@example(b"X")
@example(b"-5>")
@example(b"P" + bytes(INLINE + 2000))
@example(b"P" + pickle.dumps("cut short")[:-3])
def test_garbage_does_no_harm(data: bytes) -> None:
    with private_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as clumsy:
        clumsy.bind(os.path.join(directory, "1.clumsy"))
        b = Mailbox(directory)
        try:
            send_raw(clumsy, b.path, data)
            send_raw(clumsy, b.path, b"P" + pickle.dumps("after"))
            assert received(b)[-1] == "after"
        finally:
            b.close()


def test_descriptors_in_garbage_are_closed(mailbox: NewMailbox, directory: str, tmp_path: Path) -> None:
    b = mailbox()
    folder = os.open(tmp_path, os.O_RDONLY)
    before = open_fds()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as clumsy:
        clumsy.bind(os.path.join(directory, "1.clumsy"))
        for data in (b"M", b"P", b"garbage"):  # a folder is no memory file
            send_raw(clumsy, b.path, data, [folder])
        assert received(b) == []
    assert open_fds() == before
    os.close(folder)
