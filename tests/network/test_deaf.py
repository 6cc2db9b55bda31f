"""Paths that carry packets one way only: found out by whoever hears nothing, and over when the path is whole again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from springline.tests.network.couple import Couple, couple
from springline.tests.network.host import Host
from springline.tests.network.lab import Lab


@pytest.fixture(scope="module")
def pair(filtering_lab: Lab) -> Iterator[Couple]:
    red, blue = filtering_lab.host("red", "10.77.0.1"), filtering_lab.host("blue", "10.77.0.2")
    with couple(red, blue) as made:
        yield made


@pytest.mark.parametrize("act", [Host.deafen, Host.silence])
def test_a_blackhole_one_way(pair: Couple, act: object) -> None:
    since = time.time()
    assert callable(act)
    act(pair.blue)
    try:
        pair.say()
        pair.notices(pair.blue if act is Host.deafen else pair.red, since)
    finally:
        pair.blue.unfilter()
    pair.talk()


@pytest.mark.slow
def test_a_blackhole_that_nobody_speaks_into_is_found_out_too(pair: Couple) -> None:
    since = time.time()
    pair.blue.deafen()
    try:
        pair.notices(pair.blue, since)
    finally:
        pair.blue.unfilter()
    pair.talk()
