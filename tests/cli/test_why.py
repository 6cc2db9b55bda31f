"""``springline why`` tells what happened to a link, with real nodes."""

from __future__ import annotations

import json

from springline.actors.messages import connection_name
from springline.tests.nodes import eventually, kill, paired


def test_why_tells_the_story_of_a_killed_link() -> None:
    with paired() as pair:
        blue = pair.blue.control
        kill(blue, connection_name(pair.red_id))
        pair.await_link()

        def causes() -> list[str]:
            return [entry.cause.value for entry in blue.why(pair.red_id).entries]

        eventually(lambda: "its process ended" in causes(), "the killed process is in the story")
        told = json.loads(pair.blue.run("why", "red", "--json").stdout)
        assert told["story"][0]["cause"] == "the keeper of the links has started"
        assert told["state"] == "Connected"
        ended = next(entry for entry in told["story"] if entry["cause"] == "its process ended")
        assert "SIGKILL" in ended["evidence"]
        assert told["story"][-1]["next"] == "probes it when it falls silent"
        shown = pair.blue.run("why", "red")
        assert "red is Connected" in shown.stdout
        kill(blue, "connections")
        pair.await_link()
        eventually(lambda: "history" in blue.why(pair.red_id).entries[0].evidence, "a story that was lost says so")
        pair.red.down()
        eventually(lambda: causes()[-1] != "the device called", "the lost session is told")
        unreached = [entry for entry in blue.why(pair.red_id).entries if "refused" in entry.evidence]
        eventually(
            lambda: any("refused" in entry.evidence for entry in blue.why(pair.red_id).entries),
            "what was seen at the address is told",
        )
        assert all(entry.next_at is not None for entry in unreached)
