"""Stops of every scope at any moment of runs in one process: no intent of their scope stands behind the seal."""

from collections import Counter

import pytest
from benchmarks.kill_races import KINDS, race


@pytest.mark.parametrize("first", [0, 15])
async def test_nothing_of_the_scope_is_written_after_the_seal(first: int) -> None:
    kinds: Counter[str] = Counter()
    before = 0
    for seed in range(first, first + 15):
        found = await race(seed)
        assert found.late == 0, f"seed {seed}: {found}"
        assert found.held == 0, f"seed {seed}: a run outside of the scope did not succeed"
        kinds[found.kind] += 1
        before += found.before
    assert before > 50, "nothing was going on"
    assert len(kinds) > len(set(KINDS)) / 2
