"""What the handlers of ``trust`` say to each other: read back as written, anything else is malformed."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.protocols.trust.wire import BATCH, Facts, Have, from_untrusted
from springline.store.revocation import ID_SIZE, SIZE

ids = st.lists(st.binary(min_size=ID_SIZE, max_size=ID_SIZE), max_size=9).map(tuple)
facts = st.lists(st.binary(min_size=SIZE, max_size=SIZE), max_size=3).map(tuple)


@given(st.builds(Have, ids) | st.builds(Facts, facts))
def test_it_comes_back(said: Have | Facts) -> None:
    assert from_untrusted(said.encode()) == said


@given(st.binary(max_size=200))
def test_anything_else_is_malformed(data: bytes) -> None:
    try:
        assert isinstance(from_untrusted(data), Have | Facts)
    except Malformed:
        pass


@pytest.mark.parametrize(
    "said",
    [
        {},
        [],
        {"have": b"x" * ID_SIZE},
        {"have": [b"short"]},
        {"have": [1]},
        {"have": [b"x" * ID_SIZE] * 6000},
        {"facts": [b"x" * SIZE] * (BATCH + 1)},
        {"facts": [b"x" * ID_SIZE]},
    ],
)
def test_what_makes_no_sense(said: object) -> None:
    with pytest.raises(Malformed):
        from_untrusted(cbor2.dumps(said))
