"""Behind a router that translates: dialling out is enough, and a router that is started anew is survived."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.tests.network.couple import Couple, couple
from springline.tests.network.lab import Lab
from springline.tests.network.router import Router

OUTSIDE = "10.77.0.9"


@pytest.fixture(scope="module")
def router(filtering_lab: Lab) -> Router:
    return filtering_lab.router("gateway", OUTSIDE)


@pytest.fixture(scope="module")
def pair(filtering_lab: Lab, router: Router) -> Iterator[Couple]:
    red, blue = filtering_lab.host("red", "10.77.0.1"), filtering_lab.host_behind(router, "blue")
    with couple(red, blue) as made:
        yield made


def test_the_one_behind_it_dials_out(pair: Couple) -> None:
    pair.talk()
    last = pair.blue.node.control.why(pair.red_id).entries[-1]
    assert "10.77.0.1:" in last.evidence or last.count, last


def test_a_router_forgets_what_it_has_translated(pair: Couple, router: Router) -> None:
    router.forget()
    pair.talk()


def test_a_router_drops_what_it_does_not_remember(pair: Couple, router: Router) -> None:
    router.insist()
    router.forget()
    pair.say()  # silence alone means nothing for another half a minute
    pair.talk()
