"""The run page over HTTP: whole and without content, content by right, two runs side by side."""

import asyncio
import gzip
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.server.conftest import Api
from tests.server.desk import broken, desk, echo

from penstock.ports.records import Status
from penstock.server.schemas.trace import RunDiff, SpanShown, Trace


async def parked(api: Api, run: UUID) -> None:
    async with asyncio.timeout(20):
        while True:
            row = await api.journal.get_run("default", run)
            if row is not None and row.status is Status.PARKED:
                return
            await asyncio.sleep(0.01)


async def asked(api: Api) -> UUID:
    """A run of the desk that waits for a person."""
    run = await api.platform.submit(desk, "charged twice", tags={"customer": "acme"})
    await parked(api, run)
    return run


async def trace(api: Api, run: UUID, key: str = "viewer") -> Trace:
    response = await api.get(f"/v1/runs/{run}/trace", key)
    assert response.status_code == 200, response.text
    return Trace.model_validate_json(response.content)


async def test_the_skeleton_has_the_schemas_form_and_no_content(api: Api) -> None:
    run = await asked(api)
    found = await trace(api, run)
    spans = found.spans
    words = [(found.kinds[kind], found.names[name]) for kind, name in zip(spans.kind, spans.name, strict=True)]
    assert [word for word in words if word[0] in ("model", "tool")] == [
        ("model", "scripted:model"),
        ("tool", "look"),
        ("model", "scripted:model"),
        ("tool", "refund"),
    ]
    assert {len(column) for name, column in spans if isinstance(column, list)} == {len(spans.path)}
    assert found.ended is False
    assert "refund waits" in found.sentence
    assert sum(part.duration for part in found.critical) == found.total
    response = await api.get(f"/v1/runs/{run}/trace", "viewer")
    assert "charged twice" not in response.text
    assert "o-1" not in response.text


async def test_it_comes_compressed_to_whoever_takes_that(api: Api) -> None:
    result = await api.platform.run(echo, 1)
    client = api.client("viewer")
    async with client.stream(
        "GET", f"/v1/runs/{result.run}/trace", headers={"Accept-Encoding": "br, gzip;q=0.5"}
    ) as response:
        raw = b"".join([piece async for piece in response.aiter_raw()])
        assert response.headers["content-encoding"] == "gzip"
    plain = await client.get(f"/v1/runs/{result.run}/trace", headers={"Accept-Encoding": "gzip;q=0, br"})
    assert "content-encoding" not in plain.headers
    assert json.loads(gzip.decompress(raw)) == plain.json()


async def test_an_ended_run_is_arranged_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    result = await api.platform.run(echo, 1)
    reads: list[Any] = []
    tape = api.journal.tape

    async def counted(*args: Any, **fields: Any) -> Any:
        reads.append(args)
        return await tape(*args, **fields)

    monkeypatch.setattr(api.journal, "tape", counted)
    first, *others = await asyncio.gather(*(trace(api, result.run) for _ in range(5)))
    assert all(other == first for other in others)
    assert len(reads) == 1
    await trace(api, result.run)
    assert len(reads) == 1
    assert api.server.reading.skeletons.size > 0


async def span_at(api: Api, run: UUID, name: str, key: str) -> SpanShown:
    found = await trace(api, run)
    spans = found.spans
    at = next(index for index, number in enumerate(spans.name) if found.names[number] == name)
    response = await api.get(f"/v1/runs/{run}/spans/{spans.path[at]}", key)
    assert response.status_code == 200, response.text
    return SpanShown.model_validate_json(response.content)


async def test_a_span_shows_content_by_right(api: Api) -> None:
    run = await asked(api)
    seen = await span_at(api, run, "look", "operator")
    assert seen.input is not None
    assert seen.output is not None
    assert (seen.input.value, seen.output.value) == ({"order": "o-1"}, "paid twice: o-1")
    assert seen.input.ref
    assert seen.input.size > 0
    hidden = await span_at(api, run, "look", "viewer")
    assert hidden.input is not None
    assert hidden.output is not None
    assert (hidden.input.value, hidden.input.hidden) == (None, "forbidden")
    assert (hidden.output.value, hidden.output.hidden) == (None, "forbidden")
    assert "o-1" not in hidden.model_dump_json()
    assert hidden.sentence.startswith("Called look")
    held = await span_at(api, run, "refund", "viewer")
    assert held.status == "waiting"
    assert [said.verdict for said in held.verdicts] == ["hold"]
    assert "nobody has decided yet" in held.sentence
    model = await span_at(api, run, "scripted:model", "operator")
    assert [ask["name"] for ask in model.asks] == ["look"]
    assert model.input is not None
    assert any("charged twice" in json.dumps(message) for message in model.input.value)
    assert (await span_at(api, run, "scripted:model", "viewer")).asks == []


async def test_large_content_is_cut_and_erased_content_says_so(api: Api) -> None:
    run = await api.platform.submit(desk, "y" * 60_000)
    await parked(api, run)
    model = await span_at(api, run, "scripted:model", "operator")
    assert model.input is not None
    assert model.input.cut
    assert model.input.size > 60_000
    assert len(model.model_dump_json()) < 40_000
    await api.journal.erase_subject("default", str(run))
    gone = await span_at(api, run, "look", "operator")
    assert gone.input is not None
    assert (gone.input.value, gone.input.hidden) == (None, "erased")


async def test_two_runs_part_where_they_part(api: Api) -> None:
    one = await api.platform.run(echo, {"n": 1})
    other = await api.platform.run(echo, {"n": 1})
    response = await api.get(f"/v1/runs/{one.run}/diff/{other.run}", "viewer")
    same = RunDiff.model_validate_json(response.content)
    assert (same.first, [row.place for row in same.rows]) == (None, [])
    left, right = await asked(api), await asked(api)
    [question] = [item for item in await api.platform.approvals() if item.run == left]
    await api.platform.decide(question, "deny", actor="ben", reason="no")
    await api.platform.result(left)
    response = await api.get(f"/v1/runs/{left}/diff/{right}", "viewer")
    parted = RunDiff.model_validate_json(response.content)
    assert parted.first is not None
    row = parted.rows[parted.first]
    assert (row.place, "status" in row.differs) == ("changed", True)
    assert "only_left" in [item.place for item in parted.rows], "the answer after the denial"


@pytest.mark.parametrize("where", ["trace", "spans/0", "diff/{other}"])
async def test_a_foreign_run_is_not_there(api: Api, where: str) -> None:
    mine = await api.platform.run(echo, 1)
    failed = await api.platform.submit(broken, 1)
    place = where.format(other=failed)
    foreign = await api.get(f"/v1/runs/{mine.run}/{place}", "stranger")
    missing = await api.get(f"/v1/runs/{uuid4()}/{place}", "stranger")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "run_unknown")
    assert (missing.status_code, missing.json()["code"]) == (404, "run_unknown")
    unknown = await api.get(f"/v1/runs/{mine.run}/spans/99", "viewer")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "span_unknown")
