"""Cables and addresses: what two nodes do when these change under them. One pair goes through all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.tests.network.couple import Couple, couple
from springline.tests.network.lab import Lab, running


@pytest.fixture(scope="module")
def pair(long_lab: Lab) -> Iterator[Couple]:
    red, blue = long_lab.host("red", "10.77.0.1"), long_lab.host("blue", "10.77.0.2")
    with couple(red, blue) as made:
        yield made


def test_a_cable_is_pulled_and_put_back(pair: Couple) -> None:
    pair.blue.unplug()
    pair.say()
    pair.blue.plug()
    pair.talk()


def test_one_device_gets_another_address(pair: Couple) -> None:
    pair.blue.move("10.77.0.7")
    pair.talk()


def test_the_other_one_as_well(pair: Couple) -> None:
    pair.red.move("10.77.0.8")
    pair.talk()


def test_both_machines_are_switched_off_and_on(pair: Couple) -> None:
    pair.red.node.down()
    pair.blue.node.down()
    with running(pair.blue, pair.red):
        pair.talk()
    pair.red.node.up()
    pair.blue.node.up()
    pair.talk()
