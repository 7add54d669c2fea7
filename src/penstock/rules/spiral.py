"""Spirals: nothing new comes back. First a word to the model, then its last answer, then the end of the run.

What is in vain is judged by `penstock.rules.spiral_detector`. Repeats of one call are also the matter of `repeats`.
"""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict

NUDGE = 50  # level of the note that tells the model; the budget's own notes are 70 and 90
LAST = 91  # level of the note with which it must answer


def level(run: RunFacts) -> int:
    """0, `NUDGE` or `LAST`, by the run's score."""
    spirals, stretch = run.spirals, run.stretch
    if spirals is None or stretch is None or not stretch.calls or stretch.score < spirals.nudge:
        return 0
    return LAST if stretch.score >= spirals.limit else NUDGE


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Mark the call that the model is told with, refuse tools that only repeat, end a run that goes on all the same."""
    spirals, stretch = run.spirals, run.stretch
    if spirals is None or stretch is None or not stretch.calls or call.approved or stretch.score < spirals.nudge:
        return None
    if call.told:
        if call.told == LAST:
            return Decision(Verdict.FLAG, stretch.reading().words, "spiral_last")
        return Decision(Verdict.FLAG, stretch.reading().words, "spiral_nudge")
    if stretch.score >= spirals.stop and not call.final:
        return Decision(Verdict.DENY, stretch.reading().words, "spiral", ends_run=True)
    if stretch.score >= spirals.limit and call.gate != "model":
        reading = stretch.reading()
        if call.name in reading.tools and not (call.tool is not None and call.tool.repeatable):
            return Decision(Verdict.DENY, f"{call.name} brings nothing new: {reading.words}", "spiral_limit")
    return None


RULE = Rule("spiral", 1, frozenset({"model", "tool", "child"}), decide)
