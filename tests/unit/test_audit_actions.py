"""The audit of the lists of actions: each way of tampering is found."""

import dataclasses

import pytest

from penstock.adapters.memory import MemoryJournal
from penstock.ports.actions import Action, ActionHead, NewAction
from penstock.views.audit import NO_RUN, verify_everything, verify_tenant


async def recorded(count: int = 1_200) -> MemoryJournal:
    """Two tenants with so many actions each: more than one page."""
    journal = MemoryJournal()
    for tenant in ("acme", "zeta"):
        await journal.actions.record([NewAction(tenant, "key:a", "run.cancel", b"%d" % n) for n in range(count)])
    return journal


def rows(journal: MemoryJournal) -> list[Action]:
    return journal.actions._lists["acme"]


async def test_what_was_recorded_verifies() -> None:
    audit = await verify_everything(await recorded())
    assert (audit.ok, audit.actions, audit.runs) == (True, 2_400, 0)


@pytest.mark.parametrize("problem", ["changed", "missing", "truncated", "added", "all gone"])
async def test_what_was_not_is_found_and_only_there(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await recorded()
    head = await journal.actions.head("acme")
    assert head is not None
    theirs = rows(journal)
    if problem == "changed":
        theirs[700] = dataclasses.replace(theirs[700], body=b"x")
    elif problem == "missing":
        del theirs[700]
    elif problem == "truncated":
        del theirs[1_199]
    elif problem == "added":
        await journal.actions.record([NewAction("acme", "key:a", "run.cancel", b"x")])
    else:
        theirs.clear()

    async def kept(tenant: str) -> ActionHead | None:
        """The head as it is stored beside the list."""
        return head if tenant == "acme" else ActionHead(1_200, journal.actions._lists["zeta"][-1].hash)

    monkeypatch.setattr(journal.actions, "head", kept)
    audit = await verify_everything(journal)
    if problem == "added":  # meanwhile, by somebody else
        assert audit.ok
        return
    assert [(item.tenant, item.run) for item in audit.broken] == [("acme", NO_RUN)]
    assert audit.broken[0].seq == {"truncated": 1_200, "all gone": 1}.get(problem, 701)


async def test_a_head_that_was_removed_is_found() -> None:
    journal = await recorded(3)

    async def gone(tenant: str) -> None:
        return None

    journal.actions.head = gone  # type: ignore[method-assign]
    audit = await verify_tenant(journal, "acme")
    assert not audit.ok
