"""How a device is reached."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.errors import Damaged, Newer
from springline.store.preferences import MOST_ADDRESSES, ConnectionConfig, decode

texts = st.text(st.characters(codec="utf-8"), max_size=10)
seconds = st.floats(0.01, 1e6)


@given(st.lists(texts).map(tuple), st.lists(texts).map(tuple), seconds, seconds, seconds)
def test_preferences_come_back(
    known: tuple[str, ...], transports: tuple[str, ...], keepalive: float, first: float, cap: float
) -> None:
    kept = ConnectionConfig(known, transports, keepalive, first, cap)
    assert decode(kept.encode()) == kept


@given(st.lists(st.integers(0, 40).map(str), max_size=60))
@example([str(number) for number in range(MOST_ADDRESSES + 1)])
def test_the_last_good_address_is_first_and_the_oldest_forgotten(seen: list[str]) -> None:
    kept = ConnectionConfig()
    for address in seen:
        kept = kept.with_good_address(address)
    expected = tuple(dict.fromkeys(reversed(seen)))[:MOST_ADDRESSES]
    assert kept.known_addresses == expected


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"version": "1"}', b'{"version": 1, "known_addresses": 1}']
)
def test_anything_else_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match="preferences"):
        decode(data)


def test_a_newer_version_is_told_apart_from_damage() -> None:
    with pytest.raises(Newer):
        decode(b'{"version": 2}')
