"""How hypothesis runs: no wall-clock bounds, because a loaded machine is not a bug. And how this process forks.

The first text that is drawn on a fresh clone takes more than a second, while the table of Unicode is built.
"""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

settings.register_profile("springline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("springline")


def pytest_collection_finish() -> None:
    """What was imported stays: no child that tests fork from here need look through it for garbage, and copy it."""
    gc.collect()
    gc.freeze()
