"""The simulation, briefly: a few seeds hold, a seed is its own repetition, and resting changes nothing that matters."""

from __future__ import annotations

import json

import pytest

from springline.tests.simulation import __main__ as command
from springline.tests.simulation.batch import Total, run_many, run_one
from springline.tests.simulation.mutants import MUTANTS, planted
from springline.tests.simulation.world import Scenario, replay

BRIEF = 0.15
"""Of the days that a seed lives for in ``make simulate``."""


def brief(seed: int) -> Scenario:
    whole = Scenario.of(seed)
    return Scenario(seed, min(whole.nodes, 12), whole.days * BRIEF, whole.storm, only=whole.only)


@pytest.mark.parametrize("first", range(1, 41, 10))
def test_what_must_hold_holds(first: int) -> None:
    for seed in range(first, first + 10):
        assert run_one(brief(seed)).broken == "", f"python -m springline.tests.simulation --seed {seed}"


def test_a_seed_is_its_own_repetition() -> None:
    one, again = run_one(brief(7)), run_one(brief(7))
    assert one.events > 1000
    assert (one.events, one.steps, one.times) == (again.events, again.steps, again.times)


def test_another_seed_is_another_world() -> None:
    assert run_one(brief(7)).times != run_one(brief(8)).times


def test_fifty_nodes() -> None:
    result = run_one(Scenario(3, 50, 0.02, 3.0))
    assert result.broken == ""
    assert sum(map(len, result.times.values())) > 75


@pytest.mark.parametrize("seed", [13])
def test_without_rest_it_is_the_same_story(seed: int) -> None:
    """Not event by event, since less chance is drawn; but as much is reconnected, as quickly, and nothing broken."""
    resting = run_one(Scenario(seed, 2, 2.0, 3.0))
    restless = run_one(Scenario(seed, 2, 2.0, 3.0, rest=False))
    assert (resting.broken, restless.broken) == ("", "")
    assert restless.events > 1.5 * resting.events
    some, more = (sum(map(len, result.times.values())) for result in (resting, restless))
    assert 0.8 < some / more < 1.25


def test_a_month_of_a_pair_is_mostly_rest() -> None:
    result = run_one(Scenario(5, 2, 30.0, 0.3))
    assert result.broken == ""
    assert result.events < 30 * 86400 / 10


def test_totals_are_of_all() -> None:
    total = run_many([brief(1), brief(2)], jobs=2)
    assert total.seeds == 2
    assert sum(line.count for line in total.lines()) == sum(line.count for line in total.all_in_all()) > 0
    assert all(line.p50 <= line.p95 <= line.max < 60 for line in total.lines())


def test_percentiles() -> None:
    total = Total(times={(2, "x"): [float(each) for each in range(100, 0, -1)]})
    (line,) = total.lines()
    assert (line.count, line.p50, line.p95, line.max) == (100, 50.0, 95.0, 100.0)


# -- the command -------------------------------------------------------------------------------------------------------

SMALL = ["--nodes", "2", "--days", "0.1", "--storm", "10"]


def test_the_command_prints_what_came_of_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "4", *SMALL]) == 0
    assert "first start" in capsys.readouterr().out


def test_the_command_counts_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "4", "--seeds", "3", "--jobs", "2", "--json", *SMALL]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["seeds"], fields["nodes"], fields["violations"]) == (3, 6, {})


def test_the_command_makes_the_page_s_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "4", "--seeds", "2", "--jobs", "2", "--rst", *SMALL]) == 0
    rule, head, *_ = capsys.readouterr().out.splitlines()
    assert set(rule) == {"=", " "}
    assert head.split()[-4:] == ["times", "p50", "p95", "longest"]


def test_the_trace_tells_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "4", "--trace", *SMALL]) == 0
    assert "Connecting → " in capsys.readouterr().out


def test_a_violation_is_an_error_and_comes_back_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    with planted(MUTANTS[0]):
        assert command.main(["--seed", "1", *SMALL]) == 1
        err = capsys.readouterr().err
        assert f"seed 1: {MUTANTS[0].breaks[0]}" in err
        assert "--seed 1 --trace" in err
        assert command.main(["--seed", "1", "--trace", *SMALL]) == 1
        violation, lines = replay(Scenario.of(1, 2, 0.1, 10.0))
    assert violation is not None
    assert str(violation) in err
    assert lines
