"""The commands of ``springline``. One function each: options in, one question to the node, one answer out."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import platformdirs
import typer
from rich.markup import escape

from springline import __version__
from springline.cli.console import err, failures_told, out, print_json
from springline.cli.passphrase import first_passphrase, present_passphrase, protection_level
from springline.cli.views import (
    device_json,
    devices_table,
    event_json,
    event_line,
    names_of,
    process_json,
    processes_table,
    transfer_bar,
)
from springline.control import Control
from springline.errors import LocalFault, Misuse, NotConnected, Refused, SpringlineError
from springline.store.devices import PairedDevice

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NODE, DEVICES, PAIRING, KEYS = "This node", "Paired devices", "Pairing and trust", "Keys and records"
"""The parts of ``springline --help``."""

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="SPRINGLINE_DATA_DIR", help="Where this device's identity is kept.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]
PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", help="Read the passphrase from this file.")]
NoPassphrase = Annotated[bool, typer.Option("--no-passphrase", help="Have none: who reads the files has the keys.")]
Device = Annotated[str, typer.Argument(help="Id, unique prefix of an id, or name.", metavar="DEVICE")]

NOBODY = "No device is paired yet. 'springline invite' here, 'springline join' there."

DEFAULT_DIR = Path(platformdirs.user_data_dir("springline", appauthor=False))


def run() -> None:
    """Parse the command line and run one command."""
    with contextlib.suppress(ValueError):  # a closed pipe on our output ends us quietly, as it does every tool
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app()


def _tell_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def springline(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Keeps paired devices connected. Pair once with twelve words; whatever breaks comes back by itself."""


# -- a node's life -------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=NODE)
def init(
    data_dir: DataDir = DEFAULT_DIR,
    name: Annotated[str | None, typer.Option(help="What other devices show. [default: this machine's name]")] = None,
    passphrase_file: PassphraseFile = None,
    no_passphrase: NoPassphrase = False,
    json: Json = False,
) -> None:
    """Make this device's identity, sealed with a passphrase. Once in a device's life."""
    from springline.node import Node

    with failures_told():
        if no_passphrase and passphrase_file:
            raise Misuse("a passphrase and none are both wanted", "choose one")
        passphrase = None if no_passphrase else partial(first_passphrase, passphrase_file)
        info = Node.create(data_dir, name or os.uname().nodename.split(".")[0] or "device", passphrase)
        if no_passphrase:
            _keys.warn_of_none(data_dir)
        if json:
            print_json({"device": {"id": str(info.device_id), "name": info.name}, "data_dir": str(data_dir)})
        else:
            out.print(f"[green]✓[/] {escape(info.name)} is [bold]{info.device_id}[/], kept in {escape(str(data_dir))}")


