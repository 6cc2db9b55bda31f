"""The ConnectionManager in a real node, where its children overlap; what else it does is seen in ``tests/chaos``."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path

from springline.actors.endpoint import Client
from springline.actors.finding import MDNS, Seek
from springline.actors.names import register, unregister
from springline.cli.local import left_over
from springline.store import opening
from springline.store.envelope import Strength
from springline.store.layout import Layout
from springline.supervisors.connections import AT_ONCE
from springline.tests.nodes import PATIENCE, QuickNode, eventually, kill, kill_and_await, paired, pid_of, process_of
from springline.tests.store.cast import LATER, ONE, info, pair


def test_a_device_paired_anew_while_its_former_process_still_ends_is_connected() -> None:
    with paired() as pair:
        name = f"connections.{pair.blue_id.hex}"
        former = process_of(pair.red.control, name)
        os.kill(former, signal.SIGSTOP)  # so that it takes all the time it is given to stop
        pair.red.control.revoke(pair.blue_id)
        pair.join()
        assert pid_of(pair.red.control, name) not in (None, former)


def test_a_reborn_manager_tells_the_finders_whom_to_seek_even_if_it_is_nobody() -> None:
    """They may know from its former life that somebody was sought; then they would not announce anew next time."""
    with paired() as pair:
        bus = str(pair.red.folder / "run" / "bus")
        finder = Client(bus)
        register(bus, MDNS, finder.path)
        kill(pair.red.control, "connections")
        told = finder.listen(PATIENCE)
        while told is not None and told[1] != Seek(frozenset()):
            told = finder.listen(PATIENCE)
        assert told is not None, "nobody is sought, and nobody has said so"
        unregister(bus, MDNS)
        finder.close()


def test_more_devices_than_start_at_once_all_get_their_process() -> None:
    many = 2 * AT_ONCE + 3
    token, folder = secrets.token_hex(8), Path(tempfile.mkdtemp(prefix="springline-test-"))
    node = QuickNode(folder, "hub", token, Strength.MINIMAL)
    try:
        node.init()
        vault = opening.unlock(Layout(folder), node.passphrase.encode())
        for number in range(1, many + 1):
            pair(vault, number)
            vault.set_auto_connect(info(number).device_id, False, LATER)
        with node:
            assert len(node.control.devices()) == many
            eventually(lambda: sum(p.device is not None for p in node.control.processes()) == many, "all have started")
            name = f"connections.{ONE.hex}"
            kill_and_await(node.control, name)
        assert not left_over(token)
    finally:
        shutil.rmtree(folder)
