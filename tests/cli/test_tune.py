"""``springline tune``, and what it does to a link, with real nodes."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from springline.actors.messages import connection_name
from springline.errors import Misuse, Refused
from springline.store.preferences import Tuning
from springline.tests.nodes import eventually, kill_and_await, paired

FAR = 2.0
"""Seconds: a retry that is further away than that can't be one of the usual first ones."""


def test_a_link_is_kept_up_as_eagerly_as_the_user_wants() -> None:
    with paired() as pair:
        usual = json.loads(pair.blue.run("tune", "red", "--json").stdout)
        assert usual == {"id": str(pair.red_id), "name": "red", **asdict(Tuning())}
        shown = pair.blue.run("tune", "red", "--keepalive", "60", "--retry-cap", "300")
        assert shown.returncode == 0
        assert "probed after 60 s" in shown.stdout
        assert "300 s at most" in shown.stdout
        refused = pair.blue.run("tune", "red", "--keepalive", "1")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "choose 5 to 3600 s" in refused.stderr
        with pytest.raises(Misuse, match="after the longest pause"):
            pair.blue.control.tune(pair.red_id, retry_first=301.0)
        assert json.loads(pair.blue.run("tune", "red", "--json").stdout)["keepalive"] == 60.0

        blue, red = pair.blue.control, pair.red_id

        def until_next() -> float:
            due = blue.find(red).link.next_attempt
            return (due - datetime.now(UTC)).total_seconds() if due is not None else 0.0

        blue.tune(red, retry_first=3600.0, retry_cap=86400.0)
        pair.red.down()
        eventually(lambda: until_next() > FAR, "the next attempt is far away")
        kill_and_await(blue, connection_name(red))
        eventually(lambda: until_next() > FAR, "a process born again knows what the user wants")
        told = json.loads(pair.blue.run("tune", "red", "--defaults", "--json").stdout)
        assert told == usual
        pair.red.up()
        eventually(lambda: blue.find(red).link.state == "Connected", "it does not wait for hours any more")
        blue.revoke(red)
        with pytest.raises(Refused, match="revoked"):
            blue.tune(red, keepalive=60.0)
