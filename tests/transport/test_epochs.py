"""Which session is newer, as two devices count."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.epochs import Epochs

PEER = UUID(int=1)
"""What either side calls the other one."""


def handshake(dialler: Epochs, responder: Epochs) -> int:
    """One that runs through."""
    epoch = responder.assign(PEER, dialler.known(PEER))
    dialler.assigned(PEER, epoch)
    return epoch


def test_each_session_is_newer_than_what_either_side_knows() -> None:
    a, b = Epochs(10.0), Epochs(20.0)
    assert [handshake(a, b), handshake(a, b)] == [20_001, 20_002]
    assert handshake(Epochs(5.0), b) == 20_003  # a life whose clock was set back hears of it


def test_two_that_cross_have_the_same_number() -> None:
    a, b = Epochs(1.0), Epochs(1.0)
    said_by_a, said_by_b = a.known(PEER), b.known(PEER)
    assert a.assign(PEER, said_by_b) == b.assign(PEER, said_by_a)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1e6)), max_size=30))
def test_numbers_only_grow_as_long_as_one_side_remembers(turns: list[tuple[bool, bool, float]]) -> None:
    one, other = Epochs(0.0), Epochs(0.0)
    highest = 0
    for swap, forgets, clock in turns:
        if forgets:
            one = Epochs(clock)
        epoch = handshake(*((other, one) if swap else (one, other)))
        assert epoch > highest
        highest = epoch
