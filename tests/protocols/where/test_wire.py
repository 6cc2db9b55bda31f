"""What a device may say about where it is, and what of that is tried."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.errors import Malformed
from springline.protocols.where.wire import MOST, MOST_TRIED, encode, from_untrusted, worth_trying
from springline.transport.address import Address

HERE, THERE = Address("192.0.2.1", 7400), Address("2001:db8::1", 7400)
hosts = st.ip_addresses().map(str) | st.sampled_from(["0.0.0.0", "224.0.0.1", "::", "127.0.0.1"])
addresses = st.builds(Address, hosts.filter(lambda host: not host.startswith("::ffff:")), st.integers(0, 65535))


@given(st.lists(addresses, max_size=40))
def test_what_is_said_is_heard(said: list[Address]) -> None:
    assert from_untrusted(encode(said)) == tuple(dict.fromkeys(said[:MOST]))


def test_names_and_scopes_mean_nothing_here() -> None:
    data = cbor2.dumps({"at": ["tracker.example:7400", "[fe80::1%eth0]:7400", "[::ffff:192.0.2.1]:7400"]})
    assert from_untrusted(data) == (Address("fe80::1", 7400), HERE)


@pytest.mark.parametrize(
    "said",
    [
        {"at": [f"192.0.2.1:{port}" for port in range(1, MOST + 2)]},
        {"at": "192.0.2.1:7400"},
        {"at": [7]},
        {"at": ["192.0.2.1"]},
        {"at": ["x" * 3000]},
        {},
        [],
        None,
    ],
)
def test_what_makes_no_sense(said: object) -> None:
    with pytest.raises(Malformed):
        from_untrusted(cbor2.dumps(said))


@given(st.binary(max_size=200))
def test_any_bytes_are_addresses_or_malformed(data: bytes) -> None:
    try:
        assert len(from_untrusted(data)) <= MOST
    except Malformed:
        pass


def test_what_is_known_is_not_tried_and_where_it_called_from_is() -> None:
    assert worth_trying([HERE, THERE], "", [HERE]) == (THERE,)
    assert worth_trying([HERE], "203.0.113.5", []) == (HERE, Address("203.0.113.5", 7400))
    assert worth_trying([], "203.0.113.5", []) == ()


@given(st.lists(addresses, max_size=MOST), hosts, st.lists(addresses, max_size=5))
def test_it_is_never_much_and_never_nonsense(told: list[Address], observed: str, known: list[Address]) -> None:
    found = worth_trying(told, observed, known)
    assert len(found) == len(set(found)) <= MOST_TRIED
    assert not set(found) & set(known)
    assert all(address.port and address.host not in ("0.0.0.0", "::", "224.0.0.1") for address in found)
    assert {address.host for address in found} <= {address.host for address in told} | {observed}
