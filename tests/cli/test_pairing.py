"""``springline invite`` and ``join``: what a script gets, and what a person sees on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import socket
import stat
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from springline.cli.local import LocalNode
from springline.tests import forked
from springline.tests.cli.test_qr import read
from springline.tests.nodes import PATIENCE, Pair, eventually, kill, paired, pid_of


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with paired() as running:
        yield running


def begin(node: LocalNode, *arguments: str) -> subprocess.Popen[str]:
    """A command that runs on, its input, output and errors piped."""
    return forked.start(node._command(*arguments), node.environment)


def invitation_in(path: Path) -> dict[str, str]:
    """What the command has written there for scripts."""
    eventually(lambda: path.exists() and path.read_text().endswith("\n"), "the invitation is written")
    told: dict[str, str] = json.loads(path.read_text())
    return told


def test_a_script_pairs(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "invitation"
    inviting = begin(pair.red, "invite", "--wait", "--json", "--invitation-file", str(path))
    told = invitation_in(path)
    assert set(told) == {"words", "uri", "expires_at"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    joined = pair.blue.run("join", "--json", text=told["uri"])
    assert joined.returncode == 0, joined.stderr
    there = json.loads(joined.stdout)
    assert (there["name"], there["id"], there["renewed"]) == ("red", str(pair.red_id), True)
    said, errors = inviting.communicate(timeout=PATIENCE)
    here = json.loads(said)
    assert inviting.returncode == 0
    assert here == {**told, "device": here["device"], "sas": there["sas"], "renewed": True}
    assert here["device"]["name"] == "blue"
    assert re.fullmatch(r"\d{3} \d{3}", here["sas"])
    for shown in (errors, joined.stderr):  # people see the digits all the same
        assert here["sas"] in shown
        assert len(set(told["words"].split()) & set(shown.split())) < 4  # some are words of ours: "before", "wait"


def test_without_a_file_the_words_are_for_people(pair: Pair) -> None:
    inviting = begin(pair.red, "invite", "--wait", "--json")
    assert inviting.stderr is not None
    while (found := re.search(r"springline://\S+", inviting.stderr.readline())) is None:
        pass
    assert pair.blue.run("join", "--json", text=found[0]).returncode == 0
    said, _ = inviting.communicate(timeout=PATIENCE)
    assert json.loads(said)["uri"] == found[0]


@pytest.mark.parametrize(("here", "there"), [("y", "y"), ("n", "y"), ("y", "n"), ("y", "")])
def test_both_may_ask(pair: Pair, tmp_path: Path, here: str, there: str) -> None:
    path = tmp_path / "invitation"
    inviting = begin(pair.red, "invite", "--wait", "--confirm", "--json", "--invitation-file", str(path))
    joining = begin(pair.blue, "join", "--confirm", "--json")
    words = invitation_in(path)["uri"]
    for process, text in ((inviting, f"{here}\n"), (joining, f"{words}\n{there}")):
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None  # for communicate
    said_here, _ = inviting.communicate(timeout=PATIENCE)
    said_there, errors = joining.communicate(timeout=PATIENCE)
    if (here, there) == ("y", "y"):
        assert json.loads(said_here)["sas"] == json.loads(said_there)["sas"]
    else:
        assert (inviting.returncode, joining.returncode) == (1, 1)
        assert said_here == said_there == ""
        assert "not confirmed" in errors


def test_words_that_became_void(pair: Pair, tmp_path: Path) -> None:
    inviting = begin(pair.red, "invite", "--wait", "--invitation-file", str(tmp_path / "invitation"))
    assert invitation_in(tmp_path / "invitation")
    pid = kill(pair.red.control, "pairing")
    _, errors = inviting.communicate(timeout=PATIENCE)
    assert inviting.returncode == 1
    assert "words are void" in errors
    eventually(lambda: pid_of(pair.red.control, "pairing") not in (None, pid), "a new process")


def test_misuse(pair: Pair) -> None:
    for arguments in (["--confirm"], ["--invitation-file", "x"]):
        done = pair.red.run("invite", *arguments)
        assert done.returncode == 2
        assert "--wait" in done.stderr
    words = pair.red.control.invite().words.split()
    done = pair.blue.run("join", *words)
    assert done.returncode == 2
    assert "it asks for the words" in done.stderr
    assert words[0] not in done.stderr


def test_a_pipe_sees_no_blocks_unless_it_asks(pair: Pair) -> None:
    plain = pair.red.run("invite").stdout
    assert "springline://" in plain
    assert "▀" not in plain
    pair.red.environment["COLUMNS"] = "100"
    shown = pair.red.run("invite", "--qr").stdout
    lines = [line for line in shown.splitlines() if re.search("[▀▄█]", line)]
    width = max(map(len, lines))
    found = re.search(r"springline://\S+", shown)
    assert found is not None
    assert read([line.ljust(width) for line in lines], ink_is_dark=False) == found[0]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, node: LocalNode, *arguments: str) -> None:
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        environment = {**node.environment, "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        environment.pop("COLUMNS", None)
        command = node._command(*arguments)
        self.process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> str:
        """Everything shown, once ``text`` is."""
        while text not in self.shown:
            self.shown += os.read(self.fd, 4096).decode(errors="replace")
        return self.shown

    def type(self, text: str) -> None:
        """A line."""
        os.write(self.fd, f"{text}\n".encode())

    def end(self) -> int:
        """Its exit code."""
        try:
            while more := os.read(self.fd, 4096):
                self.shown += more.decode(errors="replace")
        except OSError:  # so a terminal says that nobody has it open any more
            pass
        os.close(self.fd)
        return self.process.wait(PATIENCE)


def test_what_two_people_see(pair: Pair) -> None:
    here = Terminal(pair.red, "invite", "--wait", "--confirm")
    shown = here.until("until ")
    lines = re.findall("\x1b\\[[0-9;]*m([ ▀▄█]{20,})\x1b\\[0m", shown)
    uri = read(lines, ink_is_dark=True)  # by the camera
    there = Terminal(pair.blue, "join", "--confirm")
    there.until("Twelve words or URI")
    there.type(uri)
    for terminal in (here, there):
        terminal.until("[y/N]")
        terminal.type("y")
    assert (here.end(), there.end()) == (0, 0)
    digits = [re.findall(r"\d{3} \d{3}", terminal.shown.partition("same digits")[2])[0] for terminal in (here, there)]
    assert digits[0] == digits[1]
    assert "renewed the pairing with" in here.shown
    assert "blue" in here.shown
    assert "red" in there.shown


def test_a_terminal_without_a_code(pair: Pair) -> None:
    plain = Terminal(pair.red, "invite", "--no-qr")
    assert plain.end() == 0
    assert "▀" not in plain.shown


@pytest.mark.parametrize(
    ("banner", "told"), [(b"SSH-2.0-OpenSSH_9.6\r\n", "looks like SSH"), (b"", "gave no answer"), (None, "refused")]
)
def test_an_address_that_is_not_the_inviters_is_told_with_what_to_do(
    pair: Pair, banner: bytes | None, told: str
) -> None:
    words = pair.red.control.invite().words
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{listening.getsockname()[1]}"

        def answer() -> None:
            caller, _ = listening.accept()
            with caller:
                caller.sendall(banner or b"")

        if banner is not None:
            listening.listen()
            threading.Thread(target=answer, daemon=True).start()
        done = pair.blue.run("join", "--address", where, text=words)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for part in (where, told, "'springline status' on the inviting device"):
        assert part in done.stderr
    assert pair.blue.run("join", "--address", pair.red.listen, text=words).returncode == 0, "the words are still good"
