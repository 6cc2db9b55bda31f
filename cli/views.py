"""How devices, processes, events and progress look: as tables for people and as plain values for scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from springline.actors.messages import DeviceStatus
from springline.cli.console import err
from springline.control import Process
from springline.errors import Malformed
from springline.events import (
    ApprovalSettled,
    ApprovalWanted,
    ConnectionError,
    DeviceConnected,
    DeviceDisconnected,
    DevicePaired,
    DeviceRevoked,
    MessageReceived,
    NetworkEvent,
    PairingEnded,
    PairingProgress,
    StoreRepaired,
    TrustChanged,
    TrustExpiring,
    as_json,
)
from springline.protocols.files.asking import Progress
from springline.protocols.files.sending import Phase
from springline.protocols.message import Custom
from springline.store.devices import PairedDevice
from springline.store.trust import BARRED, span

TEXT = "text"
"""What the texts of ``springline message`` are called among custom messages."""

MOST_REASON = 100
"""Characters of a reason in a table of many; ``why`` tells all of it."""

NOBODY = "No device is paired yet. 'springline invite' here, 'springline join' there."

STATE_COLOURS = {"Connected": "green", "Failed": "red", "Disconnected": "dim"}


def clock(moment: datetime | None) -> str:
    """Local time of day."""
    return moment.astimezone().strftime("%H:%M:%S") if moment else ""


def when(moment: datetime | None) -> str:
    """Local time of day, and the date if that is another one than today."""
    if moment is None:
        return ""
    today = datetime.now().astimezone().date()
    return clock(moment) if moment.astimezone().date() == today else f"{day(moment)} {clock(moment)}"


def day(moment: datetime) -> str:
    """Local date."""
    return moment.astimezone().strftime("%Y-%m-%d")


def names_of(links: Iterable[DeviceStatus]) -> dict[UUID, str]:
    """How the devices are called."""
    return {link.device.info.device_id: link.device.info.name for link in links}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def paired_json(device: PairedDevice) -> dict[str, Any]:
    """A paired device, for scripts."""
    return {
        "id": str(device.info.device_id),
        "name": device.info.name,
        "trust": device.trust.value,
        "expires_at": _text(device.expires_at),
        "unseen_limit": device.unseen_limit,
    }


def device_json(status: DeviceStatus, spread: Mapping[UUID, tuple[int, int]] | None = None) -> dict[str, Any]:
    """A paired device and its link, for scripts.

    :param spread: how many devices know of which revocation, and how many there are.
    """
    link = status.link
    known = (spread or {}).get(status.device.info.device_id)
    told = {} if known is None else {"revocation": {"known_by": known[0], "of": known[1]}}
    return {
        **told,
        **paired_json(status.device),
        "state": link.state,
        "since": _text(link.since),
        "reason": link.reason,
        "next_attempt": _text(link.next_attempt),
    }


def process_json(process: Process) -> dict[str, Any]:
    """A process of the node, for scripts."""
    entry: dict[str, Any] = {"actor": process.actor, "pid": process.pid}
    if process.device is not None:
        entry["device"] = str(process.device)
    return entry


def devices_table(links: Iterable[DeviceStatus]) -> Table:
    """The paired devices, for people. In a narrow window it is the explanations that are cut, not who is meant."""
    table = Table(box=None, header_style="dim")
    for column in ("Device", "State", "Since", "Why", "Next try", "Trust", "Id"):
        table.add_column(column, no_wrap=column in ("Device", "State"), overflow="fold")
    for status in links:
        link, device = status.link, status.device
        colour = STATE_COLOURS.get(link.state, "yellow")
        table.add_row(
            f"[bold]{escape(device.info.name)}[/]",
            f"[{colour}]{link.state}[/]",
            when(link.since),
            escape(shorten(link.reason, MOST_REASON, placeholder=" …")),
            when(link.next_attempt),
            trust_text(device),
            f"[dim]{str(device.info.device_id)[:8]}[/]",
        )
    return table


def trust_text(device: PairedDevice) -> str:
    """How far a device is trusted, and until when, for people."""
    if device.trust in BARRED:
        return device.trust.value
    ends = [f"until {day(device.expires_at)}"] if device.expires_at else []
    if device.unseen_limit:
        ends.append(f"until away for {span(device.unseen_limit)}")
    return " ".join((device.trust.value, " or ".join(ends))).strip()


def processes_table(processes: Iterable[Process], names: Mapping[UUID, str]) -> Table:
    """The node's processes, for people."""
    table = Table("Process", "Pid", "Device", box=None, header_style="dim")
    for process in processes:
        name, _, rest = process.actor.rpartition(".")
        shown = f"{name}.{rest[:8]}…" if process.device else process.actor
        table.add_row(shown, str(process.pid), escape(names.get(process.device, "")) if process.device else "")
    return table


