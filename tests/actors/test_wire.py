"""Mailboxes whose targets are full, hung or dead: order, bounds, and nobody made to wait for another."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from springline.actors import wire
from springline.actors.datagram import Fd, Sent
from springline.actors.names import alive, register
from springline.actors.wire import Mailbox
from springline.tests.actors.stage import NewMailbox, flush, open_fds, private_directory, received


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
    got: list[Any] = []
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


def test_the_backlog_is_bounded_in_number(
    mailbox: NewMailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wire, "BACKLOG_MESSAGES", 20)
    a, b = mailbox(), mailbox()
    before = open_fds()
    results = [a.send(b.path, Fd(0)) for _ in range(100)]
    assert results.count(Sent.QUEUED) == 20
    assert results[-1] is Sent.REFUSED
    assert caplog.text.count("refused") == 1  # said once, not eighty times
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
    monkeypatch.setattr("springline.actors.wire.time.monotonic", lambda: now)
    a, b = mailbox(), mailbox()
    for number in range(50):
        a.send(b.path, number)
    got: list[Any] = []
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
