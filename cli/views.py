"""How devices, processes, events and progress look: as tables for people and as plain values for scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from springline.actors.messages import DeviceStatus
from springline.cli.console import err
from springline.control import Process
from springline.errors import Malformed
from springline.events import (
    ConnectionError,
    DeviceConnected,
    DeviceDisconnected,
    DevicePaired,
    DeviceRevoked,
    MessageReceived,
    NetworkEvent,
)
from springline.protocols.message import Custom
from springline.store.devices import PairedDevice

STATE_COLOURS = {"Connected": "green", "Failed": "red", "Disconnected": "dim"}


def clock(moment: datetime | None) -> str:
    """Local time of day."""
    return moment.astimezone().strftime("%H:%M:%S") if moment else ""


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def paired_json(device: PairedDevice) -> dict[str, Any]:
    """A paired device, for scripts."""
    return {"id": str(device.info.device_id), "name": device.info.name, "trust": device.trust.value}


def device_json(status: DeviceStatus) -> dict[str, Any]:
    """A paired device and its link, for scripts."""
    link = status.link
    return {
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
    """The paired devices, for people."""
    table = Table("Device", "State", "Since", "Why", "Next try", "Trust", "Id", box=None, header_style="dim")
    for status in links:
        link, device = status.link, status.device
        colour = STATE_COLOURS.get(link.state, "yellow")
        table.add_row(
            f"[bold]{escape(device.info.name)}[/]",
            f"[{colour}]{link.state}[/]",
            clock(link.since),
            escape(link.reason),
            clock(link.next_attempt),
            device.trust.value,
            f"[dim]{str(device.info.device_id)[:13]}[/]",
        )
    return table


def processes_table(processes: Iterable[Process], names: Mapping[UUID, str]) -> Table:
    """The node's processes, for people."""
    table = Table("Process", "Pid", "Device", box=None, header_style="dim")
    for process in processes:
        name, _, rest = process.actor.rpartition(".")
        shown = f"{name}.{rest[:8]}…" if process.device else process.actor
        table.add_row(shown, str(process.pid), escape(names.get(process.device, "")) if process.device else "")
    return table


def event_line(event: NetworkEvent) -> str:
    """An event, for people."""
    who = f"[bold]{str(event.device_id)[:8]}[/]" if event.device_id else "this node"
    return f"[dim]{clock(event.at)}[/] {who} {_what(event)}"


def _what(event: NetworkEvent) -> str:
    match event:
        case DeviceConnected():
            return "[green]connected[/]"
        case DeviceDisconnected(reason=reason):
            return f"[yellow]disconnected[/] ({escape(reason)})"
        case DeviceRevoked():
            return "[red]revoked[/]"
        case DevicePaired(device_info=info):
            return f"[green]paired[/]: {escape(info.name)}"
        case ConnectionError(error=error):
            return f"[red]error[/]: {escape(error)}"
        case MessageReceived():
            return f"says {escape(_said(event))}"


def _said(event: MessageReceived) -> str:
    try:
        said = event.message
    except Malformed as error:
        return f"something unreadable ({error})"
    if isinstance(said, Custom) and said.protocol == "text":
        return repr(said.payload.decode(errors="replace"))
    return repr(said)


@contextlib.contextmanager
def transfer_bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields what tells it the bytes done so far."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(escape(name), total=size)
        yield lambda done: progress.update(task, completed=done)
