"""Libraries that are heavy and seldom needed: imported when they are, beside the loop and not in it.

The rule: a process that answers nobody for a while is taken for hung, killed and begun anew. On a slow or very busy
machine an import can take longer than that, and begins anew with each new process: so it never ends. In a thread it
may take as long as it does.
"""

from __future__ import annotations

import asyncio
import importlib


async def imported(module: str) -> None:
    """Returns when it is imported: from then on an ``import`` of it takes no time."""
    await asyncio.to_thread(importlib.import_module, module)
