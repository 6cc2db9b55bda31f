"""Tests of ``springline.protocols.pairing.invitations``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from springline.errors import Refused
from springline.protocols.pairing.invitations import ATTEMPTS, LIFETIME, MOST_OPEN, Invitations
from springline.protocols.pairing.keys import keys_of

NOW = 1_000_000.0


def secret(number: int) -> bytes:
    return number.to_bytes(16, "big")


def bell(number: int) -> bytes:
    return keys_of(secret(number)).doorbell


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(Refused, match="no such invitation is open"):
        call()


def test_an_invitation_serves_once() -> None:
    book, made = Invitations().invite(secret(1), NOW)
    assert book.doorbells == (bell(1),)
    assert made.expires_at == NOW + LIFETIME
    book, called = book.knock(bell(1), NOW)
    assert called.keys == made.keys
    book = book.use(bell(1))
    assert book.doorbells == ()
    refused(lambda: book.knock(bell(1), NOW))
    refused(lambda: book.use(bell(1)))


def test_of_two_callers_at_a_time_only_one_is_believed() -> None:
    book, _ = Invitations().invite(secret(1), NOW)
    book, _ = book.knock(bell(1), NOW)
    book, _ = book.knock(bell(1), NOW)
    book = book.use(bell(1))
    refused(lambda: book.use(bell(1)))


def test_an_invitation_ends_with_its_time() -> None:
    book, _ = Invitations().invite(secret(1), NOW)
    assert book.current(NOW + LIFETIME - 0.001) == book
    book.knock(bell(1), NOW + LIFETIME - 0.001)
    refused(lambda: book.knock(bell(1), NOW + LIFETIME))
    assert book.current(NOW + LIFETIME) == Invitations()


def test_after_the_last_attempt_the_door_stays_shut_for_others_only() -> None:
    book, _ = Invitations().invite(secret(1), NOW)
    for left in range(ATTEMPTS - 1, -1, -1):
        assert book.doorbells == (bell(1),)
        book, called = book.knock(bell(1), NOW)
        assert called.attempts_left == left
    assert book.doorbells == ()
    refused(lambda: book.knock(bell(1), NOW))
    assert book.use(bell(1)) == Invitations()


def test_a_stranger_costs_no_attempt() -> None:
    book, _ = Invitations().invite(secret(1), NOW)
    refused(lambda: book.knock(bell(2), NOW))
    refused(lambda: book.use(bell(2)))
    assert book.open[0].attempts_left == ATTEMPTS


def test_the_oldest_gives_way() -> None:
    book = Invitations()
    for number in range(MOST_OPEN + 1):
        book, _ = book.invite(secret(number), NOW)
    assert book.doorbells == tuple(map(bell, range(1, MOST_OPEN + 1)))


class Model(RuleBasedStateMachine):
    """Against the plainest book there is: a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Invitations()
        self.now = NOW
        self.made = 0
        self.open: dict[int, tuple[float, int]] = {}

    @rule()
    def invite(self) -> None:
        self.made += 1
        self.book, _ = self.book.invite(secret(self.made), self.now)
        self.open[self.made] = (self.now + LIFETIME, ATTEMPTS)
        self.lapse()
        if len(self.open) > MOST_OPEN:
            del self.open[min(self.open)]

    @rule(seconds=st.floats(0, LIFETIME))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.book = self.book.current(self.now)
        self.lapse()

    def lapse(self) -> None:
        self.open = {number: one for number, one in self.open.items() if one[0] > self.now}

    @rule(number=st.integers(1, 12))
    def knock(self, number: int) -> None:
        end, left = self.open.get(number, (0.0, 0))
        if left == 0:
            refused(lambda: self.book.knock(bell(number), self.now))
        else:
            self.book, _ = self.book.knock(bell(number), self.now)
            self.open[number] = (end, left - 1)

    @rule(number=st.integers(1, 12))
    def use(self, number: int) -> None:
        if self.open.pop(number, None) is None:
            refused(lambda: self.book.use(bell(number)))
        else:
            self.book = self.book.use(bell(number))

    @invariant()
    def the_doorbells_are_those_of_the_model(self) -> None:
        assert self.book.doorbells == tuple(bell(number) for number, one in self.open.items() if one[1] > 0)


TestModel = Model.TestCase
