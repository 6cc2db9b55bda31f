"""What is said between nodes of the table: made and read again, and whatever else comes is malformed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.transport.discovery.datagrams import (
    MOST_CONTACTS,
    MOST_PARCELS,
    MOST_SIZE,
    Again,
    Answer,
    Contact,
    Find,
    Question,
    Store,
    Stored,
    Told,
    pack,
    parse_untrusted,
)
from springline.transport.discovery.parcels import PARCEL_SIZE

calls = tokens = st.binary(min_size=8, max_size=8)
nodes = places = st.binary(min_size=20, max_size=20)
parcels = st.binary(min_size=PARCEL_SIZE, max_size=PARCEL_SIZE)
contacts = st.builds(Contact, nodes, st.ip_addresses().map(str), st.integers(0, 65535))
questions = st.builds(Find, calls, nodes, st.booleans(), tokens, places) | st.builds(
    Store, calls, nodes, st.booleans(), tokens, parcels
)
answers = (
    st.builds(Again, calls, nodes, tokens)
    | st.builds(Stored, calls, nodes, tokens, st.booleans())
    | st.builds(
        Told, calls, nodes, tokens, st.lists(contacts, max_size=MOST_CONTACTS).map(tuple),
        st.lists(parcels, max_size=MOST_PARCELS).map(tuple),
    )
)  # fmt: skip


@given(questions | answers)
def test_what_is_said_is_understood(said: Question | Answer) -> None:
    assert parse_untrusted(pack(said)) == said


@given(questions | answers, st.data())
def test_what_breaks_off_or_goes_on_is_malformed(said: Question | Answer, data: st.DataObject) -> None:
    packed = pack(said)
    with pytest.raises(Malformed):
        parse_untrusted(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(Malformed):
        parse_untrusted(packed + data.draw(st.binary(min_size=1, max_size=MOST_SIZE)))


likely = st.tuples(st.integers(0, 6), st.binary(max_size=600)).map(lambda parts: bytes([parts[0]]) + parts[1])


@given(st.binary(max_size=MOST_SIZE + 10) | likely)
def test_bytes_from_outside_are_a_datagram_or_malformed(datagram: bytes) -> None:
    with contextlib.suppress(Malformed):
        said = parse_untrusted(datagram)
        assert pack(said) == datagram


def test_the_longest_fits_everywhere() -> None:
    contact, parcel = Contact(bytes(20), "2001:db8::1", 1), bytes(PARCEL_SIZE)
    longest = Told(bytes(8), bytes(20), bytes(8), (contact,) * MOST_CONTACTS, (parcel,) * MOST_PARCELS)
    assert len(pack(longest)) <= MOST_SIZE


def test_without_a_token_an_answer_is_shorter_than_its_question() -> None:
    asked = Find(bytes(8), bytes(20), False, bytes(8), bytes(20))
    assert len(pack(Again(asked.call, bytes(20), bytes(8)))) < len(pack(asked))
