"""``springline why``: the story of one link, so that nobody has to guess why a device is not connected."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from springline.cli.console import failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Device, Json
from springline.cli.views import STATE_COLOURS, device_json, when
from springline.control import Control
from springline.transport.story import Entry


def why(device: Device, data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """Why a device is connected, or not: what happened, what was seen, what comes next and when."""
    with failures_told(), Control(data_dir) as node:
        status = node.find(device)
        entries = node.why(status.device.info.device_id).entries
        if json:
            print_json({**device_json(status), "story": [_json(entry) for entry in entries]})
            return
        link = status.link
        colour = STATE_COLOURS.get(link.state, "yellow")
        out.print(f"[bold]{escape(status.device.info.name)}[/] is [{colour}]{link.state}[/]: {escape(link.reason)}")
        if entries:
            out.print(f"Next: it {_next(entries[-1])}.\n")
            out.print(_table(entries))


def _table(entries: tuple[Entry, ...]) -> Table:
    table = Table(box=None, header_style="dim")
    for head in ("When", "Became", "Because"):
        table.add_column(head, overflow="fold")
    for entry in entries:
        colour = STATE_COLOURS.get(entry.after, "yellow")
        often = f" [dim]({entry.count} times since {_when(entry.since)})[/]" if entry.count > 1 else ""
        became = f"[{colour}]{escape(entry.after)}[/]"
        because = ": ".join(filter(None, (entry.cause.value, escape(entry.evidence))))
        table.add_row(_when(entry.at), became, because + often)
    return table


def _next(entry: Entry) -> str:
    due = "" if entry.next_at is None else f", at {_when(entry.next_at)} at the latest"
    return f"{entry.next.value}{due}"


def _when(moment: float) -> str:
    return when(datetime.fromtimestamp(moment).astimezone())


def _json(entry: Entry) -> dict[str, Any]:
    return {
        "at": _text(entry.at),
        "since": _text(entry.since),
        "before": entry.before,
        "after": entry.after,
        "cause": entry.cause.value,
        "evidence": entry.evidence,
        "next": entry.next.value,
        "next_at": None if entry.next_at is None else _text(entry.next_at),
        "times": entry.count,
    }


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat()
