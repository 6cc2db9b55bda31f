"""Every example runs and prints what it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="springline-example-"))
    yield path
    shutil.rmtree(path)


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_tree() -> None:
    said = run("springline.examples.own_tree").splitlines()
    assert said[0] == "apples: 7"
    assert said[1] == "pears: 1"
    assert said[2].startswith("pears crashed:")
    assert said[3:] == ["pears again: 1", "apples never noticed: 8"]


def test_subtree(folder: Path) -> None:
    assert run("springline.examples.subtree", str(folder)) == "visits: 1\n"


def test_core_app(folder: Path) -> None:
    app = "springline.examples.core_app"
    inviting = subprocess.Popen(
        [sys.executable, "-m", app, str(folder / "first"), "--invite", "--strength", "MINIMAL"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert inviting.stdout is not None
        uri = inviting.stdout.readline().strip()
        assert uri.startswith("springline://pair?words=")
        said = run(app, str(folder / "second"), "--join", uri, "--strength", "MINIMAL")
        heard, _ = inviting.communicate(timeout=60)
    finally:
        inviting.kill()
        inviting.wait()
    assert said == "notes over there: 1\n"
    assert "connected: second" in heard
    assert "heard: bye" in heard
    assert inviting.returncode == 0
    assert (folder / "first" / "notes.txt").read_text() == "milk, bread\n"


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_pairing_ui(folder: Path, answer: str) -> None:
    command = [sys.executable, "-m", "springline.examples.pairing_ui", "--strength", "MINIMAL"]
    pipe = subprocess.PIPE
    inviting = subprocess.Popen([*command, str(folder / "first")], stdin=pipe, stdout=pipe, text=True)
    assert inviting.stdin is not None
    assert inviting.stdout is not None
    try:
        inviting.stdin.write(f"{answer}\n")
        inviting.stdin.close()
        uri = inviting.stdout.readline().strip()
        joining = [*command, str(folder / "second"), uri]
        joined = subprocess.run(joining, input="yes\n", capture_output=True, text=True, timeout=60, check=False)
        here, there = inviting.stdout.read().splitlines(), joined.stdout.splitlines()
        inviting.wait(60)
    finally:
        inviting.kill()
        inviting.wait()
        inviting.stdout.close()
    digits = here[1].removeprefix("met: second ")
    assert there[1] == f"met: first {digits}"
    if answer == "yes":
        assert (inviting.returncode, joined.returncode) == (0, 0)
        assert (here[-1], there[-1]) == ("paired: second", "paired: first")
    else:
        assert (inviting.returncode, joined.returncode) == (1, 1)
        assert here[-1].startswith("failed: it was not confirmed here")
        assert there[-1] == "failed: it was not confirmed on the other device"
