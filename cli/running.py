"""A node's life: ``springline init``, ``up``, ``status``, ``events`` and ``demo``."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO
from uuid import UUID

import typer
from rich.markup import escape

from springline.cli.console import failures_told, out, print_json
from springline.cli.keys import warn_of_none
from springline.cli.options import DEFAULT_DIR, DataDir, Json, NoPassphrase, PassphraseFile
from springline.cli.passphrase import first_passphrase, present_passphrase, protection_level
from springline.cli.views import (
    NOBODY,
    device_json,
    devices_table,
    event_json,
    event_line,
    names_of,
    process_json,
    processes_table,
)
from springline.control import Control
from springline.errors import LocalFault, Misuse, SpringlineError


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
            warn_of_none(data_dir)
        if json:
            print_json({"device": {"id": str(info.device_id), "name": info.name}, "data_dir": str(data_dir)})
        else:
            out.print(f"[green]✓[/] {escape(info.name)} is [bold]{info.device_id}[/], kept in {escape(str(data_dir))}")


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
    key_lifetime: Annotated[
        float | None,
        typer.Option(help="Days for which keys shared with devices serve that no connection renews.", min=1, max=36500),
    ] = None,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="Stop when standard input ends: with the program that holds it open.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Run the node in the foreground, until Ctrl-C or SIGTERM."""
    from springline.actors.finding import Discovery
    from springline.node import Node

    with failures_told(), present_passphrase(data_dir, passphrase_file) as present:
        discovery = Discovery(mdns, dht, tuple(bootstrap or ()), port_mapping)
        if present.is_none:
            warn_of_none(data_dir)
        serve = None if key_lifetime is None else key_lifetime * 86400
        with Node.open(
            data_dir, present, listen=listen, incoming=incoming, discovery=discovery, key_lifetime=serve
        ) as node:
            stop = _on_termination()
            where, own = node.listening_at(), node.whoami()
            if json:
                print_json({"listen": str(where), "device": {"id": str(own.device_id), "name": own.name}})
            else:
                out.print(f"[green]✓[/] {escape(own.name)} is up, listening on [bold]{where}[/]. Ctrl-C stops it.")
            while not stop.is_set():
                if node.wait(0.5):
                    raise LocalFault("the node's processes are lost", "start it again")
                if until_eof and _is_at_end(sys.stdin):
                    return


def _is_at_end(stream: TextIO | None) -> bool:
    """Whether all who could write to it have closed it or are gone. What they have written is thrown away."""
    if stream is None:
        return True
    ready, _, _ = select.select([stream], [], [], 0)
    return bool(ready) and not os.read(stream.fileno(), 4096)


def _on_termination() -> threading.Event:
    stop = threading.Event()

    def told(_signal: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    return stop


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


def demo(json: Json = False) -> None:
    """See it work: two nodes on this machine, paired, talking, killed piece by piece, and back again."""
    from springline.cli.demo import run_demo
    from springline.cli.local import ended_in_order

    with failures_told(), ended_in_order():
        raise typer.Exit(run_demo(as_json=json))
