"""A narrow line that is full."""

from __future__ import annotations

import os
import shutil

import pytest

from springline.tests.network.couple import couple
from springline.tests.network.lab import Lab


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tc") is None, reason="there is no 'tc' here")
def test_a_narrow_line_that_is_full_is_not_taken_for_a_dead_one(network: Lab) -> None:
    """What probes it waits behind seconds of data. The file would arrive all the same, at the price of new links."""
    with couple(network.host("red", "10.77.0.1"), network.host("blue", "10.77.0.2")) as pair:
        node, red = pair.blue.node.control, pair.red_id
        pair.blue.narrow("400kbit", "8s")
        path = network.folder / "long.bin"
        path.write_bytes(os.urandom(2 << 20))
        node.send_file(red, path).wait()
        lost = [entry for entry in node.why(red).entries if entry.before == "Connected" != entry.after]
        assert not lost
