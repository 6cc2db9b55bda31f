"""From addresses to targets: figures at once, names in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from springline.errors import Unreachable
from springline.transport import resolving
from springline.transport.address import Address
from springline.transport.resolving import EACH, MOST, MOST_FOUND, Resolver, in_figures


def row(ip: str) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (ip, 0)


class Names:
    """A name service: ``silent`` names give no answer until :meth:`end`."""

    def __init__(self, known: dict[str, list[str]] | None = None) -> None:
        self.known = known or {}
        self.asked: list[str] = []
        self._end = threading.Event()

    def __call__(self, name: str, _port: object, **_hints: object) -> list[Any]:
        self.asked.append(name)
        if name.startswith("silent"):
            self._end.wait()
        if name == "nowhere":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        if name == "later":
            raise socket.gaierror(socket.EAI_AGAIN, "again")
        if name == "odd":
            raise UnicodeError("label too long")
        return [row(ip) for ip in self.known.get(name, [])]

    def end(self) -> None:
        self._end.set()


@pytest.fixture
def names() -> Iterator[Names]:
    service = Names({"two": ["2001:db8::1", "192.0.2.1", "192.0.2.1"], "many": [f"192.0.2.{n}" for n in range(1, 99)],
                     "wild": ["0.0.0.0"]})  # fmt: skip
    yield service
    service.end()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "PATIENCE", 0.05)


def ips(names: Names, host: str, port: int = 7) -> list[str]:
    found = asyncio.run(Resolver(names).resolve(Address(host, port)))
    assert all(one.address == Address(host, port) for one in found)
    return [one.ip for one in found]


def failure(names: Names, host: str, port: int = 7) -> str:
    with pytest.raises(Unreachable) as caught:
        asyncio.run(Resolver(names).resolve(Address(host, port)))
    return caught.value.message


def test_figures_ask_nobody(names: Names) -> None:
    assert ips(names, "192.0.2.9") == ["192.0.2.9"]
    assert ips(names, "::ffff:192.0.2.9") == ["192.0.2.9"]
    assert ips(names, "2001:db8::9") == ["2001:db8::9"]
    assert not names.asked


def test_a_name_has_all_its_addresses_once_and_not_too_many(names: Names) -> None:
    assert ips(names, "two") == ["2001:db8::1", "192.0.2.1"]
    assert len(ips(names, "many")) == MOST_FOUND


def test_why_a_name_leads_nowhere(names: Names) -> None:
    assert failure(names, "nowhere") == "the name is not known"
    assert failure(names, "later") == "no name server answers"
    assert failure(names, "empty") == "the name has no address"
    assert "label too long" in failure(names, "odd")
    assert "one device" in failure(names, "wild")
    assert "no port" in failure(names, "two", 0)


def test_scopes_are_of_this_machine() -> None:
    index = socket.if_nametoindex("lo")
    assert [one.scope for one in in_figures(Address("fe80::1%lo", 7)) or ()] == [index]
    assert [one.scope for one in in_figures(Address(f"fe80::1%{index}", 7)) or ()] == [index]
    for scope in ("nosuch0", "4294967295", "99999999999999999999"):
        with pytest.raises(Unreachable, match=f"no interface {scope} here"):
            in_figures(Address(f"fe80::1%{scope}", 7))
    assert [one.scope for one in in_figures(Address("2001:db8::1%lo", 7)) or ()] == [0]


def test_link_local_without_scope_is_tried_at_each_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0"), (5, "wlan0")])
    assert [one.scope for one in in_figures(Address("fe80::1", 7)) or ()] == [2, 5]
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo")])
    with pytest.raises(Unreachable, match="no interface"):
        in_figures(Address("fe80::1", 7))


@pytest.mark.usefixtures("hasty")
def test_a_name_that_never_resolves_is_given_up_and_holds_nobody(names: Names) -> None:
    async def look() -> None:
        resolver = Resolver(names)
        with pytest.raises(Unreachable, match="was not found in"):
            await resolver.resolve(Address("silent", 7), "one")
        with pytest.raises(Unreachable, match="was not found in"):
            await resolver.resolve(Address("silent", 7), "another")
        assert names.asked == ["silent"]  # once for both
        assert await resolver.resolve(Address("two", 7), "another")

    asyncio.run(look())  # and the loop's end does not wait for it either
    assert any(thread.name == "lookup" and thread.daemon for thread in threading.enumerate())


@pytest.mark.usefixtures("hasty")
def test_an_owner_with_many_silent_names_waits_alone(names: Names) -> None:
    async def look() -> None:
        resolver = Resolver(names)
        tries = [resolver.resolve(Address(f"silent{n}", 7), "greedy") for n in range(100)]
        ends = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(end, Unreachable) for end in ends)
        assert len(names.asked) == EACH
        assert await resolver.resolve(Address("two", 7), "modest")
        assert sum(thread.name == "lookup" for thread in threading.enumerate()) <= EACH + 1 <= MOST

    asyncio.run(look())


@pytest.mark.usefixtures("hasty")
def test_when_a_silent_name_has_answered_there_is_room_again(names: Names) -> None:
    async def look() -> None:
        resolver = Resolver(names)
        for n in range(EACH):
            with pytest.raises(Unreachable):
                await resolver.resolve(Address(f"silent{n}", 7), "greedy")
        names.end()
        names.known["silent9"] = ["192.0.2.1"]
        for thread in threading.enumerate():
            if thread.name == "lookup":
                thread.join()
        await asyncio.sleep(0)  # what the threads have told is heard
        assert await resolver.resolve(Address("silent9", 7), "greedy")

    asyncio.run(look())
