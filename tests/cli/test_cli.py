"""Every command with ``--json``, as a script uses it; and every way it can fail."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from springline.cli.local import LocalNode, left_over
from springline.store.envelope import Strength
from springline.tests import forked
from springline.tests.nodes import Pair, QuickNode, eventually, kill_and_await, paired


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


@pytest.fixture
def lone() -> Iterator[LocalNode]:
    folder = Path(tempfile.mkdtemp(prefix="springline-test-"))
    node = QuickNode(folder / "lone", "lone", secrets.token_hex(8), Strength.MINIMAL)
    node.init()
    yield node
    node.down()
    assert not left_over(node.environment["SPRINGLINE_TOKEN"])
    shutil.rmtree(folder)


def good(node: LocalNode, *arguments: str, text: str = "") -> Any:
    done = node.run(*arguments, "--json", text=text)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bad(node: LocalNode, code: int, *arguments: str, text: str = "") -> str:
    """The one line on standard error."""
    done = node.run(*arguments, text=text)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


# -- two nodes -----------------------------------------------------------------------------------------------------


def test_devices_and_status(pair: Pair) -> None:
    devices = good(pair.blue, "devices")
    assert [(d["name"], d["state"], d["trust"], d["id"]) for d in devices] == [
        ("red", "Connected", "trusted", str(pair.red_id))
    ]
    status = good(pair.blue, "status")
    assert status["device"]["id"] == str(pair.blue_id)
    assert set(status["devices"][0]) >= {"id", "name", "state", "trust", "since", "reason", "next_attempt"}
    by_actor = {process["actor"]: process for process in status["processes"]}
    assert {"node", "keystore", "events", "transports.tcp", "pairing", "connections"} <= set(by_actor)
    link = by_actor[f"connections.{pair.red_id.hex}"]
    assert link["device"] == str(pair.red_id)
    os.kill(link["pid"], 0)


def test_a_message_is_an_event_on_the_other_side(pair: Pair) -> None:
    listening = forked.start(pair.red._command("events", "--json", "--count", "1"), pair.red.environment)
    try:
        while listening.poll() is None:  # until the listener is subscribed, messages pass it by
            assert good(pair.blue, "message", "red", "hello there")["delivered"] is True
        said, _ = listening.communicate(timeout=60)
    finally:
        listening.kill()
        listening.wait()
    event = json.loads(said)
    assert event["kind"] == "MessageReceived"
    assert event["device_id"] == str(pair.blue_id)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_send_a_file(pair: Pair, size: int) -> None:
    path = pair.folder / f"of {size} bytes.bin"
    path.write_bytes(os.urandom(size))
    sent = good(pair.blue, "send", "red", str(path))
    assert sent["bytes"] == size
    assert sent["blake3"] == blake3(path.read_bytes()).hexdigest()
    assert sent["seconds"] > 0
    assert (pair.folder / "red" / "incoming" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("by", ["name", "id", "prefix"])
def test_disconnect_and_connect(pair: Pair, by: str) -> None:
    device = {"name": "red", "id": str(pair.red_id), "prefix": str(pair.red_id)[:6]}[by]
    assert good(pair.blue, "disconnect", device)["state"] == "Disconnected"
    assert "you have disconnected" in bad(pair.blue, 1, "message", device, "anybody?")
    assert good(pair.blue, "connect", device)["state"] == "Connected"


def test_unknown_devices_and_files(pair: Pair) -> None:
    assert "nobody" in bad(pair.blue, 2, "message", "nobody", "hi")
    assert "no-such-file" in bad(pair.blue, 1, "send", "red", "no-such-file")
    assert "regular file" in bad(pair.blue, 2, "send", "red", str(pair.folder))


def test_a_handler_that_is_not_there(pair: Pair) -> None:
    from springline.errors import NoHandler
    from springline.protocols.message import Custom

    with pytest.raises(NoHandler, match="nonsense"):
        pair.blue.control.send(pair.red_id, Custom("x", 1, b""), protocol="nonsense")


def test_words_are_good_once(pair: Pair, lone: LocalNode) -> None:
    lone.up()
    invitation = good(pair.red, "invite")
    assert len(invitation["words"].split()) == 12
    assert invitation["uri"].startswith("springline://pair?")
    wrong = pair.blue.control.invite().words  # words of somebody else
    assert "gave no answer" in bad(lone, 1, "join", "--address", pair.red.listen, text=wrong)
    assert "12 words" in bad(lone, 2, "join", "--address", pair.red.listen, text="one two")
    assert "address" in bad(lone, 2, "join", text=invitation["words"])
    device = good(lone, "join", "--address", pair.red.listen, text=invitation["words"].upper())
    assert device["name"] == "red"
    assert "gave no answer" in bad(lone, 1, "join", "--address", pair.red.listen, text=invitation["words"])
    assert good(lone, "connect", "red")["state"] == "Connected"
    assert good(lone, "revoke", "red")["trust"] == "revoked"
    assert good(lone, "devices")[0]["state"] == "Failed(revoked)"
    assert "revoked" in bad(lone, 1, "connect", "red")
    assert good(pair.red, "disconnect", "lone")["state"] == "Disconnected"


# -- one node ------------------------------------------------------------------------------------------------------


def test_init_and_ready_line(tmp_path: Path) -> None:
    """As a user starts it, strength and all; what comes then, of that store."""
    node = LocalNode(tmp_path / "new", "new", secrets.token_hex(8))
    again = QuickNode(node.folder, "new", node.token)
    node.folder.mkdir()
    passphrase = tmp_path / "pass"
    passphrase.write_text("secret\n")
    passphrase.chmod(0o600)
    made = good(node, "init", "--name", "café", "--passphrase-file", str(passphrase))
    assert made["device"]["name"] == "café"
    assert "already" in bad(again, 2, "init", "--passphrase-file", str(passphrase))
    passphrase.chmod(0o644)
    assert "chmod 600" in bad(again, 1, "up", "--passphrase-file", str(passphrase))


def test_wrong_passphrase(lone: LocalNode, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    wrong.chmod(0o600)
    assert "passphrase is wrong" in bad(lone, 1, "up", "--passphrase-file", str(wrong))


def test_a_folder_for_received_files_that_is_none(lone: LocalNode) -> None:
    passphrase = lone.folder / "passphrase"
    wrong = bad(lone, 2, "up", "--incoming", str(passphrase), "--passphrase-file", str(passphrase))
    assert "not a directory" in wrong
    assert "--incoming" in wrong


def test_no_identity_and_no_node(tmp_path: Path) -> None:
    node = QuickNode(tmp_path, "none", secrets.token_hex(8))
    assert "springline init" in bad(node, 2, "up")
    for command in ("status", "devices", "invite", "events"):
        assert "springline up" in bad(node, 1, command)


def test_a_data_directory_in_use_and_a_port_taken(lone: LocalNode) -> None:
    passphrase = str(lone.folder / "passphrase")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert where in bad(lone, 1, "up", "--listen", where, "--passphrase-file", passphrase)
    lone.up()
    assert "another node" in bad(lone, 1, "up", "--passphrase-file", passphrase)
    assert good(lone, "devices") == []


def test_the_port_is_kept(lone: LocalNode) -> None:
    lone.up()
    first = lone.listen
    lone.down()
    lone.up()
    assert lone.listen == first


def test_a_damaged_identity_is_told(lone: LocalNode) -> None:
    (identity,) = (lone.folder / "network").glob("*.json")
    whole = identity.read_bytes()
    identity.write_bytes(whole[:-1])
    assert "damaged" in bad(lone, 1, "up", "--passphrase-file", str(lone.folder / "passphrase"))
    identity.write_bytes(whole)
    lone.up()


def test_who_listens_hears_that_the_node_has_stopped(lone: LocalNode) -> None:
    lone.up()
    with forked.start(lone._command("events", "--json"), lone.environment) as listening:
        subscribers = lone.folder / "run" / "bus" / "subscribers.json"
        eventually(lambda: f"/{listening.pid}." in subscribers.read_text(), "it has subscribed")
        kill_and_await(lone.control, "node")  # that is no end
        assert listening.poll() is None
        lone.down()
        said, errors = listening.communicate(timeout=60)
    assert (listening.returncode, said) == (1, "")
    assert errors.splitlines() == ["springline: the node has stopped (start it again with 'springline up')"]


def test_misuse() -> None:
    node = QuickNode(Path("/nonexistent"), "none", "x")
    for arguments in (["message", "red"], ["nonsense"], ["up", "--no-such-option"]):
        assert node.run(*arguments).returncode == 2
