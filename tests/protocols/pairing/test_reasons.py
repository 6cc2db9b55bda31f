"""Why a pairing came to nothing, in words that help."""

from __future__ import annotations

import pytest

from springline.errors import (
    LocalFault,
    Lost,
    Malformed,
    Misuse,
    NotConnected,
    PairingFailed,
    SpringlineError,
    StorageFull,
    TimedOut,
    Unreachable,
)
from springline.protocols.pairing import reasons
from springline.transport.address import Address
from springline.transport.trouble import Foreign, HungUp, Mute

THERE = Address("10.77.0.1", 7400)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (HungUp("it hangs up"), PairingFailed, ("10.77.0.1:7400 gave no answer", "words right", "springline status")),
        (Foreign("something else answers there"), PairingFailed, ("10.77.0.1:7400", "something else", "port right")),
        (Mute("it says nothing"), PairingFailed, ("10.77.0.1:7400", "says nothing", "port right")),
        (Malformed("a lie"), PairingFailed, ("said what it may not: a lie",)),
        (StorageFull("no room"), StorageFull, ("no room",)),
        (Lost("gone"), PairingFailed, ("restarted",)),
        (TimeoutError(), TimedOut, ("in time",)),
        (ConnectionResetError(), PairingFailed, ("gave no answer",)),
    ],
)
def test_a_joiner_is_told_what_is_there(error: Exception, kind: type, words: tuple[str, ...]) -> None:
    found = reasons.told_of(THERE, error, met=False)
    assert type(found) is kind
    assert all(word in str(found) for word in words), found


def test_once_they_have_met_it_is_not_about_the_address() -> None:
    assert "hung up" in str(reasons.told_of(THERE, ConnectionResetError(), met=True))


@pytest.mark.parametrize("kind", [Unreachable, NotConnected])
def test_who_is_not_reached_may_be_reached_later_by_the_same_words(kind: type[SpringlineError]) -> None:
    found = reasons.unreached(kind("10.77.0.1:7400: connection refused"))
    assert type(found) is kind
    assert "still good" in found.hint


@pytest.mark.parametrize("error", [Unreachable("no address is known", "give one"), LocalFault("a"), Misuse("b")])
def test_what_says_itself_what_to_do_is_left_alone(error: SpringlineError) -> None:
    assert reasons.unreached(error) is error


def test_why_nobody_came() -> None:
    assert "expired" in str(reasons.why_over(expired=True, closed=True))
    assert "newer ones" in str(reasons.why_over(expired=False, closed=True))
    assert "void" in str(reasons.why_over(expired=False, closed=False))
    assert "not reached (why)" in str(reasons.not_found(60, "why"))
    assert "in 60 s" in str(reasons.not_found(60, ""))
