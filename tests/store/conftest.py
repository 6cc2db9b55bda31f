"""A fresh store for a test, and where it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from springline.store.vault import Vault
from springline.tests.memory import in_memory
from springline.tests.store.cast import new_vault

__all__ = ["in_memory"]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's, in memory, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="springline-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path / "data")
