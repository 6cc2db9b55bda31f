"""The interface others script against: each command, option, exit code and JSON key that is promised is there.

What is promised may be added to; nothing of it may go, or mean something else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from springline.cli import main
from springline.cli.app import app
from springline.cli.local import LocalNode
from springline.tests import forked
from springline.tests.cli.test_cli import bad, good
from springline.tests.nodes import PATIENCE, Pair, eventually, paired

COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "init": ([], ["--name", "--passphrase-file"]),
    "up": ([], ["--listen", "--passphrase-file"]),
    "invite": ([], []),
    "join": ([], ["--address"]),
    "devices": ([], []),
    "connect": (["DEVICE"], []),
    "disconnect": (["DEVICE"], []),
    "revoke": (["DEVICE"], []),
    "message": (["DEVICE", "TEXT"], []),
    "send": (["DEVICE", "PATH"], []),
    "events": ([], []),
    "status": ([], []),
    "demo": ([], []),
}
"""By command: its arguments, in order, and its own options."""

SECRETS = {"--passphrase", "--password", "--words", "--uri", "--key"}
"""What must never stand in a process's argument list."""

DEVICE = {"id", "name", "state", "trust", "since", "reason", "next_attempt"}
STATES = {"Connecting", "Authenticating", "Connected", "Reconnecting", "Disconnected"}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


def every_command(group: Any, above: str = "") -> dict[str, Any]:
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found.update(every_command(command, f"{above}{name} "))
        else:
            found[f"{above}{name}"] = command
    return found


ALL = every_command(typer.main.get_command(app))


