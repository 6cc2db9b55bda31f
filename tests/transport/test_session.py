"""Tests of ``springline.transport.session``."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import InternalFault, Malformed, Misuse
from springline.transport.framing import LENGTH_SIZE
from springline.transport.noise import SessionKeys
from springline.transport.session import MOST_COUNTER, MOST_PLAINTEXT, OVERHEAD, Session

KEYS = SessionKeys(b"a" * 32, b"b" * 32, b"h" * 32)
MIRRORED = SessionKeys(b"b" * 32, b"a" * 32, b"h" * 32)


def body(frame: bytes) -> memoryview:
    """The frame's body as it would lie in a frame buffer."""
    assert int.from_bytes(frame[:LENGTH_SIZE], "big") == len(frame) - LENGTH_SIZE
    return memoryview(bytearray(frame[LENGTH_SIZE:]))


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200) | st.integers(0, MOST_PLAINTEXT).map(bytes))))
def test_what_one_side_seals_the_other_opens(turns: list[tuple[bool, bytes]]) -> None:
    ours, theirs = Session(KEYS), Session(MIRRORED)
    for outgoing, plaintext in turns:
        sender, receiver = (ours, theirs) if outgoing else (theirs, ours)
        assert receiver.open(body(sender.seal(plaintext))) == plaintext
    assert (ours.sent, ours.received) == (theirs.received, theirs.sent)
    assert ours.sent == sum(outgoing for outgoing, _ in turns)
    assert ours.sent_bytes == theirs.received_bytes == sum(len(text) for outgoing, text in turns if outgoing)


def test_sealing_in_place_gives_the_same_frame() -> None:
    frame = memoryview(bytearray(b"..plaintext" + bytes(30)))
    size = Session(KEYS).seal_in_place(frame, 9)
    assert size == 9 + OVERHEAD
    assert frame[:size] == Session(KEYS).seal(b"plaintext")
    assert not any(frame[size:])


def test_the_same_plaintext_never_looks_the_same() -> None:
    session = Session(KEYS)
    assert session.seal(b"twice") != session.seal(b"twice")


def test_lost_repeated_and_swapped_messages_do_not_open() -> None:
    ours = Session(KEYS)
    first, second = ours.seal(b"first"), ours.seal(b"second")
    with pytest.raises(Malformed):
        Session(MIRRORED).open(body(second))
    theirs = Session(MIRRORED)
    theirs.open(body(first))
    with pytest.raises(Malformed):
        theirs.open(body(first))
    assert theirs.received == 1
    assert bytes(theirs.open(body(second))) == b"second"


def test_our_own_message_reflected_does_not_open() -> None:
    ours = Session(KEYS)
    with pytest.raises(Malformed):
        ours.open(body(ours.seal(b"mirror")))


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        Session(MIRRORED).open(memoryview(bytearray(data)))


def test_the_initiator_has_used_its_first_counter_for_the_confirmation() -> None:
    dialler, listener = Session.after_confirm(KEYS, initiator=True), Session.after_confirm(MIRRORED, initiator=False)
    assert (dialler.sent, dialler.received, listener.sent, listener.received) == (1, 0, 0, 1)
    assert bytes(listener.open(body(dialler.seal(b"to the listener")))) == b"to the listener"
    assert bytes(dialler.open(body(listener.seal(b"to the dialler")))) == b"to the dialler"


def test_the_reserved_counter_is_never_used() -> None:
    ours = Session(KEYS, send_counter=MOST_COUNTER - 1)
    theirs = Session(MIRRORED, receive_counter=MOST_COUNTER - 1)
    last = ours.seal(b"last")
    theirs.open(body(last))
    with pytest.raises(InternalFault):
        ours.seal(b"one too many")
    reserved = ChaCha20Poly1305(KEYS.send).encrypt(bytes(4) + b"\xff" * 8, b"", None)
    with pytest.raises(Malformed):
        theirs.open(memoryview(bytearray(reserved)))


def test_each_direction_takes_another_key_by_itself_and_counts_anew() -> None:
    ours, theirs = Session(KEYS), Session(MIRRORED)
    theirs.open(body(ours.seal(b"under the first key")))
    ours.seal_with(b"c" * 32)
    late = ours.seal(b"under the second")
    assert (ours.sent, ours.sent_bytes) == (1, 16)
    with pytest.raises(Malformed):
        theirs.open(body(late))
    theirs.open_with(b"c" * 32)
    assert (theirs.received, theirs.received_bytes) == (0, 0)
    assert bytes(theirs.open(body(late))) == b"under the second"
    assert bytes(ours.open(body(theirs.seal(b"back under the first")))) == b"back under the first"


def test_sizes_out_of_range_are_misuse() -> None:
    session = Session(KEYS)
    with pytest.raises(Misuse):
        session.seal(bytes(MOST_PLAINTEXT + 1))
    with pytest.raises(Misuse):
        session.seal_in_place(memoryview(bytearray(20)), 3)
    with pytest.raises(Misuse):
        session.seal_in_place(memoryview(bytearray(20)), -1)
    assert session.sent == 0
