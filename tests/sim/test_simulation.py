"""The whole engine under seeded faults: nothing lost, nothing doubled. `make sim SEEDS=100000` looks at more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sim.world.coverage import table
from tests.sim.world.many import simulate
from tests.sim.world.seeds import Tally, run_seed

pytestmark = pytest.mark.usefixtures("killed_processes")
SEEDS = 1000
ROOT = Path(__file__).parents[2]
AT_LEAST = {
    "runs": 6000,
    "effects": 3500,
    "claims": 12_500,
    "crash": 425,
    "crash at a step": 125,
    "stall": 500,
    "stall at a step": 150,
    "stalled between intent and call": 125,
    "wall clock jump": 1000,
    "drain": 350,
    "line: refused": 3000,
    "line: unanswered": 1000,
    "line: late": 500,
    "line: terminated": 50,
    "database crash": 400,
    "outage": 250,
    "disk full": 300,
    "append: skipped": 500,
    "append: fenced": 150,
    "append: stopped": 150,
    "not sealed": 10,
    "cancel": 300,
    "kill": 350,
    "kill of: everything": 250,
    "kill of: tenant": 350,
    "kill of: agent": 25,
    "kill of: customer": 25,
    "kill of: tool": 100,
    "pause of: agent": 40,
    "pause of: customer": 35,
    "pause of: tool": 200,
    "pause of: session": 5,
    "pause of: tenant": 35,
    "pause": 500,
    "decided: approve": 375,
    "decided: deny": 75,
    "decided: happened": 70,
    "decided: did_not_happen": 40,
    "decision that came second": 20,
    "preview: told": 500,
    "preview: unknown": 5,
    "outside: act_then_fail": 60,
    "outside: fail_then_act": 25,
    "outside: act_then_hang": 45,
    "outside: act_late": 60,
    "event: ToolDoubted": 300,
    "event: ChildOutcome": 2500,
    "event: MessageReceived": 25,
    "wait: received": 250,
    "wait: ended": 100,
    "wait: cycle": 25,
    "wait: timed_out": 150,
    "time-outs that fired": 60,
    "continued": 75,
    "compensated": 25,
    "document writes": 300,
    "limited calls": 50,
    "scheduled runs": 100,
    "triggered runs": 250,
    "adopted": 125,
    "store: MemorySnapshots.put": 200,
    "store: MemorySnapshots.rows": 50,
    "outcome: succeeded": 4500,
    "outcome: killed": 250,
    "outcome: cancelled": 150,
    "outcome: exhausted": 25,
}
"""What that many seeds must have met, so that they cannot pass by doing nothing."""


@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    total = Tally()
    for tally in simulate(0, SEEDS, min(2, os.cpu_count() or 1)):
        total.merge(tally)
    with capsys.disabled():
        sys.stdout.write(f"\n{table(total.counts)}\n")
    assert not total.failed, "\n".join(report.summary() for report in total.failed[:10])
    assert total.seeds == SEEDS
    lacking = {name: total.counts[name] for name, least in AT_LEAST.items() if total.counts[name] < least}
    assert not lacking


def test_a_seed_is_the_same_everywhere() -> None:
    program = "from tests.sim.world.seeds import run_seed; print(*(run_seed(seed).digest for seed in range(40, 60)))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in (1, 2)
    }
    assert seen == {" ".join(run_seed(seed).digest for seed in range(40, 60)) + "\n"}


def test_a_seed_that_breaks_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.sim import planted

    planted.no_sequence_check(monkeypatch)
    report = next(report for report in map(run_seed, range(30, 60)) if report.violations)
    assert f"make sim SEED={report.seed}" in report.summary()
    assert any("!!!" in line for line in report.trace)
