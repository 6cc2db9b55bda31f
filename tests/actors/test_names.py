"""The bus directory, and the names in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from springline.actors.datagram import Sent
from springline.actors.names import (
    Registered,
    alive,
    incarnation,
    is_registered,
    register,
    registered,
    sweep,
    unregister,
)
from springline.actors.wire import Mailbox, check_directory
from springline.errors import LocalFault
from springline.tests.actors.stage import NewMailbox, open_fds, received

DEAD_PID = 2**22 + 1
"""More than a process's number can be."""


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


def test_a_name_is_never_missing_while_it_changes_hands(
    mailbox: NewMailbox, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, old, new = mailbox(), mailbox(), mailbox()
    register(directory, "keystore", old.path)
    replace = os.replace

    def watched(source: str, target: str) -> None:
        assert a.send("keystore", "before") is Sent.DONE
        replace(source, target)
        assert a.send("keystore", "after") is Sent.DONE

    monkeypatch.setattr(os, "replace", watched)
    register(directory, "keystore", new.path)
    assert received(old) == ["before"]
    assert received(new) == ["after"]


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
