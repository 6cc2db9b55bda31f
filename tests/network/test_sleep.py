"""A machine that sleeps: the others notice by themselves, and it is back when it wakes."""

from __future__ import annotations

import time

import pytest

from springline.tests.network.couple import couple
from springline.tests.network.lab import Lab


@pytest.mark.slow
def test_a_machine_sleeps_and_wakes(network: Lab) -> None:
    red, blue = network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")
    with couple(red, blue) as pair:
        before = {process.actor: process.pid for process in blue.node.control.processes()}
        since = time.time()
        with blue.asleep():
            pair.say(red)
            pair.notices(red, since)
        pair.talk()
        assert {process.actor: process.pid for process in blue.node.control.processes()} == before
