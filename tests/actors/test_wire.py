"""Mailboxes on real sockets: what arrives, in which order, from whom; and what does not."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from springline.actors import wire
from springline.actors.wire import (
    INLINE,
    Fd,
    Mailbox,
    Registered,
    Sent,
    alive,
    check_directory,
    incarnation,
    is_registered,
    register,
    registered,
    sweep,
    unregister,
)
from springline.errors import InternalFault, LocalFault
from springline.tests.actors.stage import private_directory

NewMailbox = Callable[..., Mailbox]
DEAD_PID = 2**22 + 1
"""More than a process's number can be."""


@pytest.fixture
def mailbox(directory: str) -> Iterator[NewMailbox]:
    """Makes mailboxes in the directory, and closes them."""
    made: list[Mailbox] = []

    def make(name: str | None = None) -> Mailbox:
        made.append(Mailbox(directory, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def received(mailbox: Mailbox) -> list[Any]:
    """All that has arrived."""
    messages = []
    while (got := mailbox.receive()) is not None:
        messages.append(got[1])
    return messages


def flush(mailbox: Mailbox) -> int:
    """Send what can be sent now; how many targets can take something."""
    poll = select.poll()
    for fd in mailbox.pending():
        poll.register(fd, select.POLLOUT)
    ready = poll.poll(0)
    for fd, _ in ready:
        mailbox.flush(fd)
    return len(ready)


def open_fds() -> int:
    gc.collect()
    return len(os.listdir("/dev/fd"))


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


class Traffic(RuleBasedStateMachine):
    """One sender, two receivers that read when they like: each gets all of its messages, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        directory = self.stack.enter_context(private_directory())
        self.sender = Mailbox(directory)
        self.receivers = [Mailbox(directory), Mailbox(directory)]
        self.sent: list[list[Any]] = [[], []]
        self.got: list[list[Any]] = [[], []]

    @rule(to=st.integers(0, 1), size=st.sampled_from([1, 20_000, 40_000]), count=st.integers(1, 15))
    def send(self, to: int, size: int, count: int) -> None:
        for _ in range(count):
            message = (len(self.sent[to]), bytes(size))
            assert self.sender.send(self.receivers[to].path, message) in (Sent.DONE, Sent.QUEUED)
            self.sent[to].append(message)

    @rule(by=st.integers(0, 1), count=st.integers(1, 15))
    def receive(self, by: int, count: int) -> None:
        for _ in range(count):
            got = self.receivers[by].receive()
            if got is not None:
                assert got[0] == self.sender.path
                self.got[by].append(got[1])
        assert self.got[by] == self.sent[by][: len(self.got[by])]

    @rule()
    def flush(self) -> None:
        flush(self.sender)

    def teardown(self) -> None:
        try:
            while self.sender.pending() or any(
                len(got) < len(sent) for got, sent in zip(self.got, self.sent, strict=True)
            ):
                flush(self.sender)
                for by in (0, 1):
                    self.receive(by, 15)
            assert self.got == self.sent
        finally:
            for each in (self.sender, *self.receivers):
                each.close()
            self.stack.close()


TestTraffic = Traffic.TestCase


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


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


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


# -- full and dead targets -----------------------------------------------------------------------------------------


def test_the_dead_and_the_missing(mailbox: NewMailbox, directory: str) -> None:
    a, b = mailbox(), mailbox()
    b._socket.close()  # as a kill leaves it: the file is still there
    assert os.path.exists(b.path)
    assert not alive(b.path)
    before = open_fds()
    assert a.send(b.path, Fd(0)) is Sent.DEAD
    assert a.send("nobody", Fd(0)) is Sent.DEAD
    assert a.send(directory, Fd(0)) is Sent.DEAD
    assert open_fds() == before


def test_a_full_target_gets_everything_later_in_order(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    results = [a.send(b.path, number) for number in range(500)]
    assert results[0] is Sent.DONE
    assert results[-1] is Sent.QUEUED
    got = []
    while len(got) < 500:
        got += received(b)
        flush(a)
    assert got == list(range(500))
    assert not a.pending()


def test_nobody_waits_busily_for_a_full_target(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    for number in range(50):
        a.send(b.path, number)
    flush(a)
    assert flush(a) == 0


@pytest.mark.parametrize(("hung", "size"), [(1, 10), (1, 30_000), (8, 30_000), (60, 10)])
def test_hung_targets_do_not_make_their_sender_deaf(mailbox: NewMailbox, hung: int, size: int) -> None:
    a, healthy, full = mailbox(), mailbox(), [mailbox() for _ in range(hung)]
    for target in full:
        for number in range(30):
            a.send(target.path, (number, bytes(size)))
    for number in range(100):
        a.send(healthy.path, number)
        flush(a)
        assert received(healthy) == [number]
    while flush(a):  # it comes to rest: nothing more can be sent
        pass
    for target in full:
        got: list[Any] = []
        while len(got) < 30:
            while (one := target.receive()) is not None:
                assert one[0] == a.path
                got.append(one[1])
            flush(a)
        assert [number for number, _ in got] == list(range(30))


def test_couriers_leave_no_file(mailbox: NewMailbox, directory: str) -> None:
    a, b, c = mailbox(), mailbox(), mailbox()
    for target in (b, c):
        for _ in range(30):
            a.send(target.path, bytes(30_000))
    flush(a)
    assert any("~" in name for name in os.listdir(directory)), "no courier was needed"
    a.close()
    assert set(os.listdir(directory)) == {os.path.basename(b.path), os.path.basename(c.path)}


def test_the_backlog_is_bounded_in_number(mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BACKLOG_MESSAGES", 20)
    a, b = mailbox(), mailbox()
    before = open_fds()
    results = [a.send(b.path, Fd(0)) for _ in range(100)]
    assert results.count(Sent.QUEUED) == 20
    assert results[-1] is Sent.REFUSED
    assert open_fds() == before + 20 + 1  # the waiting ones, and what tells when to go on
    a.close()
    b.close()
    assert open_fds() == before - 2


def test_the_backlog_is_bounded_in_bytes(mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BACKLOG_BYTES", 1_000_000)
    a, b = mailbox(), mailbox()
    results = [a.send(b.path, bytes(300_000)) for _ in range(30)]
    assert results.count(Sent.QUEUED) == 3
    assert results[-1] is Sent.REFUSED


def test_a_backlog_without_progress_expires(mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = mailbox(), mailbox()
    before = open_fds()
    for number in range(50):
        a.send(b.path, number)
    monkeypatch.setattr(wire, "BACKLOG_PATIENCE", -1.0)
    assert a.send(b.path, "refused") is Sent.REFUSED
    assert not a.pending()
    assert open_fds() == before
    monkeypatch.setattr(wire, "BACKLOG_PATIENCE", 30.0)
    taken = received(b)
    assert taken == list(range(len(taken)))
    assert a.send(b.path, "anew") is Sent.DONE
    assert received(b) == ["anew"]


def test_a_backlog_expires_without_another_message(mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = mailbox(), mailbox()
    for number in range(50):
        a.send(b.path, number)
    assert a.pending()
    monkeypatch.setattr(wire, "BACKLOG_PATIENCE", -1.0)
    assert not a.pending()


def test_progress_keeps_a_backlog(mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(wire.time, "monotonic", lambda: now)
    a, b = mailbox(), mailbox()
    for number in range(50):
        a.send(b.path, number)
    got = []
    while len(got) < 50:
        now += 20
        message = b.receive()
        assert message
        got.append(message[1])
        flush(a)
    assert got == list(range(50))


def test_a_backlog_of_the_dead_is_dropped(mailbox: NewMailbox) -> None:
    a, b = mailbox(), mailbox()
    for _ in range(50):
        a.send(b.path, Fd(0))
    b.close()
    assert flush(a) == 1
    assert not a.pending()
    assert a.send(b.path, "late") is Sent.DEAD


def test_what_waits_for_a_name_goes_to_who_has_it_then(mailbox: NewMailbox, directory: str) -> None:
    a, old, new = mailbox(), mailbox(), mailbox()
    register(directory, "service", old.path)
    for number in range(30):
        a.send("service", number)
    taken = received(old)
    register(directory, "service", new.path)
    old.close()
    flush(a)
    got = received(new)
    while a.pending():
        flush(a)
        got += received(new)
    assert taken + got == list(range(30))


# -- the directory -------------------------------------------------------------------------------------------------


def test_the_directory_must_be_private(directory: str) -> None:
    check_directory(directory)
    os.chmod(directory, 0o750)
    with pytest.raises(LocalFault, match="not private"):
        Mailbox(directory)
    os.chmod(directory, 0o700)
    with pytest.raises(LocalFault, match="no bus directory"):
        Mailbox(os.path.join(directory, "missing"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_directory_must_be_ours(directory: str) -> None:
    os.chown(directory, 65534, -1)
    with pytest.raises(LocalFault, match="not private"):
        check_directory(directory)


def test_a_long_path_is_refused_in_words(directory: str) -> None:
    deep = os.path.join(directory, "d" * 100)
    os.mkdir(deep, 0o700)
    with pytest.raises(LocalFault, match="too long"):
        Mailbox(deep)


def test_a_directory_by_any_of_its_names(mailbox: NewMailbox, directory: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(directory)
    b = mailbox()
    for name in (str(link), directory + "/", os.path.relpath(directory)):
        a = Mailbox(name)
        a.send(b.path, "there")
        (got,) = [b.receive()]
        assert got == (a.path, "there")
        b.send(got[0], "and back")
        assert received(a) == ["and back"]
        a.close()


def test_a_name_taken_twice_leaks_nothing(mailbox: NewMailbox, directory: str) -> None:
    mailbox("here")
    before = open_fds()
    with pytest.raises(OSError, match="in use"):
        Mailbox(directory, "here")
    assert open_fds() == before


def test_a_fork_does_not_keep_a_mailbox_alive(mailbox: NewMailbox) -> None:
    a = mailbox()
    for _ in range(20):  # with a backlog, and a courier's socket
        a.send(a.path, bytes(30_000))
    stay_r, stay_w = os.pipe()
    ready_r, ready_w = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(stay_w)
        os.write(ready_w, b".")
        os.read(stay_r, 1)
        os._exit(0)
    os.read(ready_r, 1)
    assert alive(a.path)
    assert os.path.exists(a.path)
    a._socket.close()  # as a kill does it
    assert not alive(a.path)
    os.close(stay_w)
    os.waitpid(child, 0)
    for fd in (stay_r, ready_r, ready_w):
        os.close(fd)


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_name_leads_to_the_latest_who_took_it(mailbox: NewMailbox, directory: str) -> None:
    a, old, new = mailbox(), mailbox(), mailbox()
    assert not is_registered(directory, "keystore")
    register(directory, "keystore", old.path)
    assert incarnation(directory, "keystore") == old.path
    a.send("keystore", 1)
    register(directory, "keystore", new.path)
    a.send("keystore", 2)
    a.send(os.path.join(directory, "keystore"), 3)
    assert received(old) == [1]
    assert received(new) == [2, 3]
    assert incarnation(directory, "keystore") == new.path
    assert incarnation(directory, old.path) == old.path
    assert incarnation(directory, "nobody") == os.path.join(directory, "nobody")


def test_a_name_is_given_back_by_who_has_it_only(mailbox: NewMailbox, directory: str) -> None:
    old, new = mailbox(), mailbox()
    register(directory, "keystore", new.path)
    unregister(directory, "keystore", old.path)
    assert is_registered(directory, "keystore")
    unregister(directory, "keystore", new.path)
    assert not is_registered(directory, "keystore")
    register(directory, "keystore", new.path)
    unregister(directory, "keystore")
    unregister(directory, "keystore")
    assert registered(directory) == []


def test_the_list_of_names(mailbox: NewMailbox, directory: str) -> None:
    a, b = mailbox(), mailbox()
    register(directory, "zebra", a.path)
    register(directory, "ape", b.path)
    os.symlink(f"{DEAD_PID}.gone", os.path.join(directory, "gone"))
    b.close()
    assert registered(directory) == [
        Registered("ape", b.path, os.getpid(), alive=False),
        Registered("gone", os.path.join(directory, f"{DEAD_PID}.gone"), DEAD_PID, alive=False),
        Registered("zebra", a.path, os.getpid(), alive=True),
    ]
    assert registered(os.path.join(directory, "missing")) == []


def test_a_name_is_never_missing_while_it_changes_hands(mailbox: NewMailbox, directory: str) -> None:
    a, one, two = mailbox(), mailbox(), mailbox()
    register(directory, "keystore", one.path)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            register(directory, "keystore", two.path)
            register(directory, "keystore", one.path)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(500):
            assert a.send("keystore", 1) is not Sent.DEAD
            received(one)
            received(two)
    finally:
        stop.set()
        changing.join()


def test_what_the_dead_left_is_swept(mailbox: NewMailbox, directory: str) -> None:
    a = mailbox()
    for name in (f"{DEAD_PID}.one", f"{DEAD_PID}.two~5", f"{DEAD_PID}0.other"):
        Path(directory, name).touch()
    register(directory, "keystore", os.path.join(directory, f"{DEAD_PID}.one"))
    sweep(directory, DEAD_PID)
    assert set(os.listdir(directory)) == {os.path.basename(a.path), f"{DEAD_PID}0.other", "keystore"}
    sweep(os.path.join(directory, "missing"), DEAD_PID)


SOMEBODY = """
import sys
from springline.actors.wire import Mailbox
mailbox = Mailbox(sys.argv[1])
print(mailbox.path, flush=True)
input()
"""


def test_somebody_killed_is_dead_at_once(mailbox: NewMailbox, directory: str) -> None:
    command = [sys.executable, "-c", SOMEBODY, directory]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as somebody:
        assert somebody.stdout
        path = somebody.stdout.readline().rstrip()
        assert alive(path)
        assert mailbox().send(path, "hello") is Sent.DONE
        somebody.kill()
        somebody.wait()
        assert not alive(path)
        assert mailbox().send(path, "hello") is Sent.DEAD
