"""How a device is reached."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.errors import Damaged, Misuse, Newer
from springline.store.preferences import CAP, FIRST, KEEPALIVE, MOST_ADDRESSES, ConnectionConfig, Tuning, decode

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


@given(st.floats(*KEEPALIVE), st.floats(*FIRST), st.floats(*CAP))
def test_what_the_user_chooses_is_kept_beside_the_rest(keepalive: float, first: float, cap: float) -> None:
    chosen = Tuning(keepalive, min(first, cap), cap)
    kept = decode(ConnectionConfig(("a:1",)).tuned(chosen).encode())
    assert kept.tuning == chosen
    assert kept.known_addresses == ("a:1",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((1.0, 0.1, 30.0), "keep-alive can't be 1 s"),
        ((86400.0, 0.1, 30.0), "5 to 3600 s"),
        ((25.0, 0.0, 30.0), "first retry"),
        ((25.0, 0.1, 1e9), "longest pause"),
        ((25.0, 20.0, 10.0), "after the longest pause"),
        ((float("nan"), 0.1, 30.0), "nan"),
        ((25.0, 0.1, float("inf")), "inf"),
    ],
)
def test_what_makes_no_sense_is_refused(values: tuple[float, float, float], said: str) -> None:
    with pytest.raises(Misuse) as refused:
        Tuning(*values)
    assert said in str(refused.value)


@given(st.floats(), st.floats(), st.floats())
def test_whatever_a_file_says_the_tuning_makes_sense(keepalive: float, first: float, cap: float) -> None:
    assert ConnectionConfig((), (), keepalive, first, cap).tuning.retry_cap >= CAP[0]
