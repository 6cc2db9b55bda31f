"""Processes that are forked from the nursery behave as any others."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import springline
from springline.cli.local import TOKEN, left_over
from springline.tests.forked import Forked, start
from springline.tests.nodes import eventually

WAIT = "import sys; print('begun', flush=True); sys.stdin.read()"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, TOKEN: secrets.token_hex(8), **more}


def python(*arguments: str, text: str = "", **more: str) -> tuple[int, str, str]:
    with start([sys.executable, *arguments], environment(**more)) as process:
        assert isinstance(process, Forked)
        output, errors = process.communicate(text, timeout=60.0)
        return process.wait(), output, errors


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("print('out')", (0, "out\n", "")),
        ("import sys; sys.exit(3)", (3, "", "")),
        ("import sys; sys.exit('no')", (1, "", "no\n")),
        ("import os; os.kill(os.getpid(), 9)", (-signal.SIGKILL, "", "")),
        ("import signal, os; os.kill(os.getpid(), signal.SIGTERM)", (-signal.SIGTERM, "", "")),
        ("import sys; print(sys.stdin.read(), file=sys.stderr)", (0, "", "in\n")),
        ("import sys; print(sys.argv, __name__)", (0, "['-c', 'a', 'b'] __main__\n", "")),
        ("import atexit; atexit.register(print, 'late')", (0, "late\n", "")),
        ("import os; print(os.environ['SPRINGLINE_A'])", (0, "1\n", "")),
        ("import random; print(random.random() == random.Random(1).random())", (0, "False\n", "")),
        ("import os; print(len(os.listdir('/proc/self/fd')))", (0, "4\n", "")),
    ],
)
def test_it_ends_as_python_does(code: str, ended: tuple[int, str, str]) -> None:
    arguments = ("a", "b") if "argv" in code else ()
    assert python("-c", code, *arguments, text="in", SPRINGLINE_A="1") == ended


def test_what_is_raised_is_told_and_is_a_failure() -> None:
    code, output, errors = python("-c", "raise KeyError('x')")
    assert (code, output) == (1, "")
    assert errors.endswith("KeyError: 'x'\n")


def test_a_module_is_the_command_line_as_it_is() -> None:
    for arguments in (["--version"], ["--help"], ["no-such-command"], ["devices", "--data-dir", "/nonexistent"]):
        command = [sys.executable, "-m", "springline", *arguments]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60.0, check=False)
        assert python(*command[1:]) == (done.returncode, done.stdout, done.stderr)


def test_each_is_found_by_its_own_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with start([sys.executable, "-c", WAIT], one := environment()) as first:
        with start([sys.executable, "-c", WAIT], other := environment()) as second:
            for process in (first, second):
                assert process.stdout is not None
                assert process.stdout.readline() == "begun\n"
                assert process.poll() is None
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.01)
                assert psutil.Process(process.pid).cwd() == str(tmp_path)
            assert left_over(one[TOKEN]) == [first.pid]
            assert left_over(other[TOKEN]) == [second.pid]
            second.kill()
            assert second.wait() == -signal.SIGKILL
            assert left_over(other[TOKEN]) == []
        assert first.communicate(timeout=60.0) == ("", "")
        assert first.returncode == 0


def test_what_python_would_read_while_it_starts_makes_it_start() -> None:
    for command, more in (
        ([sys.executable, "-c", "pass"], {"COLUMNS": "40"}),
        ([sys.executable, "-S", "-c", "pass"], {}),
        (["true"], {}),
        ([sys.executable, "-c", "pass"], {TOKEN: "longer than there is room for"}),
    ):
        with start(command, environment(**more)) as process:
            assert not isinstance(process, Forked)
            assert process.communicate() == ("", "")
            assert process.returncode == 0


def test_it_ends_with_who_has_asked_for_it() -> None:
    """So does a command that reads its standard input, as nodes of tests do."""
    token = secrets.token_hex(8)
    code = (
        "import os, sys; from springline.tests.forked import start\n"
        f"started = start([sys.executable, '-c', {WAIT!r}], os.environ); started.stdout.readline()\n"
        "from springline.tests import forked; print(forked.nursery()._process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env={**os.environ, TOKEN: token}, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        nursery = int(process.stdout.readline())
        assert len(left_over(token)) == 2
        process.kill()
    eventually(lambda: not left_over(token), "what it has started has ended")
    eventually(lambda: not psutil.pid_exists(nursery), "so has the nursery")


def test_all_of_the_package_has_been_imported() -> None:
    folder = Path(springline.__file__).parent
    rooms = ("actors", "cli", "doctor", "protocols", "store", "supervisors", "transport")
    modules = {
        ".".join(("springline", *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
        for room in rooms
        for path in (folder / room).rglob("*.py")
    }
    _, output, _ = python("-c", "import sys; print(*sys.modules, sep='\\n')")
    assert modules <= set(output.splitlines())
