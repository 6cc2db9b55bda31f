"""How far devices are trusted: ``springline trust``, ``revoke`` and ``approve``."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from springline.actors.keeping import PendingApproval
from springline.cli.console import err, failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Device, Json
from springline.cli.views import clock, names_of, paired_json, trust_text
from springline.control import Control
from springline.errors import Misuse
from springline.store.devices import PairedDevice, TrustLevel
from springline.store.trust import Policy

SPREAD_PATIENCE = 3.0
"""Seconds ``revoke`` waits until the devices that are connected know."""

_DAY = 86400
_NEVER = "never"


def trust(
    device: Device,
    level: Annotated[TrustLevel, typer.Argument(help="What it may do.", metavar="LEVEL", case_sensitive=False)],
    data_dir: DataDir = DEFAULT_DIR,
    until: Annotated[str | None, typer.Option(help="Until that day (YYYY-MM-DD), or 'never' to lift it.")] = None,
    unseen: Annotated[int | None, typer.Option(help="Until it was away for so many days; 0 to lift it.", min=0)] = None,
    json: Json = False,
) -> None:
    """How far a device is trusted: trusted, verified (what is sensitive waits for 'approve'), expired or revoked.

    Limits stay as they are unless they are given. Expired and revoked devices come back by pairing only.
    """
    with failures_told(), Control(data_dir) as node:
        found = node.find(device).device
        if level is TrustLevel.REVOKED:
            _revoke(node, found, json)
            return
        changed = node.set_trust(found.info.device_id, level, _policy(found, until, unseen))
        if json:
            print_json(paired_json(changed))
        else:
            out.print(f"[green]✓[/] {escape(changed.info.name)} is {trust_text(changed)}")


def revoke(device: Device, data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """Close the link at once, wipe the keys, never let the device in again, and tell the other devices."""
    with failures_told(), Control(data_dir) as node:
        _revoke(node, node.find(device).device, json)


def _revoke(node: Control, device: PairedDevice, json: bool) -> None:
    changed = node.revoke(device.info.device_id)
    known_by, of = _await_spread(node, device.info.device_id)
    if json:
        print_json({**paired_json(changed), "revocation": {"known_by": known_by, "of": of}})
        return
    out.print(f"[green]✓[/] {escape(changed.info.name)} is revoked. {_told(known_by, of)}")


def _await_spread(node: Control, device: UUID) -> tuple[int, int]:
    """Who knows, once the devices that are connected have had the time to say so."""
    end = time.monotonic() + SPREAD_PATIENCE
    while True:
        known_by, of = node.revocations().get(device, (0, 0))
        links = [link for link in node.devices() if link.device.trust is TrustLevel.TRUSTED]
        connected = sum(link.link.state == "Connected" for link in links)
        if known_by >= min(of, connected) or time.monotonic() >= end:
            return known_by, of
        time.sleep(0.05)


def _told(known_by: int, of: int) -> str:
    if of == 0:
        return "There is no other trusted device to tell."
    rest = "" if known_by == of else "; the others are told when they connect"
    return f"{known_by} of {of} other device{'' if of == 1 else 's'} know{'s' if of == 1 else ''}{rest}."


def _policy(device: PairedDevice, until: str | None, unseen: int | None) -> Policy | None:
    """The policy that is wanted, or None if nothing was said about it."""
    if until is None and unseen is None:
        return None
    expires_at = device.expires_at if until is None else _date(until)
    limit = device.unseen_limit if unseen is None else unseen * _DAY or None
    return Policy(expires_at, limit)


def _date(text: str) -> datetime | None:
    if text.strip().lower() == _NEVER:
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise Misuse(f"'{text}' is no date", "YYYY-MM-DD, or 'never'") from None


# -- approvals -----------------------------------------------------------------------------------------------------


def approve(
    wanted: Annotated[str | None, typer.Argument(help="Which; without it they are listed.", metavar="ID")] = None,
    data_dir: DataDir = DEFAULT_DIR,
    deny: Annotated[bool, typer.Option("--deny", help="Say no instead.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    json: Json = False,
) -> None:
    """What devices that are only verified ask for: list it, allow it, or deny it."""
    with failures_told(), Control(data_dir) as node:
        if wanted is not None and everything:
            raise Misuse("an ID and --all do not go together")
        if wanted is None and deny and not everything:
            raise Misuse("deny what?", "give an ID, or --all")
        waiting = node.approvals()
        if wanted is None and not everything:
            _list(node, waiting, json)
            return
        ids = [wanted] if wanted is not None else [one.id for one in waiting]
        settled = [node.approve(one, yes=not deny) for one in ids]
        if json:
            print_json([{**_json(one), "approved": not deny} for one in settled])
            return
        for one in settled:
            done = "[red]✗[/] denied" if deny else "[green]✓[/] approved"
            out.print(f"{done}: {escape(one.what)}")
        if not settled:
            err.print("Nothing waits for approval.")


def _list(node: Control, waiting: tuple[PendingApproval, ...], json: bool) -> None:
    if json:
        print_json([_json(one) for one in waiting])
        return
    if not waiting:
        out.print("Nothing waits for approval.")
        return
    names = names_of(node.devices())
    table = Table("Id", "Device", "Wants to", "Until", box=None, header_style="dim")
    for one in waiting:
        name = names.get(one.device, str(one.device)[:13])
        table.add_row(one.id, f"[bold]{escape(name)}[/]", escape(one.what), clock(one.expires_at))
    out.print(table)


def _json(one: PendingApproval) -> dict[str, Any]:
    return {
        "id": one.id,
        "device": str(one.device),
        "protocol": one.protocol,
        "what": one.what,
        "expires_at": one.expires_at.isoformat(),
    }
