"""``audit`` and ``history`` from a shell: nodes pair, connect, send, are killed and stopped, and all of it is told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from springline.actors.keeping import Audit
from springline.actors.messages import KEYSTORE
from springline.cli.local import LocalNode
from springline.store.devices import TrustLevel
from springline.tests.cli.test_cli import bad, good
from springline.tests.nodes import Pair, eventually, kill, paired


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


def entries(node: LocalNode, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = good(node, "audit", *arguments)["entries"]
    return found


def kinds(node: LocalNode) -> list[str]:
    """Oldest first."""
    return [entry["kind"] for entry in reversed(entries(node, "--limit", "1000"))]


def offline(node: LocalNode, *arguments: str) -> tuple[int, Any]:
    """While the node does not run."""
    done = node.run("audit", *arguments, "--passphrase-file", str(node.folder / "passphrase"), "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_a_life_is_told_from_its_beginning(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "a file.bin"
    path.write_bytes(os.urandom(5000))
    good(pair.blue, "send", "red", str(path))
    pair.blue.control.set_trust(pair.red_id, TrustLevel.VERIFIED)
    pair.blue.control.set_trust(pair.red_id, TrustLevel.TRUSTED)
    assert kinds(pair.blue)[:4] == ["trail begun", "identity made", "paired", "session began"]
    eventually(lambda: "file received" in kinds(pair.red), "red has noted the file")
    latest = entries(pair.blue, "--limit", "10")
    told = [entry for entry in latest if not entry["kind"].startswith(("session", "key"))][:3]
    assert [entry["kind"] for entry in told] == ["trust", "trust", "file sent"]
    assert told[2]["detail"] == "a file.bin (5000 bytes)"
    assert told[2]["device"] == str(pair.red_id)
    assert [entry["seq"] for entry in told] == sorted((entry["seq"] for entry in told), reverse=True)
    assert {entry["device"] for entry in entries(pair.blue, "--device", "red")} == {str(pair.red_id)}
    assert entries(pair.blue, "--device", str(pair.blue_id)) == []
    shown = pair.blue.run("audit", "--limit", "9").stdout
    assert "a file.bin" in shown
    assert "red" in shown
    assert "nobody" in bad(pair.blue, 2, "audit", "--device", "nobody")


def test_it_is_sound_and_a_cut_is_told_while_the_node_runs(pair: Pair) -> None:
    whole = good(pair.blue, "audit", "--verify")
    assert (whole["sound"], whole["broken"]) == (True, None)
    eventually(lambda: good(pair.blue, "audit", "--verify")["entries"] == len(kinds(pair.blue)), "each is looked at")
    assert "each unchanged" in pair.blue.run("audit", "--verify").stdout
    log = pair.red.folder / "network" / "audit.log"
    eventually(lambda: log.stat().st_mtime < time.time() - 0.5, "red is quiet")
    before = log.read_bytes()
    lines = before.splitlines(keepends=True)
    with log.open("r+b") as file:  # the node has it open as well
        file.write(b"".join([*lines[:2], *lines[3:]]))
        file.truncate()
    done = pair.red.run("audit", "--verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["sound"] is False
    assert json.loads(done.stdout)["broken"] == "entry 3 is missing"
    with log.open("r+b") as file:
        file.write(before)
    assert good(pair.red, "audit", "--verify")["sound"]


def test_sessions_are_in_the_history_with_why_they_ended(pair: Pair) -> None:
    before = len(good(pair.blue, "history", "red")["sessions"])
    good(pair.blue, "disconnect", "red")
    good(pair.blue, "connect", "red")
    pair.await_link()
    told = good(pair.blue, "history", "red")
    assert told["device"] == str(pair.red_id)
    latest = told["sessions"][0]
    assert len(told["sessions"]) > before
    assert latest["reason"] == "disconnected by the user"
    assert latest["began"] <= latest["ended"]
    assert min(latest["sent"], latest["received"]) > 0
    assert latest["remote"]
    there = good(pair.red, "history", "blue")["sessions"]  # it has called since, and was not wanted
    ended = next(one for one in there if one["reason"] == "the other side says: disconnected by the user")
    assert ended["dialled"] is not latest["dialled"]
    assert "disconnected" in pair.blue.run("history", "red").stdout
    assert "nobody" in bad(pair.blue, 2, "history", "nobody")


def test_a_killed_link_and_a_killed_keystore_leave_both_whole(pair: Pair) -> None:
    kill(pair.blue.control, f"connections.{pair.red_id.hex}")

    def noticed() -> bool:
        sessions = good(pair.blue, "history", "red")["sessions"]  # a later one may have been replaced since
        return any(session["reason"] == "its process was killed" for session in sessions)

    eventually(noticed, "the killed session has ended")
    pair.await_link()
    before = kinds(pair.blue)
    kill(pair.blue.control, "keystore")
    eventually(lambda: kinds(pair.blue)[: len(before)] == before, "the next Keystore reads on")
    assert good(pair.blue, "audit", "--verify")["sound"]


def test_a_handshake_does_not_wait_for_a_verification(pair: Pair) -> None:
    for number in range(3000):
        pair.blue.control.ask(KEYSTORE, Audit(f"number {number}", None, "x" * 500))
    assert good(pair.blue, "audit", "--verify")["sound"]
    assert len(entries(pair.blue, "--limit", "3000")) == 3000


def test_it_is_read_and_verified_while_no_node_runs(pair: Pair) -> None:
    pair.red.down()
    code, told = offline(pair.red)
    assert code == 0
    assert told["entries"][0]["kind"] == "session ended"
    assert offline(pair.red, "--device", str(pair.blue_id))[1]["entries"]
    code, told = offline(pair.red, "--device", "blue")
    assert (code, "whole id" in told) == (2, True)
    count = len(offline(pair.red, "--limit", "999")[1]["entries"])
    assert offline(pair.red, "--verify") == (0, {"sound": True, "entries": count, "broken": None})
    log = pair.red.folder / "network" / "audit.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-2]))
    code, told = offline(pair.red, "--verify")
    assert (code, told["sound"]) == (1, False)
    assert "missing" in told["broken"]
    pair.red.up()
    pair.await_link()
    assert pair.red.run("audit", "--verify").returncode == 1
    assert pair.red.control.history(pair.blue_id)[0].reason == "the node is stopping"
