"""``springline tune``: how eagerly the link to one device is kept up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from springline.cli.console import failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Device, Json
from springline.control import Control
from springline.errors import Misuse
from springline.store.preferences import Tuning


def tune(
    device: Device,
    data_dir: DataDir = DEFAULT_DIR,
    keepalive: Annotated[float | None, typer.Option(help="Seconds of silence before it is probed.")] = None,
    retry_first: Annotated[float | None, typer.Option(help="Seconds at most before the first retry; doubles.")] = None,
    retry_cap: Annotated[float | None, typer.Option(help="Seconds at most between two retries.")] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="As for a device that was just paired.")] = False,
    json: Json = False,
) -> None:
    """How eagerly the link to a device is kept up: show it, or change it; an open link follows at once.

    A phone on a metered line may be left alone for longer; a link over a router that forgets quickly wants a shorter
    keep-alive. Retries never end, and whatever hints that the device is back makes one at once.
    """
    with failures_told(), Control(data_dir) as node:
        info = node.find(device).device.info
        chosen = (keepalive, retry_first, retry_cap)
        if defaults and chosen != (None, None, None):
            raise Misuse("--defaults does not go with a value")
        if defaults:
            chosen = tuple(asdict(Tuning()).values())
        changed = chosen != (None, None, None)
        tuning = (
            node.tune(info.device_id, keepalive=chosen[0], retry_first=chosen[1], retry_cap=chosen[2])
            if changed
            else node.tuning(info.device_id)
        )
        if json:
            print_json({"id": str(info.device_id), "name": info.name, **asdict(tuning)})
            return
        done = "[green]✓[/] " if changed else ""
        out.print(
            f"{done}[bold]{escape(info.name)}[/]: probed after {tuning.keepalive:g} s of silence; dialled again within "
            f"{tuning.retry_first:g} s, and with each failure up to twice as late, {tuning.retry_cap:g} s at most",
            soft_wrap=True,
        )
