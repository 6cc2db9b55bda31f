"""Two real nodes tell each other where they listen; what is told falsely is tried and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import cbor2
import pytest

from springline.actors.finding import AddressesChanged
from springline.actors.messages import KEYSTORE, Contact, handler_name
from springline.control import Control
from springline.errors import Refused
from springline.protocols.message import Custom
from springline.protocols.where.wire import VERSION
from springline.store import opening
from springline.store.layout import Layout
from springline.tests.impostors import mute, nobody, serving
from springline.tests.nodes import Pair, eventually, kill, paired
from springline.transport.address import Address


@pytest.fixture(scope="module")
def running_pair() -> Iterator[Pair]:
    with paired() as pair:
        yield pair


@pytest.fixture
def pair(running_pair: Pair) -> Pair:
    running_pair.await_link()
    return running_pair


def known(node: Control, device: UUID) -> tuple[Address, ...]:
    found: tuple[Address, ...] = node.ask(KEYSTORE, Contact(device))
    return found


def forget_addresses(pair: Pair, *instead: Address) -> None:
    """Red comes back without knowing where blue is, or knows these addresses only."""
    pair.red.down()
    vault = opening.unlock(Layout(pair.red.folder), pair.red.passphrase.encode())
    known = tuple(map(str, instead))
    vault.save_preferences(pair.blue_id, type(vault.preferences(pair.blue_id))(known_addresses=known))
    pair.red.up()


def say(pair: Pair, *addresses: str) -> bool:
    """Blue says to red that it listens there. True if it got there, for ``eventually``."""
    message = Custom("where", VERSION, cbor2.dumps({"at": list(addresses)}))
    return pair.blue.control.send(pair.red_id, message, protocol="where") is None


def test_whoever_is_called_learns_where_to_call_back(pair: Pair) -> None:
    forget_addresses(pair)
    blue = Address.parse(pair.blue.listen)
    eventually(lambda: known(pair.red.control, pair.blue_id) == (blue,), "red knows where blue listens")
    assert pair.red.control.find(pair.blue_id).link.state == "Connected"


def test_where_it_has_moved_to_comes_before_where_it_was(pair: Pair) -> None:
    with nobody() as former:
        forget_addresses(pair, former)
        expected = (Address.parse(pair.blue.listen), former)
        eventually(lambda: known(pair.red.control, pair.blue_id) == expected, "red knows where blue is, and was")


def test_what_is_told_falsely_is_tried_and_not_kept(pair: Pair) -> None:
    forget_addresses(pair)
    blue = Address.parse(pair.blue.listen)
    eventually(lambda: known(pair.red.control, pair.blue_id) == (blue,), "red has looked at the first telling")
    kill(pair.red.control, handler_name("where"))  # which spares us its pause
    with serving(mute) as silent, nobody() as refusing:
        pair.await_link()
        eventually(
            lambda: say(pair, str(silent), str(refusing), pair.red.listen, "224.0.0.1:9", pair.blue.listen),
            "red has been told",
        )
        log = pair.red.folder / "run" / "bus" / "springline.log"
        for words in (
            f"does not answer at {silent}: it takes the call and says nothing",
            f"does not answer at {refusing}: connection refused",
            f"does not answer at {pair.red.listen}: that is this device itself",
        ):
            eventually(lambda words=words: words in log.read_text(), words)  # type: ignore[misc]
    assert known(pair.red.control, pair.blue_id) == (blue,)


def test_nonsense_is_refused_and_the_link_lives(pair: Pair) -> None:
    since = pair.red.control.find(pair.blue_id).link.since
    for payload in (b"", cbor2.dumps({"at": ["10.0.0.1:1"] * 5000}), cbor2.dumps({"at": [None]})):
        with pytest.raises(Refused):
            pair.blue.control.send(pair.red_id, Custom("where", VERSION, payload), protocol="where")
    with pytest.raises(Refused):
        pair.blue.control.send(pair.red_id, Custom("where", VERSION + 1, b""), protocol="where")
    assert pair.red.control.find(pair.blue_id).link.since == since


def test_a_change_of_addresses_is_told_to_whoever_is_connected(pair: Pair) -> None:
    forget_addresses(pair)
    kill(pair.red.control, handler_name("where"))
    pair.await_link()
    pair.blue.control.ask(handler_name("where"), AddressesChanged())
    blue = Address.parse(pair.blue.listen)
    eventually(lambda: blue in known(pair.red.control, pair.blue_id), "red has heard of it")
