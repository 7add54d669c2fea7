"""Says what AgentDojo holds, as JSON: each suite's tools, and the ground truth of its user tasks and injection tasks.

Run by the Python of the virtualenv `.venv-agentdojo`; it imports nothing of Penstock.
"""

import json
import sys

from agentdojo.task_suite.load_suites import get_suites


def main() -> None:
    """One JSON object on standard output."""
    found = {}
    for name, suite in get_suites(sys.argv[1]).items():
        tasks = {}
        for kind, members in (("user", suite.user_tasks), ("injection", suite.injection_tasks)):
            tasks[kind] = [_task(suite, task) for task in members.values()]
        found[name] = {"tools": [tool.name for tool in suite.tools], **tasks}
    json.dump(found, sys.stdout, default=str)


def _task(suite, task):  # type: ignore[no-untyped-def]
    environment = suite.load_and_inject_default_environment({})
    if hasattr(task, "init_environment"):
        environment = task.init_environment(environment)
    calls = [[call.function, dict(call.args)] for call in task.ground_truth(environment)]
    return {"id": task.ID, "words": getattr(task, "PROMPT", "") or getattr(task, "GOAL", ""), "calls": calls}


if __name__ == "__main__":
    main()
