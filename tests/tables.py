"""Nodes of the distributed table for the tests, on 127.0.0.1: as a user starts one, and one that is curious."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from springline.cli.local import TOKEN, left_over
from springline.transport.address import Address
from springline.transport.discovery.calls import At
from springline.transport.discovery.sockets import bind
from springline.transport.discovery.table import Table

ANYWHERE = Address("127.0.0.1", 0)


@contextlib.contextmanager
def table_node(*bootstrap: str, listen: Address = ANYWHERE, prefix: Sequence[str] = ()) -> Iterator[Address]:
    """``springline dht`` as a process; where it listens. Afterwards nothing of it is left.

    :param prefix: what it is started by, e.g. in a network namespace.
    """
    token = secrets.token_hex(8)
    command = [*prefix, sys.executable, "-m", "springline", "dht", "--listen", str(listen), "--json"]
    for address in bootstrap:
        command += ["--bootstrap", address]
    process = subprocess.Popen(command, env={**os.environ, TOKEN: token}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Address.parse(json.loads(process.stdout.readline())["listen"])
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert not left_over(token)


class Curious(Table):
    """Serves as any other, and notes whatever comes in."""

    seen: list[tuple[bytes, At]]

    def _received(self, datagram: bytes, at: At) -> None:
        self.seen = [*getattr(self, "seen", []), (datagram, at)]
        super()._received(datagram, at)


class Stranger:
    """A curious node in a thread of its own; a context manager."""

    def __enter__(self) -> Stranger:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.table = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        return self

    async def _open(self) -> Curious:
        return Curious(bind([Address("127.0.0.1", 0)]))

    async def _close(self) -> None:
        self.table.close()

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> Address:
        """Where it can be asked."""
        return self.table.addresses[0]

    @property
    def seen(self) -> list[bytes]:
        """Every datagram that has come."""
        return [datagram for datagram, _ in getattr(self.table, "seen", [])]

    def kept(self) -> list[bytes]:
        """Every parcel that it keeps, as it came."""
        return [kept.parcel.packed for kept in list(self.table.shelf._by_age.values())]
