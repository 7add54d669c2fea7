"""Recorded runs of real agents as the detector takes them, with our labels.

tau-bench's airline (MIT, tests/data/tau_airline): runs that have a label were read, and the labels written, before the
detector was finished and had been given a run. On the even ones of tasks 0 to 29 it was tried while it was made; on the
odd ones, and on tasks 30 to 49, it is only measured: no threshold and no part of its judgement was changed for them.
SWE-agent (MIT, tests/data/swe_agent): all read; only measured, too.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.spiral_cases import Case, Step

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
FOLDER = DATA / "tau_airline"
CHANGES = ("create", "edit", "insert", "rm", "str_replace", "submit")
"""Commands of SWE-agent that change something."""
FAILED = ("Your proposed edit has introduced", "Traceback (most recent call last)", "Wrong flag!")
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


def labels(path: Path = FOLDER / "spirals.jsonl") -> dict[int, Label]:
    """By run; the runs that nobody has read are not in it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {label.run: label for label in (Label(**json.loads(line)) for line in lines)}


def recorded(path: Path = FOLDER / "runs.jsonl.gz") -> list[tuple[int, Case]]:
    """Each run's task and its calls."""
    return [(run["task_id"], _case(number, run["traj"])) for number, run in enumerate(_lines(path))]


def by_label() -> dict[str, dict[str, list[Case]]]:
    """The runs that the detector was never tried on, by where they come from and by their label; the runs of the later
    tasks of tau-bench that have none repeat nothing."""
    airline = [case for _, case in recorded(FOLDER / "runs_30_to_49.jsonl.gz")]
    coding = [_coding(number, run["steps"]) for number, run in enumerate(_lines(DATA / "swe_agent" / "runs.jsonl.gz"))]
    return {
        "tau-bench airline, tasks 30 to 49": _grouped(airline, labels(FOLDER / "spirals_30_to_49.jsonl")),
        "SWE-agent": _grouped(coding, labels(DATA / "swe_agent" / "spirals.jsonl")),
    }


def _grouped(cases: list[Case], of: dict[int, Label]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {"calls": [], "honest": []}
    for case in cases:
        label = of.get(case.seed)
        found[label.kind if label else "honest"].append(case)
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _coding(number: int, recorded_steps: list[dict[str, str]]) -> Case:
    """Steps of SWE-agent: the first word of an action is the tool, the rest what it is asked."""
    steps = []
    for one in recorded_steps:
        name, _, rest = one["action"].partition(" ")
        ok = not one["observation"].startswith(FAILED)
        write = name in CHANGES
        steps.append(Step(name, {"asked": rest}, one["observation"], ok=ok, write=write, text=one["thought"]))
    return Case("recorded", number, steps)


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
