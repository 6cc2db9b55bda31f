"""What is said inside the pairing handshake."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.protocols.pairing.offer import Offer, decode_untrusted
from springline.transport.noise import PAIR, PAYLOADS

versions = st.integers(0, 65535)


@given(versions, versions, st.sampled_from([b"", bytes(32)]))
def test_there_and_back(lowest: int, highest: int, commitment: bytes) -> None:
    said = Offer(lowest, highest, commitment)
    assert decode_untrusted(said.encode(), committed=bool(commitment)) == said


def test_it_fits_its_message() -> None:
    """Two bytes of the payload are its length."""
    assert len(Offer(65535, 65535).encode()) + 2 <= PAYLOADS[PAIR][0]
    assert len(Offer(65535, 65535, bytes(32)).encode()) + 2 <= PAYLOADS[PAIR][1]


@given(versions, versions, versions, versions)
def test_both_sides_agree_on_the_newest_they_share(a: int, b: int, c: int, d: int) -> None:
    ours, theirs = Offer(min(a, b), max(a, b)), Offer(min(c, d), max(c, d))
    agreed = ours.agree(theirs)
    assert agreed == theirs.agree(ours)
    shared = set(range(ours.lowest, ours.highest + 1)) & {theirs.lowest, theirs.highest, ours.lowest, ours.highest}
    shared = {version for version in shared if theirs.lowest <= version <= theirs.highest}
    assert agreed == (max(shared) if shared else None)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        {},
        {"v": 1},
        {"v": [1]},
        {"v": [1, 1, 1]},
        {"v": [1, True]},
        {"v": [1, -1]},
        {"v": [1, 65536]},
        {"v": ["1", "1"]},
        {"v": [1, 1], "c": bytes(31)},
        {"v": [1, 1], "c": "c" * 32},
        {"v": [1, 1], "c": None},
    ],
)
@pytest.mark.parametrize("committed", [False, True])
def test_what_is_no_offer_is_malformed(fields: Any, committed: bool) -> None:
    with pytest.raises(Malformed):
        decode_untrusted(cbor2.dumps(fields), committed=committed)


def test_only_the_inviter_commits_and_it_must() -> None:
    with pytest.raises(Malformed, match="missing"):
        decode_untrusted(Offer().encode(), committed=True)
    with pytest.raises(Malformed, match="not its to make"):
        decode_untrusted(Offer(commitment=bytes(32)).encode(), committed=False)


def test_a_newer_peer_may_say_more() -> None:
    assert decode_untrusted(cbor2.dumps({"v": [1, 2], "x": "new"}), committed=False) == Offer(1, 2)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed_or_an_offer(data: bytes) -> None:
    try:
        decode_untrusted(data, committed=False)
    except Malformed:
        pass
