"""One pair of nodes for all tests of the folder: what survives one test is shot at in the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.tests.nodes import Pair, paired


@pytest.fixture(scope="session")
def running_pair() -> Iterator[Pair]:
    with paired() as pair:
        yield pair


@pytest.fixture
def pair(running_pair: Pair) -> Pair:
    running_pair.await_link()
    return running_pair
