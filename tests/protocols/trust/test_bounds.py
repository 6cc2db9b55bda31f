"""How much one trusted device can have the Keystore do at a time: little, whatever it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from springline.actors.carrying import DeliverMessage
from springline.actors.keeping import FactsAcked, FactsFor, TakeFacts
from springline.actors.shell import Sender
from springline.errors import Refused
from springline.protocols.codec import encode
from springline.protocols.message import Custom
from springline.protocols.trust.handler import MOST_AT_ONCE, Trust
from springline.protocols.trust.wire import VERSION, Facts, Have
from springline.store.devices import TrustLevel
from springline.tests.store.cast import ONE, TWO


class Alone(Trust):
    """One without an engine; the Keystore answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[object, Callable[[Any], None]]] = []
        self.begin(None)
        self.asked.clear()

    def ask(self, target: str, body: object, then: Callable[[Any], None], timeout: float = 5.0) -> None:
        """Kept for the test."""
        self.asked.append((body, then))

    def wake(self, after: float, message: object) -> None:
        """Time stands still."""


def say(alone: Alone, device: Any, what: Have | Facts) -> list[object]:
    """That device says it; what the handler will answer."""
    answers: list[object] = []
    payload = encode(Custom("trust", VERSION, what.encode()))
    message = DeliverMessage(device, "trust", payload, TrustLevel.TRUSTED)
    alone._deliver(message, Sender("", 1, lambda _path, reply: answers.append(reply)))
    return answers


@pytest.mark.parametrize("what", [Have(()), Facts((bytes(161),))])
def test_one_device_waits_for_itself(what: Have | Facts) -> None:
    alone = Alone()
    for _ in range(MOST_AT_ONCE):
        say(alone, ONE, what)
    with pytest.raises(Refused, match="one thing"):
        say(alone, ONE, what)
    said = say(alone, TWO, what)
    questions = [(body, then) for body, then in alone.asked if not isinstance(body, FactsAcked)]
    assert {type(body) for body, _ in questions} == {FactsFor if isinstance(what, Have) else TakeFacts}
    assert len(questions) == MOST_AT_ONCE + 1
    for _, then in questions:
        then(())
    assert len(said) == 1
    say(alone, ONE, what)
