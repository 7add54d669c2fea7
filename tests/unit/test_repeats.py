"""The rule against repeats: a nudge, then the end; never against an agent that has found its mistake."""

from typing import Any

import pytest

from penstock import tool
from penstock.events import BudgetRecord
from penstock.rules import repeats
from penstock.rules.verdict import CallFacts, PastCall, RunFacts


@tool(effect="read")
async def look(x: int) -> int:
    """Read."""
    return x


@tool(effect="read", repeatable=True)
async def poll(x: int) -> int:
    """Read, meant to be asked again."""
    return x


@tool(effect="write", permission="auto")
async def put(x: int) -> int:
    """Write."""
    return x


TOOLS = {"look": look, "poll": poll, "put": put}
OK, FAILED, REFUSED = "ok", "failed", "refused"


def past(text: str) -> list[PastCall]:
    """Calls as ``tool:digest:how``, oldest first."""
    calls = []
    for word in text.split():
        name, digest, how = word.split(":")
        calls.append(PastCall(name, digest, how == OK, refused=how == REFUSED))
    return calls


@pytest.mark.parametrize(
    ("name", "before", "code", "ends"),
    [
        ("look", "", None, False),
        ("look", "look:d:ok", None, False),
        ("look", "look:d:ok look:d:ok", "repeated_call", False),
        ("look", "look:d:ok look:e:ok look:f:ok look:g:ok", None, False),
        ("look", "put:d:ok put:d:ok put:d:ok", None, False),
        ("look", "look:d:ok look:d:ok look:d:refused", "repeated_call", False),
        ("look", "look:d:ok look:d:ok " + "look:d:refused " * (repeats.STOP_REPEATS - 3), "repeated_call", False),
        ("look", "look:d:ok look:d:ok " + "look:d:refused " * (repeats.STOP_REPEATS - 2), "loop", True),
        ("poll", "poll:d:ok " * 30, None, False),
        ("put", "put:d:ok", "repeated_write", False),
        ("put", "put:d:failed", None, False),
        ("put", "put:d:refused", None, False),
        ("put", "put:e:ok", None, False),
        ("look", "look:a:failed look:b:failed", None, False),
        ("look", "look:a:failed look:b:failed look:c:failed", "repeated_failure", False),
        ("look", "look:a:failed look:b:failed put:x:ok look:c:failed", "repeated_failure", False),
        ("look", "look:a:failed look:b:ok look:c:failed look:e:failed", None, False),
        ("look", "look:a:failed look:b:failed look:c:failed look:d:refused", None, False),
        ("look", "look:a:failed look:b:failed look:c:failed look:f:refused look:g:failed", "repeated_failure", False),
        (
            "look",
            "look:a:failed look:b:failed look:c:failed " + "look:f:refused look:g:failed " * 3,
            "repeated_failure",
            True,
        ),
        ("look", "look:a:refused " * 9, None, False),
    ],
)
def test_table(name: str, before: str, code: str | None, ends: bool) -> None:
    run = RunFacts(BudgetRecord(), past=past(before))
    decision = repeats.decide(CallFacts("tool", name, "d", tool=TOOLS[name].definition), run)
    assert (decision and (decision.code, decision.ends_run)) == (code and (code, ends))


def test_a_persons_approval_overrides_it() -> None:
    run = RunFacts(BudgetRecord(), past=past("put:d:ok put:d:ok put:d:ok put:d:ok put:d:ok"))
    assert repeats.decide(CallFacts("tool", "put", "d", tool=put.definition, approved=True), run) is None


def test_only_the_latest_calls_are_looked_at() -> None:
    old = past("look:d:ok look:d:ok")
    new: list[Any] = [PastCall("look", f"other-{index}", ok=True) for index in range(repeats.WINDOW)]
    call = CallFacts("tool", "look", "d", tool=look.definition)
    assert repeats.decide(call, RunFacts(BudgetRecord(), past=old + new)) is None
    assert repeats.decide(call, RunFacts(BudgetRecord(), past=old + new[2:])) is not None


def test_calls_that_were_refused_are_repeats_and_no_failures() -> None:
    def refused(*digests: str) -> RunFacts:
        return RunFacts(BudgetRecord(), past=[PastCall("look", digest, ok=False, refused=True) for digest in digests])

    call = CallFacts("tool", "look", "d", tool=look.definition)
    assert repeats.decide(call, refused("a", "b", "c", "e", "f", "g", "h")) is None, "it has found its mistake"
    decision = repeats.decide(call, refused(*"d" * repeats.STOP_REPEATS))
    assert decision is not None
    assert decision.ends_run
