"""What a tenant can look at besides single runs."""

from collections.abc import Mapping
from typing import Any

from penstock.ports.records import RunFilter
from penstock.runs.client import Penstock
from penstock.server.reading import Reading
from penstock.server.shapes import run_line
from penstock.server.stream.hub import Topic

NEWEST = 100
"""Runs whose changes are told; of older ones a reader asks, as far as it shows them."""
QUESTIONS = 200
SECONDS = 1.0


def topics_of(platform: Penstock, reading: Reading) -> Mapping[str, Topic]:
    """The topics of a platform, by name."""
    journal = platform.journal

    async def approvals(tenant: str) -> Any:
        rows = [
            row
            for kind in ("approval", "doubt")
            for row in await journal.list_runs(tenant, RunFilter(waiting_for=kind), QUESTIONS)
        ]
        return {"waiting": [[str(row.id), row.last_seq] for row in rows]}

    async def controls(tenant: str) -> Any:
        return {"in_force": [str(control) for control in await journal.stopped(tenant)]}

    async def overview(tenant: str) -> Any:
        return (await reading.overview(tenant)).model_dump(mode="json")

    async def runs(tenant: str) -> Any:
        rows = await journal.list_runs(tenant, RunFilter(), NEWEST)
        return {"changed": [run_line(row).model_dump(mode="json") for row in rows]}

    return {
        "overview": Topic(overview, SECONDS),
        "runs": Topic(runs, SECONDS, changed_lines),
        "approvals": Topic(approvals, SECONDS),
        "controls": Topic(controls, SECONDS),
    }


def changed_lines(before: Any, now: Any) -> Any:
    """Of the newest runs those whose line is another than before; None when there are none."""
    known = {line["id"]: line for line in before["changed"]} if before else {}
    lines = [line for line in now["changed"] if known.get(line["id"]) != line]
    return {"changed": lines} if lines else None
