"""Tests of ``springline.transport.address``."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed, Misuse
from springline.transport.address import Address

HOSTS = (
    st.ip_addresses().map(str)
    | st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,10}){0,3}", fullmatch=True)
    | st.sampled_from(["fe80::1%eth0", "fe80::1%12", "localhost", "my_host", "example.org."])
)


@given(HOSTS, st.integers(0, 65535))
def test_text_round_trip(host: str, port: int) -> None:
    address = Address(host, port)
    assert Address.parse(str(address)) == address
    assert Address.parse(f" tcp://{address} ") == address
    assert Address.parse_untrusted(str(address)) == address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7400", "127.0.0.1", 7400),
        ("[::1]:7400", "::1", 7400),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("tcp://example.org:0", "example.org", 0),
    ],
)
def test_forms(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":7400",
        "host:port",
        "host:65536",
        "host:-1",
        "host:１",
        "::1:7400",
        "[::1]",
        "[host]:1",
        "[fe80::1%]:1",
        "[fe80::1%a b]:1",
        "[::g]:1",
        "a b:1",
        "a\n:1",
        "udp://host:1",
        "tcp://tcp://host:1",
        "-host:1",
        "a..b:1",
        "x" * 64 + ":1",
        "x." * 150 + "x:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Misuse):
        Address.parse(text)
    with pytest.raises(Malformed):
        Address.parse_untrusted(text)


@given(st.text(max_size=80) | st.none() | st.integers() | st.binary(max_size=10))
def test_untrusted_values_are_addresses_or_malformed(value: object) -> None:
    try:
        address = Address.parse_untrusted(value)
    except Malformed:
        return
    assert Address.parse(str(address)) == address


def test_too_long_a_text_is_malformed() -> None:
    with pytest.raises(Malformed):
        Address.parse_untrusted(" " * 1000 + "host:1")


@pytest.mark.parametrize("port", [-1, 65536, True, "1", 1.0])
def test_ports_are_checked(port: object) -> None:
    with pytest.raises(Misuse):
        Address("host", port)  # type: ignore[arg-type]


def test_addresses_travel() -> None:
    address = Address("::1", 7400)
    assert pickle.loads(pickle.dumps(address)) == address
