"""The generated attacks of `benchmarks/approvals.py`, few: none is accepted, and each kind would be seen if it were."""

from typing import Any

import pytest
from benchmarks import approvals as attacks

from penstock.gates.tool import approval as gate
from penstock.gates.tool.approvers import Standing
from penstock.ports.questions import Voter
from penstock.runs.approving import deciding


async def test_no_attempt_is_accepted_and_what_is_approved_as_it_should_be_is_made() -> None:
    tally = await attacks.attack(150, 7, honest=10)
    assert set(tally.attempts) == set(attacks.ATTACKS)
    assert tally.accepted.total() == 0, tally.accepted
    assert (tally.honest_made, tally.wrong) == (10, 0)


async def anybody(journal: Any, tenant: str, voter: Voter, *_: Any) -> Standing:
    """Everybody may decide, and is a person of their own."""
    return Standing((f"{voter.actor}|{voter.behalf}",), voter.roles)


@pytest.mark.parametrize("checked_by", ["the server alone", "the worker alone", "nobody"])
async def test_attempts_are_accepted_where_nobody_checks(monkeypatch: pytest.MonkeyPatch, checked_by: str) -> None:
    """Both checks are needed: what the server cannot know yet only the worker finds, and who is never asked again only
    the server."""
    if checked_by != "the server alone":
        monkeypatch.setattr(deciding, "standing_of", anybody)
    if checked_by != "the worker alone":

        async def all_of_them(ctx: Any, request: Any, voters: list[Voter]) -> list[str]:
            return [voter.actor for voter in voters]

        monkeypatch.setattr(gate, "still_counts", all_of_them)
    tally = await attacks.attack(150, 7, honest=10)
    expected = {
        "the server alone": {"right lost"},
        "the worker alone": {"own request"},
        "nobody": {"own request", "no right", "right lost", "one for two"},
    }
    assert expected[checked_by] <= {kind for kind, count in tally.accepted.items() if count}


async def test_what_is_allowed_under_a_policy_that_stays_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is the policy's change that keeps the others from being made."""
    monkeypatch.setattr(attacks.Guard, "change", lambda self: None)
    tally = await attacks.attack(60, 7, honest=0)
    assert set(tally.accepted) == {"stale policy"}
