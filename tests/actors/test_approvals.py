"""What a device that is only verified may not do unasked: in real nodes, from the file to the user's word and back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from springline.actors.approvals import MOST_PER_DEVICE, Approvals, ApprovalsArgs
from springline.actors.keeping import APPROVALS, PendingApproval, UnusedApproval, WantApproval
from springline.errors import Lost, Misuse, Refused, RemoteFault
from springline.events import ApprovalSettled, ApprovalWanted, NetworkEvent
from springline.protocols.files.transfer import Transfer
from springline.store.devices import TrustLevel
from springline.supervisors.asking import ROOT, Children, Dismiss, Supervise
from springline.supervisors.spec import ChildSpec
from springline.tests.nodes import Pair, eventually, kill, paired


@pytest.fixture(scope="module")
def running_pair() -> Iterator[Pair]:
    with paired() as pair:
        yield pair


@pytest.fixture
def pair(running_pair: Pair) -> Iterator[Pair]:
    """red does not trust blue: blue is only verified."""
    running_pair.await_link()
    _trust(running_pair, TrustLevel.VERIFIED)
    yield running_pair
    for one in running_pair.red.control.approvals():
        running_pair.red.control.approve(one.id, yes=False)
    _trust(running_pair, TrustLevel.TRUSTED)


def _trust(pair: Pair, level: TrustLevel) -> None:
    pair.red.control.set_trust(pair.blue_id, level)
    eventually(lambda: pair.red.control.find(pair.blue_id).device.trust is level, f"blue is {level.value}")


def send(pair: Pair, name: str, size: int = 1000) -> Transfer:
    path = pair.folder / name
    path.write_bytes(os.urandom(size))
    return pair.blue.control.send_file(pair.red_id, path)


def arrived(pair: Pair, name: str) -> Path:
    return pair.folder / "red" / "incoming" / name


def wanted(pair: Pair) -> PendingApproval:
    """The one thing that waits."""
    eventually(pair.red.control.approvals, "something waits for approval")
    (one,) = pair.red.control.approvals()
    return one


@contextmanager
def listening(pair: Pair) -> Iterator[list[NetworkEvent]]:
    """What red's subscribers hear, until an approval is settled."""
    heard: list[NetworkEvent] = []

    def listen() -> None:
        for event in pair.red.control.events(30.0):
            heard.append(event)
            if isinstance(event, ApprovalSettled):
                return

    thread = threading.Thread(target=listen)
    thread.start()
    yield heard
    thread.join()


def test_a_file_waits_until_it_is_approved(pair: Pair) -> None:
    with listening(pair) as heard:
        transfer = send(pair, "letter.txt", 2_500_000)
        one = wanted(pair)
        assert (one.device, one.protocol) == (pair.blue_id, "files")
        assert one.what == "receive the file “letter.txt” (2.5 MB)"
        assert not arrived(pair, "letter.txt").exists()
        assert transfer.progress().phase == "offering"
        assert pair.red.control.approve(one.id) == one
        assert transfer.wait(timeout=60.0).name == "letter.txt"
    assert arrived(pair, "letter.txt").read_bytes() == (pair.folder / "letter.txt").read_bytes()
    assert pair.red.control.approvals() == ()
    asked, settled = [event for event in heard if isinstance(event, ApprovalWanted | ApprovalSettled)]
    assert (asked.approval, asked.device_id, asked.what) == (one.id, pair.blue_id, one.what)  # type: ignore[union-attr]
    assert (settled.approval, settled.approved) == (one.id, True)  # type: ignore[union-attr]


def test_what_is_denied_is_not_sent_and_says_so(pair: Pair) -> None:
    transfer = send(pair, "junk.txt")
    pair.red.control.approve(wanted(pair).id, yes=False)
    with pytest.raises(RemoteFault, match="the user there has denied it"):
        transfer.wait(timeout=60.0)
    assert not arrived(pair, "junk.txt").exists()


def replace_approvals(pair: Pair, args: ApprovalsArgs) -> None:
    node = pair.red.control
    node.ask(ROOT, Dismiss(APPROVALS))
    eventually(lambda: all(child.name != APPROVALS for child in node.ask(ROOT, Children())), "they are gone")
    node.ask(ROOT, Supervise(ChildSpec(APPROVALS, Approvals, args)))
    eventually(lambda: node.approvals() == (), "they are back")


