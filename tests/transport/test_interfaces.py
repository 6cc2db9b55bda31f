"""Which of this machine's addresses are told to others, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springline.transport.address import Address
from springline.transport.interfaces import MOST_OF, chosen, here, own_addresses

V4, V6 = Address("0.0.0.0", 7), Address("::", 7)
PRESENT = ["127.0.0.1", "::1", "192.168.1.5", "2001:db8::5", "fd00::5", "fe80::5", "169.254.7.7"]


def hosts(listeners: list[Address], mapped: Address | None = None) -> list[str]:
    return [address.host for address in chosen(listeners, PRESENT, mapped)]


def test_both_families_everywhere() -> None:
    assert hosts([V4, V6]) == ["192.168.1.5", "2001:db8::5", "fd00::5", "169.254.7.7", "fe80::5", "127.0.0.1"]
    assert sorted(hosts([V6])) == sorted(hosts([V4, V6]))
    assert hosts([V4]) == ["192.168.1.5", "169.254.7.7", "127.0.0.1"]


def test_one_address_is_told_alone_and_while_it_is_there() -> None:
    assert hosts([Address("192.168.1.5", 7)]) == ["192.168.1.5"]
    assert hosts([Address("192.168.1.6", 7)]) == []
    assert hosts([Address("127.0.0.2", 7)]) == ["127.0.0.2"]  # all of 127/8 is there
    assert hosts([Address("::1", 7)]) == ["::1"]


def test_scopes_are_not_told() -> None:
    assert hosts([Address("fe80::5%eth0", 7)]) == ["fe80::5"]


def test_where_a_router_passes_on_comes_between_the_near_and_the_odd_ones() -> None:
    mapped = Address("203.0.113.9", 40000)
    found = chosen([V4], PRESENT, mapped)
    assert found.index(Address("192.168.1.5", 7)) < found.index(mapped) < found.index(Address("127.0.0.1", 7))


@given(st.sets(st.ip_addresses().map(str).filter(lambda ip: not ip.startswith("::ffff:")), max_size=80))
def test_there_are_never_too_many(present: set[str]) -> None:
    found = chosen([V4, V6], present, None)
    assert len(found) == len(set(found)) <= sum(MOST_OF.values())


def test_this_machine() -> None:
    assert "127.0.0.1" in here()
    assert not any("%" in ip for ip in here())
    assert own_addresses([Address("127.0.0.1", 7)]) == (Address("127.0.0.1", 7),)