def event_json(event: NetworkEvent) -> dict[str, Any]:
    """An event, for scripts. What a message says is in ``message``; a text of ``springline message`` in ``text``."""
    told: dict[str, Any] = as_json(event)
    if isinstance(event, MessageReceived):
        try:
            said = event.message
        except Malformed as error:
            return {**told, "unreadable": error.message}
        told["message"] = as_json(said)
        if isinstance(said, Custom) and said.protocol == TEXT:
            told["text"] = said.payload.decode(errors="replace")
    return told


def event_line(event: NetworkEvent, names: Mapping[UUID, str]) -> str:
    """An event, for people. :param names: how the devices are called."""
    who = names.get(event.device_id, str(event.device_id)[:8]) if event.device_id else "this node"
    return f"[dim]{clock(event.at)}[/] [bold]{escape(who)}[/] {_what(event)}"


def _what(event: NetworkEvent) -> str:
    match event:
        case DeviceConnected():
            return "[green]connected[/]"
        case DeviceDisconnected(reason=reason):
            return f"[yellow]disconnected[/] ({escape(reason)})"
        case DeviceRevoked(reason=reason):
            return f"[red]revoked[/] {escape(reason)}"
        case DevicePaired(device_info=info):
            return f"[green]paired[/]: {escape(info.name)}"
        case PairingProgress(stage=stage, name=name, sas=sas):
            return f"pairing: {' '.join(filter(None, (stage.value, escape(name), sas)))}"
        case PairingEnded(paired=done, name=name, reason=reason):
            return f"pairing: {'done, ' + escape(name) if done else '[red]failed[/], ' + escape(reason)}"
        case TrustChanged(trust=trust, reason=reason):
            return f"is now [bold]{trust.value}[/] ({escape(reason)})"
        case TrustExpiring(expires_at=end):
            return f"[yellow]will not be trusted any more[/] from {day(end)} {clock(end)} on"
        case ApprovalWanted(approval=name, what=what, expires_at=end):
            return f"[yellow]asks to {escape(what)}[/]: springline approve {name}, until {clock(end)}"
        case ApprovalSettled(approval=name, reason=reason):
            return f"asked {name}: {escape(reason)}"
        case StoreRepaired(detail=detail):
            return f"[yellow]repaired[/]: {escape(detail)}"
        case ConnectionError(error=error):
            return f"[red]error[/]: {escape(error)}"
        case MessageReceived():
            return f"says {escape(_said(event))}"


def _said(event: MessageReceived) -> str:
    try:
        said = event.message
    except Malformed as error:
        return f"something unreadable ({error})"
    if isinstance(said, Custom) and said.protocol == TEXT:
        return repr(said.payload.decode(errors="replace"))
    return repr(said)


@contextlib.contextmanager
def transfer_bar(name: str, size: int) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on standard error; yields what shows how far it is, and why it waits.

    Where there is no terminal, only what it waits for is told, once for each reason.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    told = ""
    with Bar(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(escape(name), total=size)

        def watch(now: Progress) -> None:
            nonlocal told
            waits_for = now.reason if now.phase == Phase.WAITING.value else ""
            shown = f"{escape(name)} [yellow]waits: {escape(waits_for)}[/]" if waits_for else escape(name)
            bar.update(task, completed=now.moved, description=shown)
            if waits_for not in ("", told) and not err.is_terminal:
                err.print(shown)
            told = waits_for or told

        yield watch
