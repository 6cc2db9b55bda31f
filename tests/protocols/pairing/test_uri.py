"""Tests of ``springline.protocols.pairing.uri``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Misuse
from springline.protocols.pairing.uri import MOST_ADDRESSES, Invited, build, parse
from springline.protocols.pairing.words import words_of
from springline.transport.address import Address

SECRET = bytes(range(16))
DASHED = words_of(SECRET).replace(" ", "-")
hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(["box.local", "my_box", "fe80::1%eth0", "a.b-c.example"]),
)
addresses = st.builds(Address, hosts, st.integers(1, 65535))


@given(st.binary(min_size=16, max_size=16), st.lists(addresses, max_size=MOST_ADDRESSES))
def test_what_is_built_is_parsed(secret: bytes, where: list[Address]) -> None:
    assert parse(build(secret, where)) == Invited(secret, tuple(where))


def test_the_form() -> None:
    text = build(SECRET, [Address("192.168.1.5", 7400), Address("fe80::1%eth0", 7400)])
    assert text == f"springline://pair?words={DASHED}&at=192.168.1.5:7400&at=[fe80::1%25eth0]:7400"


def test_words_alone_will_do() -> None:
    assert parse(f"  {words_of(SECRET).upper()}\n") == Invited(SECRET)


def test_more_addresses_than_make_sense_are_left_out() -> None:
    where = [Address("box", port) for port in range(1, 40)]
    assert parse(build(SECRET, where)).addresses == tuple(where[:MOST_ADDRESSES])


def test_what_a_later_version_adds_is_ignored() -> None:
    assert parse(f"SPRINGLINE://pair?v=2&words={DASHED}&name=box") == Invited(SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "https://example.org/?words=x",
        "springline:",
        "springline://",
        "springline://pair",
        "springline://pair?words=",
        "springline://pair?words=apple-pie",
        f"springline://pair?words={DASHED}&words={DASHED}",
        f"springline://join?words={DASHED}",
        f"springline:pair?words={DASHED}",
        f"springline://[pair?words={DASHED}",
        f"springline://pair?words={DASHED}&at=nowhere",
        f"springline://pair?words={DASHED}&at=box:99999",
        f"springline://pair?words={DASHED}" + "&at=box:1" * 100,
        f"springline://pair?words={DASHED}&x=" + "x" * 5000,
    ],
)
def test_what_is_no_invitation_is_misuse(text: str) -> None:
    with pytest.raises(Misuse) as caught:
        parse(text)
    assert DASHED not in str(caught.value)


@given(st.text() | st.text().map(lambda text: "springline://pair?" + text))
def test_whatever_is_pasted_is_misuse_at_worst(text: str) -> None:
    with pytest.raises(Misuse):
        parse(text)


def test_the_secret_does_not_show() -> None:
    assert repr(Invited(SECRET)) == "Invited(addresses=())"
