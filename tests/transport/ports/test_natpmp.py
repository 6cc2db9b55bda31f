"""NAT-PMP's messages: RFC 6886's figures, and bytes that are none of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.transport.ports.natpmp import (
    Mapped,
    Outside,
    Refused,
    answers,
    map_port,
    read_untrusted,
    which_outside,
)


def test_questions() -> None:
    assert which_outside() == b"\0\0"
    assert map_port(7400, 7401, 7200, udp=False) == bytes.fromhex("0002 0000 1ce8 1ce9 00001c20")
    assert map_port(7400, 0, 0, udp=True) == bytes.fromhex("0001 0000 1ce8 0000 00000000")


def test_answers() -> None:
    assert read_untrusted(bytes.fromhex("0080 0000 0000000a c0000205")) == Outside(10, "192.0.2.5")
    mapped = bytes.fromhex("0082 0000 0000000a 1ce8 1ce9 00001c20")
    assert read_untrusted(mapped) == Mapped(10, udp=False, port=7400, given=7401, seconds=7200)
    assert read_untrusted(bytes.fromhex("0081 0000 00000000 1ce8 0000 00000000")) == Mapped(0, True, 7400, 0, 0)


@pytest.mark.parametrize("form", ["0082 0002 0000000a 1ce8 0000 00000000", "0082 0002 0000000a"])
def test_a_no_may_be_short(form: str) -> None:
    assert read_untrusted(bytes.fromhex(form)) == Refused(10, "it is not allowed there")


def test_one_that_speaks_another_version_says_so_in_its_own() -> None:
    assert read_untrusted(bytes.fromhex("0282 0001 00000000 00000000")) == Refused(0, "it speaks another version")


def test_whose_answer_it_is() -> None:
    tcp, udp = Mapped(1, False, 7400, 7400, 60), Mapped(1, True, 7400, 7400, 60)
    assert answers(map_port(7400, 1, 60, udp=False), tcp)
    assert not answers(map_port(7400, 1, 60, udp=False), udp)
    assert not answers(map_port(7401, 7400, 60, udp=False), tcp)
    assert not answers(map_port(7400, 1, 60, udp=False), Outside(1, "192.0.2.1"))
    assert not answers(which_outside(), tcp)
    assert answers(which_outside(), Outside(1, "192.0.2.1"))


@pytest.mark.parametrize(
    "form",
    ["", "0000", "0002 0002 0000000a", "0080 0000 000000", "0080 0000 0000000a c00002", "0080 0000 0000000a c000020506",
     "0180 0000 0000000a c0000205", "0082 0000 0000000a 1ce8 1ce9 00001c", "0083 0000 0000000a 1ce8 1ce9 00001c20"],
)  # fmt: skip
def test_what_is_none(form: str) -> None:
    with pytest.raises(Malformed):
        read_untrusted(bytes.fromhex(form))


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_untrusted(data)
