"""Each planted bug is seen, by the rule that it breaks; and without it the same worlds hold."""

from __future__ import annotations

import pytest

from springline.tests.simulation.batch import run_one
from springline.tests.simulation.mutants import MUTANTS, Mutant, caught


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_seen(mutant: Mutant) -> None:
    found = caught(mutant)
    assert found is not None, "nobody has noticed"
    seed, broken = found
    assert broken.partition(":")[0] in mutant.breaks, broken
    assert run_one(mutant.scenario(seed)).broken == "", "it is not the bug that is seen"
