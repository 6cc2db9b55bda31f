"""Bad networks between two real nodes: slow, lossy, deaf on one side, cut again and again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from blake3 import blake3

from springline.cli.local import LocalNode
from springline.control import Control
from springline.errors import SpringlineError
from springline.protocols.message import Custom
from springline.tests.nodes import Pair, echo, eventually, paired
from springline.tests.weather import Proxy
from springline.transport.story import Cause

FILE_SIZE = 16 << 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Weathered:
    """Two paired nodes that know each other at a proxy's address only.

    They are paired where the proxies will be, and then restarted somewhere else.
    """

    def __init__(self, pair: Pair, stack: contextlib.ExitStack, seed: int) -> None:
        self.pair = pair
        nodes = (pair.blue, pair.red)
        known = [int(node.listen.rpartition(":")[2]) for node in nodes]
        for node in nodes:
            node.down()
        self.proxies = [stack.enter_context(Proxy(port, free_port(), seed)) for port in known]
        for node, proxy in zip(nodes, self.proxies, strict=True):
            _move(node, proxy.target)
        pair.await_link()
        assert self.passed > 0

    @property
    def passed(self) -> int:
        return sum(proxy.passed for proxy in self.proxies)

    @contextlib.contextmanager
    def being(self, **weather: float | bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for proxy in self.proxies:
                stack.enter_context(proxy.being(**weather))
            yield


def _move(node: LocalNode, port: int) -> None:
    node.where = f"127.0.0.1:{port}"
    node.up()


@pytest.fixture
def weathered() -> Iterator[Weathered]:
    with paired() as pair, contextlib.ExitStack() as stack:
        yield Weathered(pair, stack, seed=7)


def found_dead(side: tuple[Control, UUID]) -> bool:
    node, other = side
    return any("no sign of life" in entry.evidence for entry in node.why(other).entries)


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
    pair = weathered.pair
    with weathered.being(**{way: True}):
        for node, other in pair.sides().values():
            with contextlib.suppress(SpringlineError):  # its fate is unknown; that it was said makes silence suspicious
                node.send(other, Custom("echo", 1, b"?"), protocol="echo", timeout=0.5)
        eventually(lambda: any(map(found_dead, pair.sides().values())), "a side that hears nothing notices")
    pair.await_link()


def test_a_link_that_is_to_be_watched_closely_is(weathered: Weathered) -> None:
    """Red stands still, all of it: by now the two may know a way that leads around the proxies."""
    blue, red = weathered.pair.blue.control, weathered.pair.red_id
    blue.tune(red, keepalive=5.0)
    everybody = [process.pid for process in weathered.pair.red.control.processes()]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: found_dead((blue, red)), "the silence is noticed")
    finally:
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
    (silent,) = [entry.evidence for entry in blue.why(red).entries if "no sign of life" in entry.evidence]
    assert int(silent.split()[-2]) < 20, silent  # 5 + 5 of them; by default it would have been 25 + 5


def test_a_closed_door_is_tried_until_it_opens(weathered: Weathered) -> None:
    pair = weathered.pair
    with weathered.being(closed=True):
        for proxy in weathered.proxies:
            proxy.cut()
        eventually(lambda: pair.blue.control.find(pair.red_id).link.state == "Reconnecting", "it is tried again")
    pair.await_link()


def test_a_file_arrives_over_a_line_that_is_cut_again_and_again(weathered: Weathered) -> None:
    pair, over = weathered.pair, threading.Event()
    cuts: list[int] = []

    def cut() -> None:
        while not over.wait(1.5):  # shorter sessions would be met with backoff
            cuts.append(weathered.passed)
            for proxy in weathered.proxies:
                proxy.cut()

    cutter = threading.Thread(target=cut)
    with weathered.being(delay=0.01, rate=4e6):
        cutter.start()
        try:
            send(pair, f"cut-{secrets.token_hex(4)}.bin")
        finally:
            over.set()
            cutter.join()
    assert len(cuts) >= 2, "it was never cut"
    pair.await_link()
