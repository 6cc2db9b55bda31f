"""What the documentation refers to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import springline

ROOT = Path(springline.__file__).parent
PAGES = [*ROOT.glob("*.rst"), *(ROOT / "docs").glob("*.rst")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_that_a_page_names_exist(page: Path) -> None:
    for path, test in re.findall(r"``((?:\w+/)+\w+\.py)(?:::(\w+))?``", page.read_text()):
        assert (ROOT / path).is_file(), f"{page.name} names {path}"
        if test:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{page.name} names {path}::{test}"


def test_the_threat_model_names_its_proofs() -> None:
    text = (ROOT / "docs" / "security.rst").read_text()
    assert len(set(re.findall(r"::(test_\w+)``", text))) > 25
