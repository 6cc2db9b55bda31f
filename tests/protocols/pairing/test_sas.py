"""The digits: the same on both sides, different in any other handshake, and fixed by a published example."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from springline.protocols.pairing.sas import commitment_to, short_string

thirty_two = st.binary(min_size=32, max_size=32)


@given(thirty_two, thirty_two, thirty_two)
def test_six_digits_in_two_groups(hash_: bytes, inviter: bytes, joiner: bytes) -> None:
    assert re.fullmatch(r"\d{3} \d{3}", short_string(hash_, inviter, joiner))


def test_each_part_counts() -> None:
    a, b, c, d = (bytes([number]) * 32 for number in range(4))
    shown = [short_string(*parts) for parts in ((a, b, c), (d, b, c), (a, d, c), (a, b, d), (a, c, b))]
    assert len(set(shown)) == len(shown)


def test_leading_zeros_are_shown() -> None:
    found = [short_string(number.to_bytes(32), bytes(32), bytes(32)) for number in range(200)]
    assert any(shown.startswith("0") for shown in found)
    assert all(len(shown) == 7 for shown in found)


def test_the_documented_example() -> None:
    """As in ``docs/protocol.rst``."""
    assert short_string(b"h" * 32, b"i" * 32, b"j" * 32) == "900 258"
    assert commitment_to(b"i" * 32).hex() == "1116b3484ab38e9e38aa4496cba936063014f12e1749b6a40660f22eaed99db6"


def test_digits_are_spread_evenly() -> None:
    counts = [0] * 10
    for number in range(2000):
        for digit in short_string(number.to_bytes(32), bytes(32), bytes(32)).replace(" ", ""):
            counts[int(digit)] += 1
    assert max(counts) < 1.2 * min(counts)
