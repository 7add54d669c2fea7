"""Asking classifiers about a text before it is released."""

import asyncio
from collections.abc import Sequence

from penstock.gates.order.branches import outside_runs
from penstock.kernel.clock import Clock
from penstock.ports.classifiers import Finding
from penstock.rules.filters.filters import STRICTNESS, Classified
from penstock.rules.filters.finding import apart
from penstock.rules.filters.sift import Sifted, replaced

FAILED = "classifier_failed"
"""The kind that is recorded when one did not answer."""


async def classified(clock: Clock, asked: Sequence[Classified], text: str, into: Sifted) -> str:
    """The text as it may be released, after all classifiers were asked side by side.

    One that fails or is late blocks the text, unless it is declared to be passed over; either is recorded.
    """
    if not asked or not text.strip():
        return text
    answers = await _answers(clock, asked, text)
    found: list[Finding] = []
    actions: dict[str, str] = {}
    for one, answer in zip(asked, answers, strict=True):
        if answer is None:
            into.count(FAILED, "block" if one.on_failure == "block" else "flag")
            continue
        for finding in answer:
            action = one.actions.get(finding.kind)
            if action is None or finding.score < one.score_min:
                continue
            stricter = actions.get(finding.kind)
            actions[finding.kind] = max(action, stricter or action, key=STRICTNESS.__getitem__)
            found.append(finding)
    order = {kind: STRICTNESS[action] for kind, action in actions.items()}
    return replaced(text, apart(found, order), actions, None, into)


async def _answers(clock: Clock, asked: Sequence[Classified], text: str) -> list[list[Finding] | None]:
    """What each finds; None of those that failed, were late, or answered nonsense."""
    loop = asyncio.get_running_loop()
    began = clock.boot_ns()
    tasks = [loop.create_task(_ask(one, text), context=outside_runs()) for one in asked]
    try:
        for one, task in zip(asked, tasks, strict=True):
            left = one.timeout_seconds - (clock.boot_ns() - began) / 1e9
            await asyncio.wait({task}, timeout=max(0.0, left))
    finally:
        for task in tasks:
            task.cancel()
    return [task.result() if task.done() and not task.cancelled() else None for task in tasks]


async def _ask(one: Classified, text: str) -> list[Finding] | None:
    try:
        answer = list(await one.classifier.classify(text))
        sound = all(0 <= finding.start < finding.end <= len(text) for finding in answer)
    except Exception:
        return None
    return answer if sound else None
