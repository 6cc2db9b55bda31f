"""``springline dht``: a node of the table for others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from springline.tests.tables import table_node
from springline.transport.address import Address
from springline.transport.discovery.parcels import make
from springline.transport.discovery.records import RECORD_SIZE
from springline.transport.discovery.sockets import bind
from springline.transport.discovery.table import Table

PARCEL = make(b"s" * 32, bytes(RECORD_SIZE), 1)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "springline", "dht", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_stops_when_told(number: signal.Signals) -> None:
    process = start("--listen", "127.0.0.1:0", "--json")
    assert process.stdout is not None
    where = Address.parse(json.loads(process.stdout.readline())["listen"])
    assert (where.host, where.port > 0) == ("127.0.0.1", True)
    process.send_signal(number)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (0, "", "")


def test_a_person_sees_a_line() -> None:
    process = start("--listen", "127.0.0.1:0")
    assert process.stdout is not None
    assert "keeping records for others at 127.0.0.1:" in process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)


def test_two_of_them_keep_what_a_third_finds(tmp_path: Path) -> None:
    async def play(first: Address, second: Address) -> None:
        one, other = (Table(bind([Address("127.0.0.1", 0)])) for _ in range(2))
        try:
            assert await one.join([(first.host, first.port)])
            while await one.put(PARCEL) < 2:  # noqa: ASYNC110 - until the two know each other
                await asyncio.sleep(0.05)
            assert await other.join([(second.host, second.port)])
            assert await other.get(PARCEL.place) == (PARCEL,)
        finally:
            one.close()
            other.close()

    with table_node() as first, table_node(str(first)) as second:
        asyncio.run(asyncio.wait_for(play(first, second), 60))


def test_what_stands_in_the_way_is_one_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        process = start("--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--json")
        said, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said == ""
    assert "no UDP socket could be bound" in errors
    assert "Traceback" not in errors
    process = start("--listen", "nonsense")
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
