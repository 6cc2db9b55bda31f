"""A slow import holds nobody up."""

from __future__ import annotations

import asyncio
import sys

import pytest

from springline.transport.late import imported

SLOW = "springline.tests.slow_to_import"


def test_the_loop_goes_on_meanwhile() -> None:
    async def play() -> int:
        turns = 0
        importing = asyncio.create_task(imported(SLOW))
        while not importing.done():
            await asyncio.sleep(0.001)
            turns += 1
        await importing
        return turns

    sys.modules.pop(SLOW, None)
    assert asyncio.run(play()) > 5
    assert SLOW in sys.modules


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(ModuleNotFoundError):
        asyncio.run(imported("springline.there_is_no_such_module"))
