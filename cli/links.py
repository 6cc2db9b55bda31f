"""The links: ``springline devices``, ``connect``, ``disconnect``, ``message`` and ``send``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from springline.cli.console import err, failures_told, out, print_json
from springline.cli.options import DEFAULT_DIR, DataDir, Device, Json
from springline.cli.views import NOBODY, TEXT, device_json, devices_table, transfer_bar
from springline.control import Control
from springline.errors import NotConnected, Refused
from springline.store.devices import PairedDevice


def devices(data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """The paired devices."""
    with failures_told(), Control(data_dir) as node:
        links = node.devices()
        if json:
            spread = node.revocations()
            print_json([device_json(link, spread) for link in links])
        elif links:
            out.print(devices_table(links))
        else:
            out.print(NOBODY)
        before = [] if json else [escape(known.name) for known in node.known_before()]
        if before:
            out.print(f"To be paired again: [bold]{', '.join(before)}[/].")


def connect(
    device: Device,
    data_dir: DataDir = DEFAULT_DIR,
    json: Json = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until it is connected.")] = 15.0,
    address: Annotated[str | None, typer.Option(help="HOST:PORT where it is, if you know; kept for later.")] = None,
) -> None:
    """Keep the link to a device up from now on, and wait until it is."""
    with failures_told(), Control(data_dir) as node:
        found = node.find(device).device.info
        node.connect(found.device_id, address)
        with err.status(f"connecting to {escape(found.name)}…"):
            link = node.await_state(found.device_id, "Connected", timeout)
        print_json(device_json(link)) if json else out.print(f"[green]✓[/] connected to {escape(found.name)}")


def disconnect(device: Device, data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """Close the link to a device and keep it down until 'connect'."""
    with failures_told(), Control(data_dir) as node:
        found = node.find(device).device.info
        node.disconnect(found.device_id)
        link = node.await_state(found.device_id, "Disconnected", 5.0)
        print_json(device_json(link)) if json else out.print(f"[green]✓[/] disconnected from {escape(found.name)}")


def message(
    device: Device,
    text: Annotated[str, typer.Argument(help="What to say.", metavar="TEXT")],
    data_dir: DataDir = DEFAULT_DIR,
    json: Json = False,
) -> None:
    """Send a text; the other side sees it in 'springline events'."""
    from springline.protocols.message import Custom

    with failures_told(), Control(data_dir) as node:
        known = node.find(device).device
        _refuse_if_kept_down(known)
        found = known.info
        began = time.perf_counter()
        node.send(found.device_id, Custom(TEXT, 1, text.encode()))
        took = time.perf_counter() - began
        if json:
            print_json({"device": str(found.device_id), "delivered": True, "seconds": took})
        else:
            out.print(f"[green]✓[/] delivered to {escape(found.name)} in {took * 1000:.1f} ms")


def send(
    device: Device,
    path: Annotated[Path, typer.Argument(help="The file to send.", metavar="PATH")],
    data_dir: DataDir = DEFAULT_DIR,
    json: Json = False,
) -> None:
    """Send a file; survives lost links and killed processes on either side."""
    with failures_told(), Control(data_dir) as node:
        found = node.find(device).device
        _refuse_if_kept_down(found)
        transfer = node.send_file(found.info.device_id, path)
        try:
            with transfer_bar(path.name, transfer.size) as watch:
                result = transfer.wait(watch)
        except KeyboardInterrupt:
            transfer.cancel()
            err.print(f"[yellow]Given up:[/] {escape(path.name)} was not sent.")
            raise
        if json:
            print_json({"bytes": result.size, "seconds": result.seconds, "blake3": result.blake3.hex()})
        else:
            rate = f"{result.seconds:.2f} s ({result.size / result.seconds / 1e6:.0f} MB/s)"
            out.print(f"[green]✓[/] {escape(path.name)}: {result.size:,} bytes in {rate}")


def _refuse_if_kept_down(device: PairedDevice) -> None:
    """What you keep away yourself is told with the way back; and no file waits for it."""
    from springline.store.trust import BARRED

    name = device.info.name
    if device.trust in BARRED:
        raise Refused(f"{name} is {device.trust.value}", "pair it again")
    if not device.auto_connect:
        raise NotConnected(f"you have disconnected {name}", f"springline connect {name}")
