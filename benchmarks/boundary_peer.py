"""AgentBoundary's own part, in its own virtualenv: ``python boundary_peer.py`` prints its scenarios as JSON;
``python boundary_peer.py FILE`` grades with its own grader what came of them, and says how its own implementation does.

It stands alone: nothing of ours is installed there.
"""

import dataclasses
import importlib.resources
import json
import sys
from pathlib import Path
from typing import Any

from agentboundary.cli import _run_one
from agentboundary.runtime import Implementation, ReferenceImplementation, RuntimeOutcome
from agentboundary.scenarios.loader import Scenario, load_scenarios_dir


class Recorded(Implementation):
    """Gives what was recorded elsewhere."""

    def __init__(self, played: dict[str, Any]) -> None:
        self.played = played

    def attempt(self, action: dict[str, Any], *, setup: dict[str, Any]) -> RuntimeOutcome:
        """What came of the action."""
        return RuntimeOutcome(self.played["decision"], self.played["receipt"], self.played["arguments"])


def scenarios() -> list[Scenario]:
    """All that come with the package."""
    with importlib.resources.as_file(importlib.resources.files("agentboundary") / "_data" / "scenarios") as folder:
        return load_scenarios_dir(folder)


def main(path: str | None) -> None:
    """Print the scenarios, or the grades of what a file holds: by name, ``decision``, ``receipt``, ``setup``."""
    if path is None:
        said: Any = [{**dataclasses.asdict(item), "path": item.path.name} for item in scenarios()]
    else:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
        said = {"ours": {}, "reference": {}}
        for item in scenarios():
            played = given[item.name]
            ours = dataclasses.replace(item, setup=played["setup"])
            said["ours"][item.name] = _run_one(ours, Recorded(played))["failures"]
            said["reference"][item.name] = _run_one(item, ReferenceImplementation())["failures"]
    sys.stdout.write(json.dumps(said))


main(sys.argv[1] if len(sys.argv) > 1 else None)
