"""SIGKILL of every kind of actor, on either side, while messages and a file flow."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest
from blake3 import blake3

from springline.actors.datagram import Fd
from springline.actors.keystore import KeystoreArgs
from springline.actors.messages import connection_name
from springline.actors.tcp import TcpArgs
from springline.control import Control
from springline.errors import SpringlineError
from springline.supervisors.asking import ROOT
from springline.supervisors.spec import SupervisorSpec
from springline.supervisors.tree import NodeArgs, node_tree
from springline.tests.nodes import Pair, echo, eventually, kill_and_await

CONNECTION = "connection"


def names(spec: SupervisorSpec, above: str) -> list[str]:
    """What a supervisor and all below it are called on the bus, as far as its spec says."""
    found = [above]
    for child in spec.children:
        name = child.name if above == ROOT else f"{above}.{child.name}"
        found += names(child.args, name) if isinstance(child.args, SupervisorSpec) else [name]
    return found


TREE = names(node_tree(NodeArgs(KeystoreArgs("", Fd(-1)), TcpArgs((), ()), "")), ROOT)
"""Every kind of actor in the tree, but for the connections, which follow the devices."""

FILE_SIZE = 24 << 20


class Chatter:
    """Sends messages both ways until told to stop; failures are expected while things are being killed."""

    def __init__(self, pair: Pair) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=side, daemon=True) for side in pair.sides().values()]
        self.sent = 0

    def _talk(self, node: Control, other: object) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(SpringlineError):
                echo(node, other)  # type: ignore[arg-type]
                self.sent += 1

    def __enter__(self) -> Chatter:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def test_no_kind_is_left_out(pair: Pair) -> None:
    for node, other in pair.sides().values():
        expected = {*TREE, connection_name(other)}
        eventually(lambda: {process.actor for process in node.processes()} == expected, f"{expected} and nobody else")  # noqa: B023


@pytest.mark.parametrize("side", ["blue", "red"])
@pytest.mark.parametrize("actor", [*TREE, CONNECTION])
def test_it_comes_back_and_the_file_is_whole(pair: Pair, side: str, actor: str) -> None:
    victim, other = pair.sides()[side]
    name = connection_name(other) if actor == CONNECTION else actor
    source = pair.folder / f"{side}-{actor}.bin"
    content = os.urandom(FILE_SIZE)
    source.write_bytes(content)
    everybody = {process.actor for process in victim.processes()}
    with Chatter(pair) as chatter:
        transfer = pair.blue.control.send_file(pair.red_id, source)
        eventually(lambda: transfer.progress().moved > 0, "the file is on its way")
        kill_and_await(victim, name)
        result = transfer.wait(timeout=60)
        before = chatter.sent
        pair.await_link()
        eventually(lambda: chatter.sent > before, "messages flow again")
    incoming = pair.folder / "red" / "incoming"
    assert result.blake3 == blake3(content).digest()
    assert (incoming / source.name).read_bytes() == content
    assert len(list(incoming.glob(f"{source.stem}*"))) == 1
    assert not list(incoming.glob(".*.part"))
    eventually(lambda: {process.actor for process in victim.processes()} >= everybody, "every actor is back")
    source.unlink()
    (incoming / source.name).unlink()
