"""The demo's figures: quantiles, comparison by ticket, and the object of --json."""

import pytest

from penstock.demo.judge import Outcome
from penstock.demo.options import DemoOptions
from penstock.demo.result import DemoResult, ModeResult, Paired, Proof, SweepPoint
from penstock.kernel.errors import UsageError

C, H, W, L = Outcome.CORRECT, Outcome.HARMFUL, Outcome.WAITING, Outcome.LOST


def mode(nano: tuple[int, ...], outcomes: tuple[Outcome, ...] | None = None) -> ModeResult:
    return ModeResult(
        nano=nano,
        outcomes=outcomes or (C,) * len(nano),
        tokens_total=1,
        model_calls=2,
        tool_calls=3,
        spirals=4,
        stopped_at=(5, 6),
        approvals_waiting=7,
        prohibited_attempted=8,
        prohibited_executed=0,
        accuracy=None,
        wall_seconds=1.23456,
    )


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 2), (100, 0.95, 95), (100, 0.99, 99), (10, 0.99, 10)],
)
def test_quantiles_are_of_nearest_rank(count: int, share: float, rank: int) -> None:
    assert mode(tuple(reversed(range(1, count + 1)))).cost(share) == rank


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((C, C, C), (C, W, L), Paired(0, 1, 1)),
        ((H, L, W), (C, W, C), Paired(3, 0, 0)),
        ((H, L), (H, L), Paired(0, 0, 0)),
        ((W, C), (L, H), Paired(0, 0, 2)),
    ],
)
def test_tickets_are_compared_one_by_one(
    before: tuple[Outcome, ...], after: tuple[Outcome, ...], expected: Paired
) -> None:
    assert Paired.of(before, after) == expected


def test_the_json_object() -> None:
    one = mode((10**9, 3 * 10**9), (C, H))
    result = DemoResult(
        True,
        "simulated:support-desk",
        2,
        7,
        0.15,
        {"ungoverned": one, "step_limit": one, "governed": one},
        (SweepPoint(0.0, {"ungoverned": one}),),
        {"tampering": Proof("Journal edited", True, "words", {"edited_seq": 4})},
    )
    plain = result.as_json()
    assert plain["modes"]["governed"] == {
        "cost_usd": {"total": 4.0, "mean": 2.0, "p50": 1.0, "p95": 3.0, "p99": 3.0, "max": 3.0},
        "tokens_total": 1,
        "model_calls": 2,
        "tool_calls": 3,
        "spirals": 4,
        "spirals_stopped": 2,
        "approvals_waiting": 7,
        "prohibited_attempted": 8,
        "prohibited_executed": 0,
        "outcomes": {"correct": 1, "harmful": 1, "waiting": 0, "lost": 0},
        "accuracy": None,
        "wall_seconds": 1.235,
    }
    assert plain["proofs"]["tampering"] == {"held": True, "edited_seq": 4}
    assert plain["proofs"]["sweep"][0]["ungoverned"]["mean_usd"] == 2.0
    assert {key: plain[key] for key in ("simulated", "tickets", "seed")} == {"simulated": True, "tickets": 2, "seed": 7}


@pytest.mark.parametrize("wrong", [{"spiral_rate": -0.1}, {"spiral_rate": 1.1}, {"concurrency": 0}])
def test_options_have_bounds(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        DemoOptions(**wrong)  # type: ignore[arg-type]
