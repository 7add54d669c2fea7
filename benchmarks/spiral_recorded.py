"""The recorded runs of tau-bench's airline (MIT, tests/data/tau_airline) as the detector takes them, with our labels.

Those that have a label were read, and the labels written, before the detector was finished and had been given a run. On
tasks with even numbers it was tried while it was made; on those with odd numbers it is only measured: no threshold and
no part of its judgement was changed for them.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.spiral_cases import Case, Step

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "data" / "tau_airline"
WRITES = (
    "book_reservation",
    "cancel_reservation",
    "send_certificate",
    "transfer_to_human_agents",
    "update_reservation_baggages",
    "update_reservation_flights",
    "update_reservation_passengers",
)


@dataclass(slots=True, frozen=True)
class Label:
    """What a reader says of a run. ``kind``: calls (its tool calls repeat without progress, from call ``begins`` on),
    words (only the talk goes in circles), honest."""

    run: int
    kind: str
    begins: int
    why: str


def labels() -> dict[int, Label]:
    """By run; the runs that nobody has read are not in it."""
    lines = (FOLDER / "spirals.jsonl").read_text(encoding="utf-8").splitlines()
    return {label.run: label for label in (Label(**json.loads(line)) for line in lines)}


def recorded() -> list[tuple[int, Case]]:
    """Each run's task and its calls."""
    with gzip.open(FOLDER / "runs.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [(run["task_id"], _case(number, run["traj"])) for number, run in enumerate(map(json.loads, lines))]


def _case(number: int, messages: list[dict[str, Any]]) -> Case:
    steps: list[Step] = []
    heard = False
    for at, message in enumerate(messages[1:], 1):
        if message["role"] == "user":
            heard = bool(steps)
        for index, call in enumerate(message.get("tool_calls") or []):
            answer = messages[at + 1 + index]  # the ids of calls are not unique in these files
            name, said = call["function"]["name"], answer["content"]
            assert answer["role"] == "tool"
            steps.append(
                Step(
                    name,
                    json.loads(call["function"]["arguments"]),
                    said,
                    ok=not said.startswith("Error"),
                    write=name in WRITES,
                    text=message.get("content") or "",
                    heard=heard,
                    same_turn=index > 0,
                )
            )
            heard = False
    return Case("recorded", number, steps, repeatable=frozenset(("think",)))