def test_what_nobody_approves_in_time_is_refused(pair: Pair) -> None:
    replace_approvals(pair, ApprovalsArgs(deadline=0.3))
    try:
        with pytest.raises(RemoteFault, match="nobody there approved it"):
            send(pair, "forgotten.txt").wait(timeout=60.0)
    finally:
        replace_approvals(pair, ApprovalsArgs())


def test_messages_that_are_not_sensitive_pass(pair: Pair) -> None:
    pair.await_link()
    assert pair.red.control.approvals() == ()


def test_a_link_that_breaks_while_it_waits_costs_no_second_question(pair: Pair) -> None:
    transfer = send(pair, "patient.txt")
    one = wanted(pair)
    kill(pair.red.control, f"connections.{pair.blue_id.hex}")
    pair.await_link()
    eventually(lambda: transfer.progress().phase == "offering", "it is offered again")
    assert wanted(pair).id == one.id
    pair.red.control.approve(one.id)
    transfer.wait(timeout=60.0)
    assert arrived(pair, "patient.txt").exists()


def test_what_is_approved_while_the_link_is_down_is_not_asked_again(pair: Pair) -> None:
    transfer = send(pair, "early.txt")
    one = wanted(pair)
    pair.blue.control.disconnect(pair.red_id)
    eventually(lambda: pair.red.control.find(pair.blue_id).link.state != "Connected", "the link is down")
    pair.red.control.approve(one.id)
    pair.blue.control.connect(pair.red_id)
    transfer.wait(timeout=60.0)
    assert arrived(pair, "early.txt").exists()


def test_killed_approvals_are_asked_again(pair: Pair) -> None:
    transfer = send(pair, "twice.txt")
    one = wanted(pair)
    kill(pair.red.control, APPROVALS)
    eventually(lambda: [other for other in pair.red.control.approvals() if other.id != one.id], "it is asked again")
    with pytest.raises(Misuse, match=one.id):
        pair.red.control.approve(one.id)
    pair.red.control.approve(wanted(pair).id)
    transfer.wait(timeout=60.0)


def test_trust_that_grows_lets_the_next_one_through(pair: Pair) -> None:
    waiting = send(pair, "first.txt")
    one = wanted(pair)
    _trust(pair, TrustLevel.TRUSTED)
    send(pair, "second.txt").wait(timeout=60.0)
    pair.red.control.approve(one.id)
    waiting.wait(timeout=60.0)


def test_one_device_asks_for_so_much_at_a_time_and_hides_nothing(pair: Pair) -> None:
    def want(number: int) -> WantApproval:
        return WantApproval(pair.blue_id, "x", f"a\u202eb\x1b[2J\n\n  {number} " + "y" * 300, bytes([number]))

    asked: list[object] = []

    def ask(number: int) -> None:
        try:
            asked.append(pair.red.control.ask(APPROVALS, want(number), 30.0))
        except (Refused, Lost) as error:
            asked.append(error)

    threads = [threading.Thread(target=ask, args=(number % MOST_PER_DEVICE,)) for number in range(MOST_PER_DEVICE + 2)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(pair.red.control.approvals()) == MOST_PER_DEVICE, "all wait, the same ones once")
    with pytest.raises(Refused, match="too much"):
        pair.red.control.ask(APPROVALS, want(99))
    for one in pair.red.control.approvals():
        assert one.what.startswith("a b [2J ")
        assert len(one.what) == 200
        pair.red.control.approve(one.id)

    def all_answered() -> bool:
        for late in pair.red.control.approvals():  # of a thread that only now asks for what was approved before
            pair.red.control.approve(late.id)
        return not any(thread.is_alive() for thread in threads)

    eventually(all_answered, "all are answered")
    assert asked == [None] * len(threads)


def test_a_yes_that_could_not_be_used_counts_for_the_same_request_once(pair: Pair) -> None:
    request = WantApproval(pair.blue_id, "x", "do it", b"token")
    pair.red.control._client().tell(APPROVALS, UnusedApproval(request))
    assert pair.red.control.ask(APPROVALS, request) is None
    assert pair.red.control.approvals() == ()
    asked = threading.Thread(target=lambda: pair.red.control.ask(APPROVALS, request, 30.0))
    asked.start()
    pair.red.control.approve(wanted(pair).id)
    asked.join()
