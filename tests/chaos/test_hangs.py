"""SIGSTOP: a process that hangs is found by its pings and replaced."""

from __future__ import annotations

import os
import signal

import pytest

from springline.tests.nodes import Pair, eventually, pid_of, process_of


@pytest.mark.parametrize("actor", ["protocols.echo", "connection"])
def test_a_hung_actor_is_replaced(pair: Pair, actor: str) -> None:
    node, other = pair.sides()["blue"]
    name = f"connections.{other.hex}" if actor == "connection" else actor
    hung = process_of(node, name)
    os.kill(hung, signal.SIGSTOP)
    eventually(lambda: pid_of(node, name) not in (None, hung), f"{name} is another process", patience=60)
    pair.await_link()
