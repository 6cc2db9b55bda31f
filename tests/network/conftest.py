"""Labs for the tests: one for each file that asks for a pair, so that two nodes start once and go through a lot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from springline.tests.network.lab import Lab, NoLab, lab


def made(*tools: str) -> Iterator[Lab]:
    try:
        with lab(*tools) as network:
            yield network
    except NoLab as why:
        pytest.skip(str(why))


@pytest.fixture
def network() -> Iterator[Lab]:
    yield from made()


@pytest.fixture(scope="module")
def long_lab() -> Iterator[Lab]:
    """For all tests of a file; nothing is filtered."""
    yield from made()


@pytest.fixture(scope="module")
def filtering_lab() -> Iterator[Lab]:
    """For all tests of a file."""
    yield from made("nft")
