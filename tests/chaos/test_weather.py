"""Bad networks between two real nodes: slow, lossy, deaf on one side, cut again and again.

One pair stands in all of it: what is left of one weather is met in the next.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from blake3 import blake3

from springline.actors.messages import PROTOCOLS
from springline.control import Control
from springline.errors import SpringlineError
from springline.protocols.message import Custom
from springline.protocols.where.handler import Where
from springline.supervisors.asking import Dismiss
from springline.tests.nodes import Pair, echo, eventually, paired
from springline.tests.weather import Proxy
from springline.transport.liveness import SUSPICION
from springline.transport.story import Cause

FILE_SIZE = 16 << 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Weathered:
    """Two paired nodes that know each other at a proxy's address only.

    They are paired where the proxies will be, and then restarted somewhere else. Blue neither tells where it listens
    nor hears what red says of that, from before there is a link; so they learn of no way around the proxies.
    """

    def __init__(self, pair: Pair, stack: contextlib.ExitStack, seed: int) -> None:
        self.pair = pair
        nodes = (pair.blue, pair.red)
        known = [int(node.listen.rpartition(":")[2]) for node in nodes]
        for node in nodes:
            node.down()
        self.proxies = [stack.enter_context(Proxy(port, free_port(), seed)) for port in known]
        for node, proxy in zip(nodes, self.proxies, strict=True):
            node.where = f"127.0.0.1:{proxy.target}"
        pair.blue.up()
        pair.blue.control.ask(PROTOCOLS, Dismiss(Where.protocol))
        pair.red.up()
        pair.await_link()
        assert self.passed > 0

    @property
    def passed(self) -> int:
        return sum(proxy.passed for proxy in self.proxies)

    def settle(self) -> None:
        """Wait until all that was said is answered: whoever misses an answer probes after ``SUSPICION``."""
        last = self.passed, time.monotonic()

        def settled() -> bool:
            nonlocal last
            if self.passed != last[0]:
                last = self.passed, time.monotonic()
            return time.monotonic() - last[1] > SUSPICION

        eventually(settled, "nothing is on its way")

    @contextlib.contextmanager
    def being(self, **weather: float | bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for proxy in self.proxies:
                stack.enter_context(proxy.being(**weather))
            yield


@pytest.fixture(scope="module")
def both() -> Iterator[Weathered]:
    with paired() as pair, contextlib.ExitStack() as stack:
        yield Weathered(pair, stack, seed=7)


@pytest.fixture
def weathered(both: Weathered) -> Weathered:
    both.pair.await_link()
    return both


def silences(side: tuple[Control, UUID], since: float) -> list[str]:
    """When the other side was found dead, and why. :param since: wall-clock seconds."""
    node, other = side
    entries = [entry for entry in node.why(other).entries if entry.at >= since]
    return [entry.evidence for entry in entries if "no sign of life" in entry.evidence]


def times_lost(side: tuple[Control, UUID]) -> int:
    """How often a session has ended; one that makes room for a newer one has not."""
    node, other = side
    return sum(entry.count for entry in node.why(other).entries if entry.cause is Cause.LOST)


def send(pair: Pair, name: str) -> None:
    """A file from blue to red; it must arrive whole."""
    path = pair.folder / name
    path.write_bytes(os.urandom(FILE_SIZE))
    pair.blue.control.send_file(pair.red_id, path).wait()
    arrived = pair.red.folder / "incoming" / name
    assert blake3(arrived.read_bytes()).digest() == blake3(path.read_bytes()).digest()


def test_slow_and_lossy_is_good_enough(weathered: Weathered) -> None:
    pair = weathered.pair
    before = times_lost(pair.sides()["blue"])
    with weathered.being(delay=0.1, jitter=0.05, loss=0.05):
        send(pair, "slow.bin")
        for _ in range(5):
            assert echo(pair.blue.control, pair.red_id)
    assert times_lost(pair.sides()["blue"]) == before, "the link was given up"


@pytest.mark.parametrize("way", ["deaf", "mute"])
def test_a_path_that_passes_nothing_one_way_is_found_out(weathered: Weathered, way: str) -> None:
    pair, began = weathered.pair, time.time()
    with weathered.being(**{way: True}):
        for node, other in pair.sides().values():
            with contextlib.suppress(SpringlineError):  # its fate is unknown; that it was said makes silence suspicious
                node.send(other, Custom("echo", 1, b"?"), protocol="echo", timeout=0.5)
        eventually(
            lambda: any(silences(side, began) for side in pair.sides().values()), "a side that hears nothing notices"
        )
    pair.await_link()


def test_a_link_that_is_to_be_watched_closely_is(weathered: Weathered) -> None:
    """Nothing gets through any more, either way, and nobody is waiting for an answer."""
    blue, red = weathered.pair.blue.control, weathered.pair.red_id
    before, began = blue.tuning(red).keepalive, time.time()
    weathered.settle()
    blue.tune(red, keepalive=5.0)
    with weathered.being(deaf=True, mute=True):
        eventually(lambda: silences((blue, red), began), "the silence is noticed", 60.0)
    blue.tune(red, keepalive=before)
    (silent, *_) = silences((blue, red), began)
    assert int(silent.split()[-2]) < 20, silent  # 5 + 5 of them; by default it would have been 25 + 5


def test_a_closed_door_is_tried_until_it_opens(weathered: Weathered) -> None:
    pair = weathered.pair
    with weathered.being(closed=True):
        for proxy in weathered.proxies:
            proxy.cut()
        eventually(lambda: pair.blue.control.find(pair.red_id).link.state == "Reconnecting", "it is tried again")
    pair.await_link()


def test_a_file_arrives_over_a_line_that_is_cut_again_and_again(weathered: Weathered) -> None:
    pair = weathered.pair
    with weathered.being(delay=0.01, rate=4e6, span=FILE_SIZE // 4):
        send(pair, f"cut-{secrets.token_hex(4)}.bin")
    assert sum(proxy.cuts for proxy in weathered.proxies) >= 2, "it was never cut"
    pair.await_link()
