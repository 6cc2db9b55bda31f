"""Keys that were not renewed in time, on one side alone: the two come back to each other all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from springline.tests.nodes import Pair, eventually, paired, rotated
from springline.tests.seekers import vault_of


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


def test_they_come_by_the_recovery_key_and_the_next_key_has_its_time(pair: Pair) -> None:
    for node in (pair.red, pair.blue):
        node.down()
        node.options = (*node.options, "--key-lifetime", "30")
    vault, now = vault_of(pair.red), datetime.now(UTC)
    vault.change_keys(pair.blue_id, replace(vault.keys(pair.blue_id), expires_at=now))
    for node in (pair.red, pair.blue):
        node.up()
    pair.await_link()
    assert "recovery key used" in {entry.kind for node in (pair.red, pair.blue) for entry in node.control.audit(50)}
    last = max(entry.seq for entry in pair.red.control.audit(50) if entry.kind == "recovery key used")
    eventually(lambda: rotated(pair.red.control, last), "the key has rotated")
    for node in (pair.red, pair.blue):
        node.down()
    until = vault_of(pair.red).keys(pair.blue_id).expires_at
    assert until is not None
    assert until > now + timedelta(days=29)
