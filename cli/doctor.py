"""``springline doctor``: which of the ways work, and what would help; a table that fills as results come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from springline.cli.console import failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Json
from springline.control import Control
from springline.doctor.report import Check, Report
from springline.errors import LocalFault, NotRunning

Rows = dict[tuple[UUID | None, str], Check]


def doctor(
    device: Annotated[
        str | None, typer.Argument(help="Try each of its addresses; without it all devices in brief.", metavar="DEVICE")
    ] = None,
    data_dir: DataDir = DEFAULT_DIR,
    json: Json = False,
) -> None:
    """Test the ways in and out one by one, and say what would help.

    Exit code 0 if everything works that is needed: the node, its listener, and the links you want.
    """
    with failures_told():
        with _shown(json) as told:
            report = _examined(data_dir, device, told)
        if json:
            print_json({"works": report.works, "checks": [_json(check) for check in report.checks]})
        if not report.works:
            raise LocalFault(f"not well: {'; '.join(_failure(check) for check in report.failures)}")


def _examined(data_dir: Path, device: str | None, told: Callable[[Check], object]) -> Report:
    from springline.doctor.offline import look

    try:
        node = Control(data_dir)
    except NotRunning:
        checks = list(look(data_dir))
        for check in checks:
            told(check)
        return Report(tuple(checks))
    with node:
        found = None if device is None else node.find(device).device.info.device_id
        return node.doctor(found, told)


@contextlib.contextmanager
def _shown(json: bool) -> Iterator[Callable[[Check], object]]:
    """Takes checks, and shows them on standard output as they come; on a terminal those under way, too."""
    rows: Rows = {}

    def note(check: Check) -> None:
        rows[check.device, check.what] = check

    if json:
        yield note
    elif not out.is_terminal:
        yield note
        out.print(_table(rows), soft_wrap=True)
    else:
        with Live(_table(rows), console=out, refresh_per_second=8) as live:

            def show(check: Check) -> None:
                note(check)
                live.update(_table(rows))

            yield show


def _table(rows: Rows) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in rows.values():
        helps = f"\n[yellow]→ {escape(check.advice)}[/]" if check.advice else ""
        table.add_row(_mark(check), f"[bold]{escape(check.what)}[/]", escape(check.seen) + helps)
    return table


def _mark(check: Check) -> Text | Spinner:
    if not check.done:
        return Spinner("dots")
    if check.works is None:
        return Text("–", "dim")
    if check.works:
        return Text("✓", "green")
    return Text("✗", "red") if check.needed else Text("!", "yellow")


def _failure(check: Check) -> str:
    return check.seen if check.what == "link" else f"{check.what}: {check.seen}"


def _json(check: Check) -> dict[str, Any]:
    steps = [{"step": step, "seconds": seconds, "error": error or None} for step, seconds, error in check.steps]
    return {
        "what": check.what,
        "device": None if check.device is None else str(check.device),
        "works": check.works,
        "needed": check.needed,
        "seen": check.seen,
        "advice": check.advice,
        "steps": steps,
    }
