"""The numbers, measured on real nodes on this machine and printed beside their limits, as a table and as JSON.

``--only SUBJECT`` (may be repeated) measures a part, ``--quick`` a few runs of each, ``--json`` prints the JSON alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from springline.bench import crowd, finding, idle, keystore, network, pair, store
from springline.bench.figures import Figure, not_measured
from springline.bench.sitting import Sitting
from springline.cli.local import ended_in_order
from springline.errors import SpringlineError
from springline.tests.network.lab import NoLab

SUBJECTS: dict[str, Callable[[Sitting], Iterator[Figure]]] = {
    "connecting": pair.measure_connecting,
    "talking": pair.measure_talking,
    "files": pair.measure_files,
    "kills": pair.measure_kills,
    "starts": pair.measure_starts,
    "keystore": keystore.measure_keystore,
    "crowd": crowd.measure_crowd,
    "store": store.measure_store,
    "addresses": network.measure_addresses,
    "cables": network.measure_cables,
    "sleep": network.measure_sleep,
    "dead-paths": network.measure_dead_paths,
    "finding": finding.measure_finding,
    "idle-traffic": idle.measure_idle_traffic,
}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m springline.bench", description=__doc__)
    options.add_argument("--json", action="store_true", help="JSON alone")
    options.add_argument("--quick", action="store_true", help="a few runs, to see that it works")
    options.add_argument("--only", action="append", choices=SUBJECTS, metavar="SUBJECT", help=", ".join(SUBJECTS))
    chosen = options.parse_args()
    console = Console(stderr=True)
    with ended_in_order():
        figures = list(_measure(console, chosen.only or list(SUBJECTS), quick=chosen.quick))
    if not chosen.json:
        console.print(_table(figures))
    print(json.dumps([{**asdict(figure), "limit": figure.limit, "met": figure.met} for figure in figures]))


def _measure(console: Console, subjects: list[str], *, quick: bool) -> Iterator[Figure]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress, Sitting(progress, quick=quick) as sitting:
        overall = progress.add_task("all", total=len(subjects))
        for subject in subjects:
            try:
                yield from SUBJECTS[subject](sitting)
            except NoLab as why:
                yield not_measured(subject, subject, "", str(why))
            except (SpringlineError, AssertionError) as error:
                print(f"{subject}: {error}", file=sys.stderr)
                yield not_measured(subject, subject, "", f"it failed: {error}")
            progress.advance(overall)


def _table(figures: list[Figure]) -> Table:
    table = Table("What", "Measured", "", "Limit", "", "Runs", box=None, header_style="dim")
    for figure in figures:
        measured = "–" if figure.value is None else f"{figure.value:.2f}"
        met = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[figure.met]
        table.add_row(figure.what, measured, figure.unit, figure.why_not or figure.limit, met, str(figure.runs))
    return table


main()