@app.command(rich_help_panel=NODE)
def up(
    data_dir: DataDir = DEFAULT_DIR,
    listen: Annotated[str, typer.Option(help="HOST or HOST:PORT; the port is chosen once and kept.")] = "0.0.0.0",  # noqa: S104
    incoming: Annotated[Path | None, typer.Option(help="Folder for received files.")] = None,
    mdns: Annotated[bool, typer.Option(help="Find devices on the local network.")] = True,
    dht: Annotated[bool, typer.Option(help="Find devices over the internet, by sealed records.")] = True,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(help="HOST:PORT to begin with there; may be repeated.", envvar="SPRINGLINE_BOOTSTRAP"),
    ] = None,
    port_mapping: Annotated[bool, typer.Option(help="Ask the router for a port (extra 'nat').")] = True,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Run the node in the foreground, until Ctrl-C or SIGTERM."""
    from springline.actors.finding import Discovery
    from springline.node import Node
    from springline.transport.address import Address

    with failures_told(), present_passphrase(data_dir, passphrase_file) as present:
        known = tuple(str(Address.parse(address)) for address in bootstrap or ())
        discovery = Discovery(mdns, dht, known, port_mapping)
        if present.is_none:
            _keys.warn_of_none(data_dir)
        with Node.open(data_dir, present, listen=listen, incoming=incoming, discovery=discovery) as node:
            stop = _on_termination()
            where, own = node.listening_at(), node.whoami()
            if json:
                print_json({"listen": str(where), "device": {"id": str(own.device_id), "name": own.name}})
            else:
                out.print(f"[green]✓[/] {escape(own.name)} is up, listening on [bold]{where}[/]. Ctrl-C stops it.")
            while not stop.is_set():
                if node.wait(0.5):
                    raise LocalFault("the node's processes are lost", "start it again")


def _on_termination() -> threading.Event:
    stop = threading.Event()

    def told(_signal: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    return stop


@app.command(rich_help_panel=NODE)
def status(data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """What runs, and how the links are."""
    with failures_told(), Control(data_dir) as node:
        own, links, processes = node.whoami(), node.devices(), node.processes()
        guard = protection_level(data_dir)
        if json:
            print_json(
                {
                    "passphrase": guard,
                    "device": {"id": str(own.device_id), "name": own.name, "listen": str(node.listening_at())},
                    "devices": [device_json(link) for link in links],
                    "pair_again": [known.name for known in node.known_before()],
                    "processes": [process_json(process) for process in processes],
                }
            )
            return
        out.print(f"[bold]{escape(own.name)}[/]  {own.device_id}  listening on {node.listening_at()}")
        if guard == "none":
            out.print("[yellow]no passphrase[/]: whoever reads the data directory has the keys")
        out.print(devices_table(links) if links else NOBODY, "")
        out.print(processes_table(processes, names_of(links)))


@app.command(rich_help_panel=DEVICES)
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


@app.command(rich_help_panel=NODE)
def events(
    data_dir: DataDir = DEFAULT_DIR,
    json: Json = False,
    count: Annotated[int | None, typer.Option(help="End after so many events.", min=1)] = None,
    timeout: Annotated[float | None, typer.Option(help="End after so many seconds without an event.")] = None,
) -> None:
    """What happens, as it happens; one line each."""
    with failures_told(), Control(data_dir) as node:
        names: dict[UUID, str] = {}
        for number, event in enumerate(node.events(timeout), start=1):
            if json:
                print_json(event_json(event))
            else:
                if event.device_id is not None and event.device_id not in names:
                    with contextlib.suppress(SpringlineError):  # one that has just been restarted, say
                        names = names_of(node.devices())
                out.print(event_line(event, names), soft_wrap=True)
            if count is not None and number >= count:
                return


# -- one device ----------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=DEVICES)
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


@app.command(rich_help_panel=DEVICES)
def disconnect(device: Device, data_dir: DataDir = DEFAULT_DIR, json: Json = False) -> None:
    """Close the link to a device and keep it down until 'connect'."""
    with failures_told(), Control(data_dir) as node:
        found = node.find(device).device.info
        node.disconnect(found.device_id)
        link = node.await_state(found.device_id, "Disconnected", 5.0)
        print_json(device_json(link)) if json else out.print(f"[green]✓[/] disconnected from {escape(found.name)}")


@app.command(rich_help_panel=DEVICES)
def message(
    device: Device,
    text: Annotated[str, typer.Argument(help="What to say.", metavar="TEXT")],
    data_dir: DataDir = DEFAULT_DIR,
    json: Json = False,
) -> None:
    """Send a text; the other side sees it in 'springline events'."""
    from springline.protocols.message import Custom

    with failures_told(), Control(data_dir) as node:
        found = node.find(device).device.info
        began = time.perf_counter()
        node.send(found.device_id, Custom("text", 1, text.encode()))
        took = time.perf_counter() - began
        if json:
            print_json({"device": str(found.device_id), "delivered": True, "seconds": took})
        else:
            out.print(f"[green]✓[/] delivered to {escape(found.name)} in {took * 1000:.1f} ms")


@app.command(rich_help_panel=DEVICES)
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
    """A file waits for a device that is away, but not for one that you keep away."""
    from springline.store.trust import BARRED

    name = device.info.name
    if device.trust in BARRED:
        raise Refused(f"{name} is {device.trust.value}", "pair it again")
    if not device.auto_connect:
        raise NotConnected(f"you have disconnected {name}", f"springline connect {name}")


@app.command(rich_help_panel=NODE)
def demo(json: Json = False) -> None:
    """See it work: two nodes on this machine, paired, talking, killed piece by piece, and back again."""
    from springline.cli.demo import run_demo

    with failures_told():
        raise typer.Exit(run_demo(as_json=json))


from springline.cli import doctor as _doctor  # noqa: E402, F401
from springline.cli import keys as _keys  # noqa: E402
from springline.cli import pairing as _pairing  # noqa: E402, F401
from springline.cli import trail as _trail  # noqa: E402, F401
from springline.cli import trust as _trust  # noqa: E402, F401
from springline.cli import tune as _tune  # noqa: E402, F401
from springline.cli import why as _why  # noqa: E402, F401 - further commands register themselves
