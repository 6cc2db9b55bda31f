"""A fresh store for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from springline.store.vault import Vault
from springline.tests.store.cast import new_vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path / "data")
