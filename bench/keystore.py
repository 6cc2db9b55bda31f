"""The Keystore: how many handshakes its process has the time for in a second, by the CPU that each costs it.

Both roles are measured by themselves, asked over the bus by another process, as the transport asks. What the machine
does meanwhile, and how long whoever asks takes, is not the Keystore's.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psutil

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
from springline.bench.sitting import SETTLED, Sitting
from springline.control import Control

BATCH = 200
"""Handshakes in a run; fewer than the Keystore keeps in mind."""


def measure_keystore(sitting: Sitting) -> Iterator[Figure]:
    """Handshakes between two real Keystores, with nothing but this in between."""
    blue, red = sitting.pair()
    them = red.control.whoami().device_id
    sitting.wait(SETTLED, "keys being rotated")
    dialled, answered = [], []
    for _ in sitting.times(10, 1, "handshakes"):
        dialling, answering = _shake_hands(blue.control, red.control, them)
        dialled.append(BATCH / dialling)
        answered.append(BATCH / answering)
    yield median("handshakes_answered", "handshakes the Keystore has time for, answering", answered, "/s", least=300)
    yield median("handshakes_dialled", "handshakes the Keystore has time for, dialling", dialled, "/s", least=300)


def _shake_hands(blue: Control, red: Control, them: UUID) -> tuple[float, float]:
    """Seconds of CPU that dialling and answering a batch took."""
    before = _spent(blue), _spent(red)
    begun: list[Begun] = [blue.ask(KEYSTORE, BeginHandshake(them)) for _ in range(BATCH)]
    answers: list[Answered] = [red.ask(KEYSTORE, AnswerHandshake(one.frame)) for one in begun]
    for one, answer in zip(begun, answers, strict=True):
        done: Authenticated = blue.ask(KEYSTORE, FinishHandshake(one.handle, answer.frame))
        assert done.keys.hash == answer.session.keys.hash
    return _spent(blue) - before[0], _spent(red) - before[1]


def _spent(node: Control) -> float:
    """Seconds of CPU that the node's Keystore has taken so far."""
    pid = next(process.pid for process in node.processes() if process.actor == KEYSTORE)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
