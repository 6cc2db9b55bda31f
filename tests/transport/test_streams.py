"""Tests of ``springline.transport.streams``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.transport.records import Priority
from springline.transport.streams import FIRST_CREDIT, MOST_CREDIT, MOST_STREAMS, WINDOW, Stream, Streams


def stream() -> Stream:
    return Stream(2, Priority.BULK)


@given(st.lists(st.tuples(st.sampled_from(["data", "consume", "widen"]), st.integers(0, FIRST_CREDIT)), max_size=40))
def test_the_parts_of_a_window_always_add_up(steps: list[tuple[str, int]]) -> None:
    receiver, credit, held = stream(), FIRST_CREDIT, 0
    for step, size in steps:
        if step == "data":
            size = min(size, credit)
            receiver.on_data(size)
            credit, held = credit - size, held + size
        elif step == "consume":
            size = min(size, held)
            credit += receiver.consume(size)
            held -= size
        else:
            credit += receiver.widen(WINDOW)
        assert receiver.granted == credit
        assert receiver.granted + held + receiver.consumed == receiver.window
        assert 2 * receiver.consumed < receiver.window


def test_credit_is_exact() -> None:
    receiver = stream()
    receiver.on_data(FIRST_CREDIT)
    with pytest.raises(Malformed):
        receiver.on_data(1)
    assert receiver.consume(FIRST_CREDIT // 2 - 1) == 0
    assert receiver.consume(1) == FIRST_CREDIT // 2
    receiver.on_data(FIRST_CREDIT // 2)
    with pytest.raises(Malformed):
        receiver.on_data(1)


def test_what_was_not_received_cannot_be_consumed() -> None:
    receiver = stream()
    receiver.on_data(10)
    with pytest.raises(Misuse):
        receiver.consume(11)


def test_a_window_is_widened_once() -> None:
    receiver = stream()
    assert receiver.widen(WINDOW) == WINDOW - FIRST_CREDIT
    assert receiver.widen(WINDOW) == receiver.widen(1) == 0


def test_no_credit_after_the_end() -> None:
    receiver = stream()
    receiver.on_data(FIRST_CREDIT)
    receiver.on_fin(FIRST_CREDIT)
    assert receiver.consume(FIRST_CREDIT) == 0
    with pytest.raises(Malformed):
        receiver.on_data(1)
    with pytest.raises(Malformed):
        receiver.on_fin(FIRST_CREDIT)


def test_an_end_tells_the_length() -> None:
    receiver = stream()
    receiver.on_data(5)
    with pytest.raises(Malformed):
        receiver.on_fin(6)
    receiver.on_fin(5)
    with pytest.raises(Malformed):
        receiver.on_data(1)


def test_absurd_credit_is_malformed() -> None:
    sender = stream()
    sender.on_credit(MOST_CREDIT - FIRST_CREDIT)
    with pytest.raises(Malformed):
        sender.on_credit(1)


def test_numbers_are_in_order_and_of_each_side() -> None:
    dialler, listener = Streams(dialler=True), Streams(dialler=False)
    assert [dialler.open(Priority.BULK).number for _ in range(3)] == [2, 4, 6]
    assert [listener.open(Priority.BULK).number for _ in range(3)] == [1, 3, 5]
    for wrong in (0, 1, 3, 4):
        with pytest.raises(Malformed):
            listener.on_open(wrong, Priority.BULK)
    listener.on_open(2, Priority.SYNC)
    opened = listener.get(2)
    assert opened is not None
    assert opened.priority is Priority.SYNC
    with pytest.raises(Malformed):
        listener.on_open(2, Priority.SYNC)


def test_what_has_ended_differs_from_what_never_was() -> None:
    streams = Streams(dialler=True)
    ours = streams.open(Priority.BULK)
    streams.drop(ours)
    assert ours.over
    assert streams.find_untrusted(2) is None
    for number in (0, 1, 4, 2**32 - 2, 2**32 - 1):
        with pytest.raises(Malformed):
            streams.find_untrusted(number)


def test_both_sides_may_open_as_many_as_agreed() -> None:
    streams = Streams(dialler=True)
    for number in range(MOST_STREAMS):
        streams.open(Priority.BULK)
        streams.on_open(2 * number + 1, Priority.BULK)
    with pytest.raises(Misuse):
        streams.open(Priority.BULK)
    with pytest.raises(Malformed):
        streams.on_open(2 * MOST_STREAMS + 1, Priority.BULK)
    first = streams.get(2)
    assert first is not None
    streams.drop(first)
    assert streams.open(Priority.BULK).number == 2 * MOST_STREAMS + 2


def test_a_stream_is_over_when_both_halves_are() -> None:
    streams = Streams(dialler=True)
    ours = streams.open(Priority.BULK)
    ours.fin_sent = True
    streams.drop_if_finished(ours)
    assert streams.get(2) is ours
    ours.on_fin(0)
    streams.drop_if_finished(ours)
    assert streams.get(2) is None