def options(command: Any) -> dict[str, Any]:
    return {name: param for param in command.params for name in param.opts if name.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_promised_command_takes_what_it_should(name: str) -> None:
    arguments, own = COMMANDS[name]
    command = ALL[name]
    taken = [param for param in command.params if not any(option.startswith("-") for option in param.opts)]
    assert [param.metavar for param in taken] == arguments
    assert set(own) <= set(options(command))


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_command_can_be_scripted(name: str) -> None:
    command = ALL[name]
    known = options(command)
    assert "--json" in known
    if name not in ("demo", "dht"):  # the one has directories of its own, the other none
        assert known["--data-dir"].envvar == "SPRINGLINE_DATA_DIR"
    assert not SECRETS & set(known)
    assert command.help


# -- what comes out ------------------------------------------------------------------------------------------------


def test_the_ready_line_has_where_it_listens(pair: Pair) -> None:
    host, _, port = pair.red.listen.rpartition(":")  # LocalNode has taken it from the ready line
    assert host == "127.0.0.1"
    assert int(port) > 0


def test_invite_and_join(pair: Pair) -> None:
    invitation = good(pair.red, "invite")
    assert set(invitation) == {"words", "uri", "expires_at"}
    device = good(pair.blue, "join", text=invitation["uri"])
    assert {"id", "name", "trust"} <= set(device)
    assert (device["id"], device["name"]) == (str(pair.red_id), "red")


def test_devices_and_status(pair: Pair) -> None:
    pair.await_link()
    (device,) = good(pair.blue, "devices")
    assert set(device) >= DEVICE
    assert device["state"] in STATES
    status = good(pair.blue, "status")
    assert set(status) >= {"device", "devices", "processes"}
    assert set(status["devices"][0]) >= DEVICE
    for process in status["processes"]:
        assert set(process) - {"device"} == {"actor", "pid"}
        assert isinstance(process["pid"], int)
    assert [p["device"] for p in status["processes"] if "device" in p] == [str(pair.red_id)]


def test_connect_and_disconnect_answer_with_the_device(pair: Pair) -> None:
    for command, state in (("disconnect", "Disconnected"), ("connect", "Connected")):
        device = good(pair.blue, command, str(pair.red_id)[:8])
        assert set(device) >= DEVICE
        assert device["state"] == state


def test_send_answers_with_what_was_sent(pair: Pair) -> None:
    pair.await_link()
    path = pair.folder / "sent.bin"
    path.write_bytes(b"springline")
    sent = good(pair.blue, "send", "red", str(path))
    assert set(sent) == {"bytes", "seconds", "blake3"}
    assert (sent["bytes"], type(sent["seconds"]), len(sent["blake3"])) == (10, float, 64)


def test_events_are_one_object_a_line(pair: Pair) -> None:
    pair.await_link()
    with begun(pair.red, "events", "--json", "--count", "2") as listening:
        while listening.poll() is None:  # until the listener is subscribed, messages pass it by
            good(pair.blue, "message", "red", "grüß dich")
        said, _ = listening.communicate(timeout=PATIENCE)
    for line in said.splitlines():
        event = json.loads(line)
        assert set(event) >= {"kind", "device_id", "at", "message", "text"}
        assert (event["kind"], event["text"]) == ("MessageReceived", "grüß dich")
        assert event["message"]["protocol"] == "text"


@contextlib.contextmanager
def begun(node: LocalNode, *arguments: str, stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command that runs on; afterwards it is gone."""
    command, pipe = node._command(*arguments), subprocess.PIPE
    with (
        forked.start(command, node.environment)
        if stdout is None
        else subprocess.Popen(command, env=node.environment, stdout=stdout, stderr=pipe, text=True)
    ) as running:
        try:
            yield running
        finally:
            running.kill()


# -- when it can't be done -----------------------------------------------------------------------------------------


def test_a_file_is_not_sent_to_a_device_that_is_kept_away(pair: Pair) -> None:
    path = pair.folder / "kept.bin"
    path.write_bytes(b"x")
    good(pair.blue, "disconnect", "red")
    assert "springline connect red" in bad(pair.blue, 1, "send", "red", str(path), "--json")
    assert "springline connect red" in bad(pair.blue, 1, "message", "red", "anybody there?", "--json")
    good(pair.blue, "connect", "red")


def test_ctrl_c_gives_a_file_up(pair: Pair) -> None:
    """red is kept away on its own side, so that blue waits for it."""
    path = pair.folder / "given-up.bin"
    path.write_bytes(b"x")
    good(pair.red, "disconnect", "blue")
    eventually(lambda: pair.blue.control.find(pair.red_id).link.state != "Connected", "blue is alone")
    try:
        with begun(pair.blue, "send", "red", str(path), "--json") as sending:
            assert sending.stderr is not None
            assert "waits" in sending.stderr.readline()  # and why
            sending.send_signal(signal.SIGINT)
            said, errors = sending.communicate(timeout=PATIENCE)
            assert (sending.returncode, said) == (130, "")
            assert errors.endswith("Given up: given-up.bin was not sent.\n")
    finally:
        good(pair.red, "connect", "blue")
    pair.await_link()
    assert not (pair.folder / "red" / "incoming" / path.name).exists()


def test_ctrl_c_while_it_is_still_starting(pair: Pair) -> None:
    command = [sys.executable, "-X", "importtime", *pair.blue._command("devices")[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as starting:
        assert starting.stderr is not None
        for line in starting.stderr:
            if "rich." in line:  # it is in the midst of its imports
                break
        starting.send_signal(signal.SIGINT)
        said, errors = starting.communicate(timeout=PATIENCE)
    assert said == ""
    assert "Traceback" not in errors
    assert starting.returncode in (130, -signal.SIGINT)


def test_ctrl_c_while_it_makes_up_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("springline.cli.app.run", _interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def _interrupted() -> None:
    signal.raise_signal(signal.SIGINT)


def test_nothing_is_cut_in_a_pipe(pair: Pair) -> None:
    pair.await_link()
    said = pair.blue.run("devices").stdout.splitlines()
    assert len(said) == 2, said
    assert "Connected" in said[1]


@pytest.mark.parametrize("command", [["devices"], ["events", "--count", "1"], ["status"]])
def test_a_reader_that_has_had_enough(pair: Pair, command: list[str]) -> None:
    """Its end of the pipe is closed before we write: no traceback, and SIGPIPE ends us as it does every tool."""
    ours, theirs = os.pipe()
    os.close(ours)
    with begun(pair.red, *command, stdout=theirs) as running:
        os.close(theirs)
        while running.poll() is None:
            good(pair.blue, "message", "red", "more")
        assert running.returncode == -signal.SIGPIPE
        assert running.communicate()[1] == ""


def test_a_full_disk_behind_our_output(pair: Pair) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            pair.blue._command("devices", "--json"), env=pair.blue.environment, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr == "springline: no space left on device\n"


def test_standard_input_may_be_closed(pair: Pair) -> None:
    command = pair.blue._command("join")
    shell = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command]
    ran = subprocess.run(shell, env=pair.blue.environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "standard input is closed" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_revoke_answers_with_the_device(pair: Pair) -> None:
    """Last: the two are strangers afterwards."""
    device = good(pair.blue, "revoke", "red")
    assert {"id", "name", "trust"} <= set(device)
    assert device["trust"] == "revoked"
    path = pair.folder / "kept.bin"
    assert "is revoked" in bad(pair.blue, 1, "send", "red", str(path))
