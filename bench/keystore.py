"""The Keystore: how many handshakes it does in a second, asked over the bus by another process, as the transport asks.

Both roles are measured by themselves, each with one question at a time; the worse one is the figure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

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

BATCH = 100
"""Handshakes in a run: fewer than a Keystore has under way at most."""


def measure_keystore(sitting: Sitting) -> Iterator[Figure]:
    """Handshakes between two real Keystores, with nothing but this in between."""
    blue, red = sitting.pair()
    them = red.control.whoami().device_id
    dialled, answered = [], []
    for _ in sitting.times(10, 1, "handshakes"):
        began = time.perf_counter()
        begun: list[Begun] = [blue.control.ask(KEYSTORE, BeginHandshake(them)) for _ in range(BATCH)]
        between = time.perf_counter()
        answers: list[Answered] = [red.control.ask(KEYSTORE, AnswerHandshake(one.frame)) for one in begun]
        after = time.perf_counter()
        for one, answer in zip(begun, answers, strict=True):
            done: Authenticated = blue.control.ask(KEYSTORE, FinishHandshake(one.handle, answer.frame))
            assert done.keys.hash == answer.session.keys.hash
        ended = time.perf_counter()
        dialled.append(BATCH / (between - began + ended - after))
        answered.append(BATCH / (after - between))
    yield median("handshakes_answered", "handshakes of the Keystore, answering", answered, "/s", least=300)
    yield median("handshakes_dialled", "handshakes of the Keystore, dialling", dialled, "/s", least=300)
