"""Which runs workers were lost over, and what is said of a process that died."""

import signal
from typing import Any
from uuid import UUID

import pytest

from penstock.events import (
    Event,
    ModelIntent,
    ModelOutcome,
    RunClaimed,
    RunHandedBack,
    RunParked,
    RunSubmitted,
    ToolIntent,
    ToolOutcome,
    encode,
)
from penstock.ports.records import Claim, Row
from penstock.runs.work.poison import death_words, is_suspect

RUN = UUID(int=7)
SHARED: dict[str, Any] = {"tenant": "acme", "run": RUN, "agent": "a"}
CLAIMED = RunClaimed(**SHARED, worker=UUID(int=1))
INTENT = ToolIntent(**SHARED, tool="t", digest="d")
LOST = ToolOutcome(**SHARED, status="lost", again=True)
DONE = ToolOutcome(**SHARED)


def suspect(*events: Event, claims: int = 1, most: int = 3) -> bool:
    claim = Claim("acme", RUN, 9, len(events), b"", "a", "r", "s", b"", None, "", RUN, claims, None, 0)
    rows = [Row(seq, encode(event), b"") for seq, event in enumerate([RunSubmitted(**SHARED), *events], 1)]
    return is_suspect(claim, rows, most)


def test_claims_without_an_event_count() -> None:
    assert not suspect(claims=3)
    assert suspect(claims=4)


def test_a_call_in_which_every_worker_dies_counts_although_it_is_recorded_each_time() -> None:
    deaths = [CLAIMED, INTENT, CLAIMED, LOST, INTENT, CLAIMED, LOST, INTENT]
    assert suspect(*deaths)
    assert not suspect(*deaths[:5])
    model = [CLAIMED, ModelIntent(**SHARED, model="m", digest="d")]
    lost = ModelOutcome(**SHARED, status="lost", again=True)
    assert suspect(*model, CLAIMED, lost, model[1], CLAIMED, lost, model[1])


@pytest.mark.parametrize("progress", [DONE, RunParked(**SHARED), RunHandedBack(**SHARED, reason="drained")])
def test_anything_that_came_of_it_clears_the_run(progress: Event) -> None:
    assert not suspect(CLAIMED, INTENT, CLAIMED, LOST, INTENT, CLAIMED, progress, CLAIMED, INTENT)


def test_many_claims_with_progress_between_them_are_no_sign() -> None:
    assert not suspect(*[CLAIMED, INTENT, DONE] * 20)


def test_a_process_that_died_is_described() -> None:
    assert death_words(7) == "it ended with exit code 7"
    assert death_words(-signal.SIGSEGV) == "it was killed by SIGSEGV"
    assert death_words(-250) == "it was killed by signal 250"
