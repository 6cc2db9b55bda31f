"""A few quick figures of the real benchmark: their shape is looked at, never how fast it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from springline.bench.figures import Figure, median, not_measured, p95
from springline.cli.local import TOKEN, left_over
from springline.tests.nodes import eventually

PATIENCE = 100.0


def measured(*subjects: str) -> dict[str, Any]:
    """The figures by name. Whatever happens, the benchmark takes its nodes away."""
    command = [sys.executable, "-m", "springline.bench", "--quick", "--json"]
    command += [f"--only={subject}" for subject in subjects]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
    assert process.returncode == 0, errors
    return {figure["name"]: figure for figure in json.loads(out)}


def test_a_few_quick_figures() -> None:
    figures = measured("connecting", "talking", "keystore")
    assert {"connect", "round_trip", "handshakes_answered", "handshakes_dialled"} <= figures.keys()
    for figure in figures.values():
        assert figure["why_not"] == ""
        assert figure["value"] > 0
        assert figure["runs"] >= 1
    connect = figures["connect"]
    assert (connect["limit"], connect["most"], connect["met"]) == ("≤ 10", 10, connect["value"] <= 10)


@pytest.mark.slow
def test_figures_of_the_network_or_why_there_are_none() -> None:
    for name, figure in measured("cables").items():
        assert (figure["value"] is None) == bool(figure["why_not"]), name
        assert not figure["why_not"].startswith("it failed"), figure


def tokens_below(pid: int) -> set[str]:
    """By which the processes of the nodes that a process has started are found, even if that one is gone."""
    found = set()
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            found.add(child.environ().get(TOKEN, ""))
    return found - {""}


def is_linked(token: str) -> bool:
    """Of that node, the process of a link runs."""
    names = []
    for pid in left_over(token):
        with contextlib.suppress(psutil.Error):
            names += psutil.Process(pid).cmdline()[:1]
    return any("connections." in name for name in names)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_it_however_it_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "springline.bench", "--only=kills"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        tokens: set[str] = set()

        def are_running() -> bool:
            tokens.update(tokens_below(process.pid))
            return sum(map(is_linked, tokens)) >= 2

        try:
            eventually(are_running, "its nodes run", PATIENCE)
        finally:
            process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    eventually(lambda: not any(map(left_over, tokens)), "none is left over")
    if number is signal.SIGTERM:
        assert process.returncode == 128 + number, errors
        assert not errors.strip()
        assert not list(tmp_path.iterdir())


def test_a_limit_is_met_or_missed_or_there_is_none() -> None:
    assert Figure("a", "a", 10.0, "ms", most=10).met
    assert not Figure("a", "a", 10.1, "ms", most=10).met
    assert not Figure("a", "a", 0.2, "s", most=1, least=0.3).met
    assert Figure("a", "a", 10.0, "ms").met is None
    assert not_measured("a", "a", "ms", "no").met is None


@pytest.mark.parametrize(("count", "place"), [(1, 0), (5, 4), (20, 19), (40, 38), (100, 95)])
def test_the_figure_that_95_of_100_are_no_more_than(count: int, place: int) -> None:
    values = [float(number) for number in range(count)]
    assert p95("a", "a", values[::-1], "ms").value == place
    assert sum(value <= place for value in values) >= 0.95 * count


def test_the_median() -> None:
    figure = median("a", "a", [3.0, 1.0, 2.0], "ms", most=2)
    assert (figure.value, figure.runs, figure.met) == (2.0, 3, True)
