"""The ConnectionManager in a real node, where its children overlap; what else it does is seen in ``tests/chaos``."""

from __future__ import annotations

import os
import signal

from springline.tests.nodes import paired, pid_of


def test_a_device_paired_anew_while_its_former_process_still_ends_is_connected() -> None:
    with paired() as pair:
        name = f"connections.{pair.blue_id.hex}"
        former = pid_of(pair.red.control, name)
        assert former is not None
        os.kill(former, signal.SIGSTOP)  # so that it takes all the time it is given to stop
        pair.red.control.revoke(pair.blue_id)
        pair.join()
        assert pid_of(pair.red.control, name) not in (None, former)
