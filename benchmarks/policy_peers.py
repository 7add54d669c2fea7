"""Asks the peers, in their own virtualenv: ``python policy_peers.py FILE``; prints what they took and said, as JSON.

It stands alone: nothing of ours is installed there. Cedar gets its policies and entities parsed beforehand; the toolkit
its documents loaded. Each decision is timed by itself.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cedarpy
from agent_os.policies import PolicyDocument, PolicyEvaluator


def main(path: str) -> None:
    """Measure what the file names: rules in each peer's language, and calls."""
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    found = {}
    for name, task in given.items():
        peers: dict[str, Callable[[dict[str, Any]], bool]] = {"cedar": cedar(task["cedar"])}
        if "toolkit" in task:
            peers["toolkit"] = toolkit(task["toolkit"])
        found[name] = {peer: measured(ask, task["calls"], task["rounds"]) for peer, ask in peers.items()}
    sys.stdout.write(json.dumps(found))


def cedar(text: str) -> Callable[[dict[str, Any]], bool]:
    """Whether Cedar allows a call."""
    policies = cedarpy.PolicySet.from_str(text)
    entities = cedarpy.Entities.from_json_str("[]")

    def ask(call: dict[str, Any]) -> bool:
        request = {
            "principal": {"type": "Agent", "id": "a"},
            "action": {"type": "Action", "id": call["tool"]},
            "resource": {"type": "Run", "id": "r"},
            "context": call["args"],
        }
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    return ask


def toolkit(document: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """Whether the agent governance toolkit's evaluator allows a call; its decision carries an audit entry."""
    evaluator = PolicyEvaluator(policies=[PolicyDocument.model_validate(document)])

    def ask(call: dict[str, Any]) -> bool:
        return bool(evaluator.evaluate({"tool_name": call["tool"], **call["args"]}).allowed)

    return ask


def measured(ask: Callable[[dict[str, Any]], bool], calls: list[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Nanoseconds of each decision, and what was said of each call; an error is no permission."""
    took, said = [], []
    for number in range(rounds):
        for call in calls:
            begun = time.perf_counter_ns()
            try:
                allowed = ask(call)
            except Exception:  # noqa: BLE001 - whatever it is, it permits nothing
                allowed = False
            took.append(time.perf_counter_ns() - begun)
            if number == 0:
                said.append(allowed)
    return {"took": took, "said": said}


main(sys.argv[1])
