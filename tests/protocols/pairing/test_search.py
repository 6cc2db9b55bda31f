"""Pairing by the words alone: where is tried, and two real nodes on 127.0.0.1 that find each other."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.actors.finding import MDNS
from springline.actors.messages import PAIRING
from springline.cli.local import left_over
from springline.control import Control
from springline.errors import PairingFailed, SpringlineError
from springline.events import PairingStage
from springline.protocols.pairing.keys import keys_of
from springline.protocols.pairing.search import MOST_ADDRESSES, MOST_TRIES, Search
from springline.protocols.pairing.words import secret_of, words_of
from springline.store.devices import PairedDevice
from springline.store.envelope import Strength
from springline.tests.actors.test_mdns import say
from springline.tests.impostors import serving
from springline.tests.nodes import eventually, kill, kill_and_await, pid_of, process_of
from springline.tests.protocols.pairing.test_ui import HastyNode, Shown
from springline.tests.seekers import BY_MDNS
from springline.transport.address import Address
from springline.transport.discovery.records import seal
from springline.transport.discovery.tags import meeting

A, B, C = (Address(f"192.0.2.{last}", 7400) for last in range(1, 4))
NOT_LONG = "from springline.protocols.pairing import actor; actor.SEARCH = 20.0"
hosts = st.lists(st.integers(1, 60).map(lambda last: Address(f"192.0.2.{last}", 7400)), max_size=40)


def taken(search: Search) -> tuple[Address, ...]:
    """What is to be tried now; nothing if it would wait."""
    return asyncio.run(search.next()) if search._next else ()


def test_what_is_told_is_tried_in_that_order_and_waited_for() -> None:
    async def scene() -> None:
        search = Search()
        for told, tried in (((B, A), (B, A)), ((C, A), (C, A))):
            waiting = asyncio.ensure_future(search.next())
            await asyncio.sleep(0)
            assert not waiting.done()
            search.tell(told)
            assert await waiting == tried

    asyncio.run(scene())


def test_an_address_is_tried_a_few_times_and_a_wrong_one_never_again() -> None:
    search, tried = Search(), list[Address]()
    for _ in range(10):
        search.tell((A, B))
        tried += taken(search)
        search.wrong(B)
    assert (tried.count(A), tried.count(B)) == (MOST_TRIES, 1)


@given(st.lists(hosts, max_size=30))
def test_however_much_is_told_little_is_tried(tellings: list[list[Address]]) -> None:
    search, tried = Search(), list[Address]()
    for told in tellings:
        search.tell(told)
        tried += taken(search)
    assert len(set(tried)) <= MOST_ADDRESSES
    assert all(tried.count(address) <= MOST_TRIES for address in tried)
    if tellings:
        assert set(tried) >= set(list(dict.fromkeys(address for told in tellings for address in told))[:MOST_ADDRESSES])


# -- real nodes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Control, Control]]:
    """red and blue, which have never met and can find each other. They don't look for long."""
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    red, blue = (HastyNode(folder / it, it, token, Strength.MINIMAL, options=BY_MDNS) for it in ("red", "blue"))
    blue.hurry = NOT_LONG
    try:
        with red, blue:
            yield red.control, blue.control
        assert not left_over(token)
    finally:
        shutil.rmtree(folder)


class Joining:
    """A join that runs meanwhile."""

    def __init__(self, node: Control, words: str) -> None:
        self.outcome: list[Any] = []
        self.ui = Shown()
        self._thread = threading.Thread(target=self._run, args=(node, words))
        self._thread.start()

    def _run(self, node: Control, words: str) -> None:
        try:
            self.outcome.append(node.join_with(self.ui, words))
        except SpringlineError as error:
            self.outcome.append(error)

    def await_search(self) -> None:
        eventually(lambda: PairingStage.SEARCHING in [seen.stage for seen in self.ui.seen], "it is looked for")

    def ended(self) -> Any:
        self._thread.join()
        return self.outcome[0]


def test_words_are_enough_and_a_finder_may_be_killed_meanwhile(two: tuple[Control, Control]) -> None:
    red, blue = two
    invitation = red.invite()
    kill_and_await(red, MDNS)
    joining = Joining(blue, invitation.words)
    joining.await_search()
    kill_and_await(blue, MDNS)
    device = joining.ended()
    assert isinstance(device, PairedDevice)
    assert device.info.name == "red"
    assert [one.device.info.name for one in red.devices()] == ["blue"]
    eventually(lambda: [one.link.state for one in red.devices()] == ["Connected"], "they are connected")


def test_words_are_enough_while_the_finder_is_just_being_restarted(two: tuple[Control, Control]) -> None:
    red, blue = two
    supervisor = process_of(blue, "discovery")
    os.kill(supervisor, signal.SIGSTOP)  # so that it takes a moment
    try:
        kill(blue, MDNS)
        eventually(lambda: pid_of(blue, MDNS) is None, "it is gone")
        joining = Joining(blue, red.invite().words)
        joining.await_search()
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert isinstance(joining.ended(), PairedDevice)


def test_a_killed_pairing_is_told(two: tuple[Control, Control]) -> None:
    _, blue = two
    words = words_of(os.urandom(16))
    joining = Joining(blue, words)
    joining.await_search()
    kill_and_await(blue, PAIRING)
    assert "restarted" in joining.ended().message


def test_where_nobody_is_found_it_says_what_to_do(two: tuple[Control, Control]) -> None:
    with pytest.raises(PairingFailed, match="nobody who gave these words was found in 20 s") as caught:
        two[1].join(words_of(os.urandom(16)))
    assert "--address" in caught.value.hint


def announce(words: str, where: Address, at: float) -> bool:
    """As somebody may who knows the words. False, for ``eventually``."""
    there = meeting(keys_of(secret_of(words)).tag)
    return say(there.tag, b"\xff" + seal((where,), there, None, at, 300.0))


def test_where_somebody_else_answers_the_search_goes_on(two: tuple[Control, Control]) -> None:
    with serving(hang_up) as first, serving(hang_up) as second:
        words, now = words_of(os.urandom(16)), time.time()
        joining = Joining(two[1], words)
        eventually(lambda: announce(words, first, now) or first in CALLED, "one is tried")
        eventually(lambda: announce(words, second, now + 1) or second in CALLED, "then the other")
        assert "somebody else is there" in joining.ended().message


CALLED: list[Address] = []


def hang_up(sock: socket.socket) -> None:
    """Somebody who does not know the words."""
    CALLED.append(Address(*sock.getsockname()))
