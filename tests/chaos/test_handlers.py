"""A handler that raises, hangs or exits costs its own restart only; the sender is told, the link lives on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from springline.actors.messages import PROTOCOLS
from springline.errors import HandlerFailed, NoHandler
from springline.protocols.message import Custom
from springline.supervisors.asking import Children, Dismiss, Supervise
from springline.supervisors.spec import ChildSpec
from springline.tests.moody import Moody
from springline.tests.nodes import Pair, eventually, pid_of


def say(pair: Pair, payload: bytes) -> bytes:
    answer = pair.blue.control.send(pair.red_id, Custom("moody", 1, payload), protocol="moody", timeout=30.0)
    assert isinstance(answer, Custom)
    return answer.payload


def links_of(pair: Pair) -> list[object]:
    """Since when each side's link is as it is, and in which process."""
    sides = pair.sides().values()
    return [(node.find(other).link.since, pid_of(node, f"connections.{other.hex}")) for node, other in sides]


@pytest.fixture
def moody(pair: Pair) -> Iterator[Pair]:
    red = pair.red.control
    red.ask(PROTOCOLS, Supervise(ChildSpec("moody", Moody, ping_every=0.2)))
    eventually(lambda: say(pair, b"pid"), "moody is up")
    yield pair
    red.ask(PROTOCOLS, Dismiss("moody"))
    eventually(lambda: all(child.name != "moody" for child in red.ask(PROTOCOLS, Children())), "moody is forgotten")


@pytest.mark.parametrize("mood", [b"raise", b"hang", b"exit"])
def test_it_costs_its_own_restart_only(moody: Pair, mood: bytes) -> None:
    links = links_of(moody)
    former = say(moody, b"pid")
    with pytest.raises(HandlerFailed):
        say(moody, mood)
    eventually(lambda: say(moody, b"pid") != former, "moody is another process")
    assert links_of(moody) == links


@pytest.mark.parametrize("mood", [b"raise", b"exit"])
def test_whoever_comes_while_it_is_restarted_waits_for_it(moody: Pair, mood: bytes) -> None:
    former = say(moody, b"pid")
    with pytest.raises(HandlerFailed):
        say(moody, mood)
    while True:
        with contextlib.suppress(HandlerFailed):  # a loaded machine takes longer; but nobody says that there is none
            assert say(moody, b"pid") != former
            break


def test_one_that_keeps_crashing_is_quarantined(moody: Pair) -> None:
    for _ in range(200):  # a loaded machine may spread the first ones over more than the period
        try:
            say(moody, b"raise")
        except NoHandler:
            break
        except HandlerFailed:
            continue
    with pytest.raises(NoHandler, match="moody"):
        say(moody, b"pid")
    moody.await_link()
