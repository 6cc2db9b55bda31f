"""Messages of the kernel: those that it sends, those that it might, and bytes that are none."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.transport import rtnetlink
from springline.transport.rtnetlink import AF_INET, Done, Link, Other, Placed, Refused, Route, read_untrusted


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def link(flags: int, *attributes: bytes, family: int = 0) -> bytes:
    return message(16, struct.pack("=BxHiII", family, 1, 7, flags, 0) + b"".join(attributes))


def address(flags: int, *attributes: bytes, family: int = AF_INET) -> bytes:
    return message(20, struct.pack("=BBBBI", family, 24, flags, 0, 7) + b"".join(attributes))


def route(prefix: int, *attributes: bytes, family: int = AF_INET) -> bytes:
    return message(24, struct.pack("=BBBBBBBBI", family, prefix, 0, 0, 0, 0, 0, 0, 0) + b"".join(attributes))


NAME = attribute(3, b"eth0\0")
ONE, TWO = attribute(1, bytes([10, 0, 0, 1])), attribute(2, bytes([10, 0, 0, 2]))


def alone(datagram: bytes) -> object:
    (news,) = read_untrusted(datagram)
    return news


def test_links() -> None:
    assert alone(link(0x41, NAME)) == Link(7, "eth0", running=True)
    assert alone(link(0x01, NAME)) == Link(7, "eth0", running=False)  # its cable is out
    assert alone(link(0x40, NAME)) == Link(7, "eth0", running=False)  # it is switched off
    assert alone(link(0x49, attribute(3, b"lo\0"))) == Link(7, "lo", running=True, loopback=True)
    assert alone(link(0x41, attribute(3, b"\xff\0"))) == Link(7, "\ufffd", running=True)


@pytest.mark.parametrize(("kind", "member"), [(b"bridge", True), (b"bond\0", True), (b"vrf", False), (b"", False)])
def test_members_of_a_bridge(kind: bytes, member: bool) -> None:
    info = attribute(18 | 0x8000, attribute(1, b"veth\0") + attribute(4, kind))
    assert alone(link(0x41, NAME, info)) == Link(7, "eth0", running=True, member=member)


def test_what_a_bridge_says_of_its_ports_is_no_link() -> None:
    assert read_untrusted(link(0x41, NAME, family=7)) == ()


def test_addresses() -> None:
    assert alone(address(0, ONE)) == Placed(7, "10.0.0.1")
    assert alone(address(0, ONE, TWO)) == alone(address(0, TWO, ONE)) == Placed(7, "10.0.0.2")  # the other end is ONE
    v6 = attribute(1, bytes.fromhex("fe80" + 13 * "00" + "05"))
    assert alone(address(0x40, v6, family=10)) == Placed(7, "fe80::5", usable=False)  # somebody may have it
    assert alone(address(0x44, v6, family=10)) == Placed(7, "fe80::5")  # used all the same
    assert alone(address(0, v6, attribute(8, struct.pack("=I", 0x108)), family=10)) == Placed(7, "fe80::5", False)
    assert read_untrusted(address(0, ONE, family=1)) == ()


def test_routes() -> None:
    out, gateway = attribute(4, struct.pack("=I", 7)), attribute(5, bytes([10, 0, 0, 9]))
    assert alone(route(0, out, gateway)) == Route(AF_INET, 0, 7, "10.0.0.9")
    assert alone(route(24, out)) == Route(AF_INET, 24, 7, "")
    via = attribute(18, struct.pack("=H", 10) + bytes.fromhex("fe80" + 13 * "00" + "01"))
    assert alone(route(0, out, via)) == Route(AF_INET, 0, 7, "fe80::1")
    assert read_untrusted(route(0, family=7)) == ()


def test_the_rest() -> None:
    assert alone(message(2, struct.pack("=i", -101))) == Refused(101)
    assert read_untrusted(message(3, bytes(4))) == (Done(),)
    assert [alone(message(kind, b"")) for kind in (4, 32, 33)] == [Other()] * 3
    assert read_untrusted(message(1, b"") + message(99, b"")) == ()
    assert read_untrusted(b"") == ()


def test_several_in_one_datagram() -> None:
    told = read_untrusted(link(0x41, attribute(3, b"a\0")) + address(0, ONE) + message(3, b""))
    assert [type(news) for news in told] == [Link, Placed, Done]


@pytest.mark.parametrize(
    "datagram",
    [
        bytes(15),
        struct.pack("=IHHII", 15, 16, 0, 0, 0),
        struct.pack("=IHHII", 17, 16, 0, 0, 0),
        message(16, bytes(15)),
        message(20, bytes(7)),
        message(24, bytes(11)),
        message(2, bytes(3)),
        address(0),
        address(0, attribute(1, bytes(5))),
        link(0x41, struct.pack("=HH", 3, 3)),
        link(0x41, struct.pack("=HH", 9, 3)),
        link(0x41, b"\x05"),
        link(0x41, attribute(18, b"\x01\x00\x00")),
    ],
)
def test_what_is_cut_or_lies_about_its_length(datagram: bytes) -> None:
    with pytest.raises(Malformed):
        read_untrusted(datagram)


GENUINE = [link(0x41, NAME), address(0, ONE, TWO), route(0, ONE), message(2, bytes(4)), message(3, b"")]


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(GENUINE), max_size=4).map(b"".join)))
@example(2000 * message(3, b""))
def test_any_bytes_are_read_or_malformed(datagram: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert len(read_untrusted(datagram)) <= len(datagram) / 16


@given(st.sampled_from(GENUINE), st.data())
def test_any_byte_of_a_genuine_one_may_be_another(datagram: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(datagram) - 1))
    changed = datagram[:at] + data.draw(st.binary(min_size=1, max_size=1)) + datagram[at + 1 :]
    with contextlib.suppress(Malformed):
        read_untrusted(changed[: data.draw(st.integers(0, len(changed)))])


def test_questions_have_the_form_of_messages() -> None:
    for question in (rtnetlink.all_links(), rtnetlink.all_addresses(), rtnetlink.route_to("192.0.2.1")):
        assert struct.unpack_from("=I", question)[0] == len(question)
        read_untrusted(question)
