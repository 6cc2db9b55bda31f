"""Keys refreshed inside a link: what the Keystores say to it, and two real nodes that do it all the time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from springline.actors import messages
from springline.actors.messages import KEYSTORE, AnswerHandshake, Authenticated, BeginHandshake, FinishHandshake
from springline.actors.refreshing import consult
from springline.errors import (
    InternalFault,
    KeyUnknown,
    Lost,
    Malformed,
    NotRunning,
    Refused,
    SpringlineError,
    TimedOut,
    UnknownDevice,
)
from springline.store.devices import TrustLevel
from springline.tests.hasty import DeafNode, HastyNode
from springline.tests.nodes import Pair, echo, eventually, kill_and_await, paired
from springline.transport.link import Phase
from springline.transport.noise import CONNECT, MAC_SIZE, Handshake, SessionKeys
from springline.transport.refresh import (
    Answer,
    Answered,
    Ask,
    AskAnswer,
    AskBegin,
    AskFinish,
    Begun,
    Denied,
    Failed,
    Finished,
)

HASH, FRAME = b"h" * 32, b"a frame"
KEYS = SessionKeys(b"s" * 32, b"r" * 32, b"n" * 32)
DEVICE = uuid4()
QUESTIONS = (AskBegin(HASH), AskAnswer(FRAME, HASH), AskFinish(7, FRAME))


# -- what an answer means ------------------------------------------------------------------------------------------


def consulted(question: Ask, answer: object) -> tuple[Answer, object]:
    """What comes of the question if the Keystore says that, and what it was asked."""
    asked: list[object] = []

    async def ask(target: str, body: object) -> object:
        assert target == KEYSTORE
        asked.append(body)
        if isinstance(answer, SpringlineError):
            raise answer
        return answer

    return asyncio.run(consult(ask, DEVICE, question)), asked[0]


def test_questions_and_answers() -> None:
    ours = Authenticated(DEVICE, KEYS, 5)
    assert consulted(AskBegin(HASH), messages.Begun(7, FRAME)) == (Begun(7, FRAME), BeginHandshake(DEVICE, HASH))
    answered = consulted(AskAnswer(FRAME, HASH), messages.Answered(b"second", ours))
    assert answered == (Answered(b"second", KEYS), AnswerHandshake(FRAME, HASH))
    assert consulted(AskFinish(7, FRAME), ours) == (Finished(KEYS), FinishHandshake(7, FRAME))


def test_another_device_is_denied_even_if_it_is_paired() -> None:
    theirs = Authenticated(uuid4(), KEYS, 5)
    answer, _ = consulted(AskAnswer(FRAME, HASH), messages.Answered(b"second", theirs))
    assert isinstance(answer, Denied)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("error", [NotRunning("x"), Lost("x"), TimedOut("x"), InternalFault("x"), KeyUnknown("x")])
def test_a_keystore_that_can_not_is_asked_again(question: Ask, error: SpringlineError) -> None:
    assert consulted(question, error)[0] == Failed("x")


@pytest.mark.parametrize("error", [Refused("it is revoked"), UnknownDevice("it is not paired")])
def test_a_keystore_that_does_not_want_to_is_not(error: SpringlineError) -> None:
    for question in QUESTIONS[:2]:
        answer, _ = consulted(question, error)
        assert isinstance(answer, Denied)
        assert error.message in answer.reason
    assert consulted(QUESTIONS[2], error)[0] == Failed(error.message), "the handshake may have died with a Keystore"


@pytest.mark.parametrize("question", QUESTIONS)
def test_who_is_not_genuine_is_denied(question: Ask) -> None:
    assert isinstance(consulted(question, Malformed("x"))[0], Denied)


# -- two nodes -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired(HastyNode) as running:
        yield running


def refreshes(pair: Pair) -> int:
    """As many as both nodes have seen."""
    counts = []
    for node in (pair.blue, pair.red):
        assert isinstance(node, HastyNode)
        counts.append(node.refreshes())
    return min(counts)


def hindrances(pair: Pair) -> int:
    """How often a refresh was due and came to nothing."""
    return sum(node.hindrances() for node in (pair.blue, pair.red) if isinstance(node, HastyNode))


def more_refreshes(pair: Pair, more: int) -> None:
    """Wait for them, while messages flow."""
    due = refreshes(pair) + more
    eventually(lambda: all(echo(*side) for side in pair.sides().values()) and refreshes(pair) >= due, "more refreshes")


def losses(pair: Pair) -> int:
    """How often a side has been without a session since there was a first one; two that cross do not count."""
    stories = [node.why(other).entries for node, other in pair.sides().values()]
    connected = Phase.CONNECTED.value
    return sum(entry.count for story in stories for entry in story if entry.before == connected != entry.after)


def test_keys_are_refreshed_and_nobody_notices(pair: Pair) -> None:
    more_refreshes(pair, 1)  # what is dialled before the other side's process is there may break; that is no refresh's
    before = losses(pair)
    more_refreshes(pair, 10)
    assert losses(pair) == before


def test_a_file_is_sent_meanwhile(pair: Pair) -> None:
    before, seen = losses(pair), refreshes(pair)
    source = pair.folder / "large.bin"
    source.write_bytes(os.urandom(1 << 20) * 64)
    pair.blue.control.send_file(pair.red_id, source).wait(timeout=60)
    assert (pair.folder / "red" / "incoming" / source.name).read_bytes() == source.read_bytes()
    eventually(lambda: refreshes(pair) >= seen + 2, "refreshed by size")
    assert losses(pair) == before


@pytest.mark.parametrize("side", ["blue", "red"])
def test_a_killed_keystore_does_not_end_the_session(pair: Pair, side: str) -> None:
    node, _ = pair.sides()[side]
    pair.await_link()
    before, hindered = losses(pair), hindrances(pair)
    while hindrances(pair) == hindered:
        kill_and_await(node, KEYSTORE)
        more_refreshes(pair, 2)
    assert losses(pair) == before


def from_keystore(pair: Pair, side: str, body: object) -> object:
    """Ask that side's Keystore."""
    return pair.sides()[side][0].ask(KEYSTORE, body)


