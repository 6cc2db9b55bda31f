"""``springline demo``: the main job, with a smaller file and fewer kills, and what its exit code says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from springline.cli.demo import Seen, run_demo

PROMISED = {
    "connect_ms", "round_trip_ms_p50", "file_mb_per_s", "reconnect_ms", "reconnect_ms_p50", "orphans",
}  # fmt: skip


def test_it_works_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(as_json=True, file_size=1 << 20, kills=2) == 0
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    seen = json.loads(line)
    assert set(seen) >= PROMISED
    assert len(seen["reconnect_ms"]) == 2
    assert set(seen["reconnect_ms_after"]) == {"keystore", "transports.tcp", "connections"}
    assert (seen["intact"], seen["orphans"]) == (True, 0)


GOOD = Seen(1.0, 1.0, 1.0, [1.0, 2.0], 1.5, {"keystore": 1.0, "transports.tcp": 1.0, "connections": 1.0}, True, 0)


@pytest.mark.parametrize(
    ("seen", "good"),
    [
        (GOOD, True),
        (replace(GOOD, intact=False), False),
        (replace(GOOD, reconnect_ms=[1.0]), False),
        (replace(GOOD, reconnect_ms_after={"keystore": 1.0}), False),
        (replace(GOOD, orphans=1), False),
        (Seen(), False),
    ],
)
def test_it_is_good_only_if_all_arrived_and_all_came_back(seen: Seen, good: bool) -> None:
    assert seen.all_well(kills=2) is good
