"""``python -m springline.tests.simulation``: one seed, or many; exit 1 if something does not hold."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from springline.docs.table import simple_table
from springline.tests.simulation.batch import Line, Result, Total, run_many, run_one
from springline.tests.simulation.watch import Violation
from springline.tests.simulation.world import Scenario, World, replay

RARE = 100

LINES = 40
"""Lines of the trace shown of a seed that fails."""

WAYS = ("no known address works: to be found", "one can dial the other", "each can dial the other")
"""By how many of two knew an address that led to the other."""


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; the exit code."""
    given = _parser().parse_args(arguments)
    if given.seeds:
        return _many(given)
    scenario = _scenario(given, given.seed)
    if given.trace:
        return _trace(scenario)
    total = Total()
    total.add(run_one(scenario))
    return _report(given, total)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="springline.tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the seed, or with --seeds the first of them")
    parser.add_argument("--seeds", type=int, help="run so many")
    parser.add_argument("--nodes", type=int, help="so many, not what the seed says")
    parser.add_argument("--days", type=float, help="so long, not what the seed says")
    parser.add_argument("--storm", type=float, help="how much more often something happens than usual")
    parser.add_argument("--restless", action="store_true", help="leave nothing out that only repeats itself")
    parser.add_argument("--trace", action="store_true", help="print whatever happens")
    parser.add_argument("--jobs", type=int, help="processes; one for each core")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rst", action="store_true", help="print the table as docs/staying-connected.rst has it")
    return parser


def _scenario(given: argparse.Namespace, seed: int) -> Scenario:
    return Scenario.of(seed, given.nodes, given.days, given.storm, rest=not given.restless)


def _trace(scenario: Scenario) -> int:
    try:
        World(scenario, print).run()
    except Violation as violation:
        print(f"seed {scenario.seed}: {violation}", file=sys.stderr)
        return 1
    return 0


def _many(given: argparse.Namespace) -> int:
    scenarios: Iterator[Scenario] = (_scenario(given, seed) for seed in range(given.seed, given.seed + given.seeds))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{given.seeds:,} seeds", total=given.seeds)

        def done(result: Result) -> None:
            progress.advance(task)
            if result.broken:
                progress.console.print(f"seed {result.scenario.seed}: {result.broken}", highlight=False)

        total = run_many(scenarios, given.jobs, done)
    return _report(given, total)


def _report(given: argparse.Namespace, total: Total) -> int:
    if given.json:
        print(json.dumps(total.fields(), indent=2))
    elif given.rst:
        print(rst(total))
    else:
        _print(total)
    if total.violations:
        seed = min(total.violations)
        print(f"\nseed {seed}: {total.violations[seed]}", file=sys.stderr)
        _, lines = replay(_scenario(given, seed), LINES)
        print(f"\nThe end of seed {seed}; all of it: --seed {seed} --trace", *lines, sep="\n", file=sys.stderr)
    return 1 if total.violations else 0


def rst(total: Total) -> str:
    """For the page about it: seconds, by what had happened before. What was rare (``RARE``) is left out."""
    rows = []
    for whole in total.all_in_all():
        lines = [line for line in total.lines() if line.ways == whole.ways and line.count >= RARE]
        for name, line in ((f"**{WAYS[whole.ways]}**", whole), *((line.cause, line) for line in lines)):
            rows.append((name, f"{line.count:,}", f"{line.p50:.2f}", f"{line.p95:.2f}", f"{line.max:.2f}"))
    return simple_table(("what happened before", "times", "p50", "p95", "longest"), rows)


def _print(total: Total) -> None:
    table = Table(title="Seconds until two devices that can reach each other are connected (again)")
    for name in ("cause", "times", "p50", "p95", "max"):
        table.add_column(name, justify="left" if name == "cause" else "right")
    for whole in total.all_in_all():
        table.add_section()
        _row(table, whole, f"[bold]{WAYS[whole.ways]}")
        for line in total.lines():
            if line.ways == whole.ways:
                _row(table, line, f"  {line.cause}")
    console = Console()
    console.print(table)
    console.print(
        f"{total.seeds:,} seeds, {total.nodes:,} nodes, {total.node_days / 365.25:,.1f} node-years, "
        f"{total.events:,} events, {total.steps:,} steps of links, "
        f"{len(total.violations)} violations; {total.seconds:,.0f} s of a core, "
        f"{total.slowest[0]:.1f} s for seed {total.slowest[1]}"
    )


def _row(table: Table, line: Line, name: str) -> None:
    table.add_row(name, f"{line.count:,}", f"{line.p50:.2f}", f"{line.p95:.2f}", f"{line.max:.2f}")


if __name__ == "__main__":
    sys.exit(main())
