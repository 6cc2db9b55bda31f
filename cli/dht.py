"""``springline dht``: a node of the distributed table and nothing else, for a machine that is always on.

It has no identity, opens no store and knows nobody: it keeps sealed records that it can't read, and tells where other
nodes are. Devices begin there with ``springline up --bootstrap HOST:PORT``.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import Annotated

import typer

from springline.cli.console import failures_told, out, print_json
from springline.cli.options import Json
from springline.transport.address import Address

DEFAULT = "0.0.0.0:7400"
"""Everywhere: being asked by others is the point."""


def dht(
    listen: Annotated[str, typer.Option(help="HOST:PORT, UDP; port 0 means any.")] = DEFAULT,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(help="HOST:PORT of other nodes; may be repeated.", envvar="SPRINGLINE_BOOTSTRAP"),
    ] = None,
    json: Json = False,
) -> None:
    """Run a node of the table by which devices find each other, in the foreground; it needs no identity."""
    with failures_told():
        asyncio.run(_run(Address.parse(listen), [Address.parse(address) for address in bootstrap or ()], json))


async def _run(listen: Address, bootstrap: Sequence[Address], json: bool) -> None:
    from springline.transport.discovery.joining import Membership
    from springline.transport.discovery.sockets import EVERYWHERE, bind
    from springline.transport.discovery.table import Table

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    both = [listen, Address("::", listen.port)] if listen.host == EVERYWHERE and listen.port else [listen]
    table = Table(bind(both, exactly=True))
    try:
        where = table.addresses[0]
        if json:
            print_json({"listen": str(where)})
        else:
            out.print(f"[green]✓[/] keeping records for others at [bold]{where}[/]. Ctrl-C stops it.")
        membership = asyncio.create_task(Membership(table, bootstrap).keep())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((membership, stopping), return_when=asyncio.FIRST_COMPLETED)
        membership.cancel()
        if not stop.is_set():
            await membership
    finally:
        table.close()
