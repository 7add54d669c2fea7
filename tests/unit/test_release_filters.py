"""Filters in releases: drafted, shown, in force, and not there in older ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import Agent, Classified, Filters, Settings
from penstock.kernel.errors import ReleaseInvalid
from penstock.ports.classifiers import Finding
from penstock.runs.client import Penstock
from penstock.runs.rollouts import manifest as manifests
from penstock.runs.rollouts.diff import differences
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.signing import Keyring, make_key
from penstock.testing import ScriptedModel
from penstock.wiring import open_in_memory

CARD, MAIL = "4111 1111 1111 1111", "ada@acme.example"


class Judge:
    """Finds nothing."""

    name = "judge-1"

    async def classify(self, text: str) -> list[Finding]:
        return []


def desk(filters: Filters | None = None) -> Agent:
    """Says what it was told."""
    model = ScriptedModel([lambda request: request.messages[1].text], "m", repeat=True)
    return Agent("desk", model=model, instructions="As coded.", filters=filters)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Penstock]:
    make_key(tmp_path / "release.pem")
    settings = Settings(poll_seconds=0.02, release_key_file=tmp_path / "release.pem")
    async with open_in_memory(settings, agents=[desk(Filters({"email": "redact"}))]) as opened:
        yield opened


async def live(platform: Penstock, **changes: Any) -> str:
    """A release that is live."""
    found = platform.registry.find("desk")
    assert found is not None
    made = Releasing(platform.journal, "default", Keyring.of(platform.services.settings))
    drafted = await made.draft(found, "ann", **changes)
    await made.submit(drafted.id, "ann")
    await made.approve(drafted.id, "ben")
    await made.promote(drafted.id, "ben")
    await asyncio.sleep(0.3)  # past the time for which a look at the store counts
    return drafted.id


async def answer(platform: Penstock, text: str) -> tuple[str, str]:
    agent = platform.registry.find("desk")
    assert agent is not None
    run = await platform.submit(agent, text)
    result = await platform.result(run, timeout_seconds=20)
    return str(result.output), result.code


async def test_the_filters_of_a_release_are_in_force_where_it_is_live(platform: Penstock) -> None:
    assert await answer(platform, f"{MAIL} {CARD}") == (f"[email] {CARD}", "")
    await live(platform, filters={"output": {"card": "redact"}, "input": {"iban": "block"}})
    assert await answer(platform, f"{MAIL} {CARD}") == (f"{MAIL} [card]", "")
    assert (await answer(platform, "pay DE89370400440532013000"))[1] == "filter_blocked"
    await live(platform, filters={})
    assert await answer(platform, f"{MAIL} {CARD}") == (f"{MAIL} {CARD}", "")
    await live(platform)
    assert await answer(platform, f"{MAIL} {CARD}") == (f"[email] {CARD}", "")


def test_an_agent_without_filters_has_the_releases_that_it_had() -> None:
    made = manifests.draft(desk(), "ann")
    data = manifests.encode(made)
    assert b"filters" not in data
    assert manifests.read(data) == made
    assert made.filters is msgspec.UNSET
    declared = Filters({"card": "flag"})
    before = manifests.read(manifests.encode(msgspec.structs.replace(made, code=manifests.code_of(desk(declared)))))
    found = manifests.offered_as(desk(declared), "r", before)
    assert found.filters is declared  # type: ignore[attr-defined]
    assert manifests.mismatch(desk(declared), before) == "", "what a release says of filters is no code"


def test_what_differs_is_said_in_words() -> None:
    filters = Filters(
        {"pii": "redact"}, patterns={"order": r"ORD-\d{8}"}, classifiers=[Classified(Judge(), {"x": "flag"})]
    )
    old = manifests.draft(desk(filters), "ann")
    new = manifests.draft(
        desk(filters),
        "ann",
        filters={
            "everywhere": {"pii": "redact"},
            "output": {"email": "block"},
            "input": {"card": "tokenise"},
            "classifiers": [],
            "after_untrusted": "hold",
        },
    )
    (found,) = differences(old, new)
    assert found.what == "filters"
    assert list(found.lines) == [
        "output: card is passed, was redacted",
        "output: email is blocked, was redacted",
        "output: iban is passed, was redacted",
        "output: national_id is passed, was redacted",
        "output: phone is passed, was redacted",
        "input: card is tokenised, was passed",
        r"the pattern order is gone, was ORD-\d{8}",
        "the classifier judge-1 is gone, was x=flag from a score of 0.5, block when it fails",
        "after something untrusted: hold, was allow",
    ]
    without = manifests.draft(desk(), "ann")
    assert differences(without, new)[0].lines[0] == "filters of its own, in place of those of the code:"
    assert list(differences(new, without)[0].lines) == ["no filters of its own: those of the code count"]


@pytest.mark.parametrize(
    "said",
    [
        {"everywhere": {"card": "hide"}},
        {"everywhere": {"cards": "redact"}},
        {"anywhere": {"card": "redact"}},
        {"patterns": {"order": "(a+)+b"}},
        {"classifiers": ["judge-2"]},
        {"score_min": 2},
        {"regions": ["XX"]},
        {"input": []},
    ],
)
def test_filters_that_cannot_be_are_refused_at_the_draft(said: dict[str, Any]) -> None:
    with pytest.raises(ReleaseInvalid, match="the filters cannot be"):
        manifests.draft(desk(), "ann", filters=said)


def test_a_classifier_is_code_and_a_worker_with_another_does_not_run_the_release() -> None:
    filters = Filters(classifiers=[Classified(Judge(), {"x": "block"})])
    made = manifests.draft(desk(filters), "ann", filters={"everywhere": {"card": "redact"}})
    assert made.filters == {
        "everywhere": {"card": "redact"},
        "classifiers": {"judge-1": {"actions": {"x": "block"}, "score_min": 0.5, "on_failure": "block"}},
    }
    assert json.loads(manifests.encode(made))["filters"] == made.filters
    assert manifests.trial(desk(filters), made) == ""
    assert "'judge-1' is not offered here" in manifests.trial(desk(), made)
    laxer = desk(Filters(classifiers=[Classified(Judge(), {"x": "flag"})]))
    assert "something else is made here" in manifests.trial(laxer, made)
