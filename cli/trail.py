"""What has happened: ``springline audit`` and ``history``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from springline.actors.keeping import ReadAudit, VerifyAudit
from springline.cli.console import err, failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Device, Json, PassphraseFile
from springline.cli.passphrase import Present, present_passphrase
from springline.cli.views import clock, day, names_of
from springline.control import Control
from springline.errors import Misuse, NotRunning
from springline.store.chain import Entry, Verdict
from springline.store.history import Session


def audit(
    data_dir: DataDir = DEFAULT_DIR,
    verify: Annotated[bool, typer.Option("--verify", help="Check that nothing was cut out or changed.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many entries, the latest.", min=1, max=10_000)] = 50,
    device: Annotated[str | None, typer.Option(help="Only those about this device.", metavar="DEVICE")] = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """The audit trail: pairings, connections, refusals, changes of trust, files.

    If no node runs, the passphrase is needed. With --verify the exit code is 1 if something is not as it was written.
    """
    with failures_told(), present_passphrase(data_dir, passphrase_file) as present:
        if verify:
            _verify(data_dir, present, json)
            return
        names = _names(data_dir)
        _show(_read(data_dir, present, ReadAudit(limit, _device(data_dir, device))), names, json)


def _read(data_dir: Path, present: Present, question: ReadAudit) -> list[Entry]:
    from springline.upkeep import inspect_audit

    found: list[Entry] = inspect_audit(data_dir, present, question)
    return found


def _verify(data_dir: Path, present: Present, json: bool) -> None:
    from springline.upkeep import inspect_audit

    verdict: Verdict = inspect_audit(data_dir, present, VerifyAudit())
    if json:
        print_json({"sound": verdict.sound, "entries": verdict.entries, "broken": verdict.broken or None})
    elif verdict.sound:
        out.print(f"[green]✓[/] {verdict.entries} entries, each unchanged and in its place")
    else:
        out.print(f"[red]✗[/] {escape(verdict.broken)}. {verdict.entries} entries are unchanged and in their places.")
    if not verdict.sound:
        raise typer.Exit(1)


def _names(data_dir: Path) -> dict[UUID, str]:
    """How the paired devices are called, if a node runs that can be asked."""
    try:
        with Control(data_dir) as node:
            return names_of(node.devices())
    except NotRunning:
        return {}


def _device(data_dir: Path, text: str | None) -> UUID | None:
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        pass
    try:
        with Control(data_dir) as node:
            return node.find(text).device.info.device_id
    except NotRunning:
        raise Misuse(f"no node runs that knows who '{text}' is", "give the whole id") from None


def _show(entries: list[Entry], names: dict[UUID, str], json: bool) -> None:
    if json:
        print_json({"entries": [_entry_json(entry) for entry in entries]})
        return
    table = Table("No", "When", "What", "Device", "", box=None, header_style="dim")
    for entry in reversed(entries):  # the latest last, where the eye is
        who = names.get(entry.device, str(entry.device)[:13]) if entry.device else ""
        when = f"{day(entry.at)} {clock(entry.at)}"
        table.add_row(str(entry.seq), when, escape(entry.kind), f"[bold]{escape(who)}[/]", escape(entry.detail))
    out.print(table)


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": entry.at.isoformat(),
        "kind": entry.kind,
        "device": str(entry.device) if entry.device else None,
        "detail": entry.detail,
    }


def history(device: Device, data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """The sessions with a device that have ended, the latest first."""
    with failures_told(), Control(data_dir) as node:
        info = node.find(device).device.info
        found = node.history(info.device_id)
        if json:
            print_json({"device": str(info.device_id), "sessions": [_session_json(session) for session in found]})
        elif found:
            out.print(_sessions_table(found))
        else:
            err.print(f"No session with {escape(info.name)} has ended yet.")


def _sessions_table(sessions: list[Session]) -> Table:
    table = Table("Began", "Lasted", "Address", "In", "Out", "Ended because", box=None, header_style="dim")
    for session in sessions:
        lasted = max(session.ended - session.began, timedelta())
        table.add_row(
            f"{day(session.began)} {clock(session.began)}",
            str(timedelta(seconds=round(lasted.total_seconds()))),
            ("to " if session.dialled else "from ") + escape(session.remote),
            decimal(session.received),
            decimal(session.sent),
            escape(session.reason) + (f" [dim]({session.count} times)[/]" if session.count > 1 else ""),
        )
    return table


def _session_json(session: Session) -> dict[str, Any]:
    return {
        "began": session.began.isoformat(),
        "ended": session.ended.isoformat(),
        "reason": session.reason,
        "dialled": session.dialled,
        "remote": session.remote,
        "received": session.received,
        "sent": session.sent,
        "count": session.count,
    }
