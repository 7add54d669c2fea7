"""An agent that writes one shared document again and again, in processes that are killed."""

from functools import partial
from typing import Any

from penstock import Run, agent

TIMES = 200


@agent("marker", version="1")
async def marker(run: Run, tag: str) -> int:
    """Adds a mark of its own so many times."""
    document = run.document("marks")
    for number in range(TIMES):
        await document.update(partial(marked, f"{tag}{number}"), attempts=1000)
    return document.version or 0


def marked(mark: str, known: Any) -> dict[str, Any]:
    known = known or {"sum": 0, "marks": []}
    return {"sum": known["sum"] + 1, "marks": [*known["marks"], mark]}


AGENTS = [marker]