def begun(pair: Pair, within: bytes) -> messages.Begun:
    answer = from_keystore(pair, "blue", BeginHandshake(pair.red_id, within))
    assert isinstance(answer, messages.Begun)
    return answer


def test_the_keystores_bind_a_refresh_to_its_session(pair: Pair) -> None:
    first = begun(pair, HASH)
    for elsewhere in (b"", b"o" * 32):
        with pytest.raises(Malformed):
            from_keystore(pair, "red", AnswerHandshake(begun(pair, HASH).frame, elsewhere))
    answered = from_keystore(pair, "red", AnswerHandshake(first.frame, HASH))
    assert isinstance(answered, messages.Answered)
    ours = from_keystore(pair, "blue", FinishHandshake(first.handle, answered.frame))
    assert isinstance(ours, Authenticated)
    assert (ours.keys.send, ours.keys.hash) == (answered.session.keys.receive, answered.session.keys.hash)
    assert ours.keys.hash != HASH


def test_who_has_the_session_keys_only_is_refused(pair: Pair) -> None:
    """All that a thief of session keys can make is a first frame with a static key of his own."""
    red = pair.red.control.whoami().static_key
    for static in (os.urandom(32), b"t" * 32):
        thief = Handshake.initiate(CONNECT, static, red, bytes(32), HASH)
        with pytest.raises((Refused, Malformed)):
            from_keystore(pair, "red", AnswerHandshake(os.urandom(MAC_SIZE) + thief.write(bytes(128)), HASH))


# -- trust ---------------------------------------------------------------------------------------------------------


def test_who_is_revoked_can_not_refresh_though_the_link_has_missed_it() -> None:
    with paired(DeafNode) as pair:
        eventually(lambda: refreshes(pair) >= 1, "the link is in use")
        pair.red.control.set_trust(pair.blue_id, TrustLevel.REVOKED)
        blue = pair.blue.control

        def why() -> str:
            return " ".join(entry.evidence for entry in blue.why(pair.red_id).entries)

        eventually(lambda: "the keys may not be refreshed" in why(), "blue hears why the session has ended")
        assert blue.find(pair.red_id).link.state != "Connected"
