"""The Keystore: how many handshakes it does in a second, asked over the bus by another process, as the transport asks.

Both roles are measured by themselves, each with one question at a time; the worse one is the figure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import UUID

from springline.actors.messages import (
    KEYSTORE,
    Answered,
    AnswerHandshake,
    Authenticated,
    BeginHandshake,
    Begun,
    FinishHandshake,
)
from springline.bench.figures import Figure, median
from springline.bench.sitting import Sitting
from springline.control import Control
from springline.errors import KeyUnknown

BATCH = 100


def measure_keystore(sitting: Sitting) -> Iterator[Figure]:
    """Handshakes between two real Keystores, with nothing but this in between."""
    blue, red = sitting.pair()
    them = red.control.whoami().device_id
    dialled, answered = [], []
    for _ in sitting.times(10, 1, "handshakes"):
        rounds = [took for _ in range(BATCH) if (took := _shake_hands(blue.control, red.control, them))]
        dialled.append(len(rounds) / sum(dialling for dialling, _ in rounds))
        answered.append(len(rounds) / sum(answering for _, answering in rounds))
    yield median("handshakes_answered", "handshakes of the Keystore, answering", answered, "/s", least=300)
    yield median("handshakes_dialled", "handshakes of the Keystore, dialling", dialled, "/s", least=300)


def _shake_hands(blue: Control, red: Control, them: UUID) -> tuple[float, float] | None:
    """Seconds that dialling and answering took; None if the key both share was rotated in between."""
    began = time.perf_counter()
    begun: Begun = blue.ask(KEYSTORE, BeginHandshake(them))
    asked = time.perf_counter()
    try:
        answer: Answered = red.ask(KEYSTORE, AnswerHandshake(begun.frame))
    except KeyUnknown:
        return None
    answered = time.perf_counter()
    done: Authenticated = blue.ask(KEYSTORE, FinishHandshake(begun.handle, answer.frame))
    ended = time.perf_counter()
    assert done.keys.hash == answer.session.keys.hash
    return asked - began + ended - answered, answered - asked
