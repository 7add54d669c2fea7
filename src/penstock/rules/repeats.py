"""Spirals: the same call again and again, or one failure after another. First a nudge, then the end.

A repeat is a call with the name and arguments of an earlier one, made or refused, unless it came after a pause that
shows patience (`penstock.rules.spiral_detector`: polling). A failure counts when the tool was
called; three in a row earn one refusal with advice, after which the agent may try again, so that one that has found
its mistake can go on. (Calls that bring nothing new in other ways are the matter of `spiral`.)

The counts come from `tests/data/tau_airline`, 120 recorded runs of a real agent with 810 tool calls: 106 runs make no
call twice, 116 none more than twice, the most is four times; 111 have no more than two failures of a tool in a row,
and of the nine others one came to a good end, after four. `tests/sim/test_recorded_runs.py` prints what the rule does
there.
"""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict

WRITE_REPEATS = 1  # a write that was made is not made again with the same arguments
NUDGE_REPEATS = 2  # earlier calls with the same arguments: the next one is refused with advice
STOP_REPEATS = 8  # refused or made: the run is looping, and ends; before that `spiral` has a model answer
NUDGE_FAILURES = 3  # failures in a row of one tool
STOP_FAILURES = 6
WINDOW = 50  # how many past calls are looked at


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny a call that was made twice before with the same arguments; end a run that goes on asking."""
    if call.approved or (call.tool is not None and call.tool.repeatable):
        return None
    repeats = failures = written = 0
    counting_failures, latest_refused = True, None
    for past in reversed(run.past[-WINDOW:]):
        if past.name != call.name:
            continue
        if latest_refused is None:
            latest_refused = past.refused
        if past.digest == call.digest:
            repeats += not past.polled
            written += past.ok
        if counting_failures and not past.refused and not past.polled:
            counting_failures = not past.ok
            failures += counting_failures
    if repeats >= STOP_REPEATS:
        return Decision(Verdict.DENY, f"{call.name} was asked {repeats} times with these arguments", "loop", True)
    if failures >= STOP_FAILURES:
        return Decision(Verdict.DENY, f"{call.name} failed {failures} times in a row", "repeated_failure", True)
    if call.tool is not None and call.tool.effect == "write" and written >= WRITE_REPEATS:
        return Decision(Verdict.DENY, f"{call.name} was done already with these arguments", "repeated_write")
    if repeats >= NUDGE_REPEATS:
        words = f"{call.name} was called {repeats} times with these arguments; use the earlier result"
        return Decision(Verdict.DENY, words, "repeated_call")
    if failures >= NUDGE_FAILURES and not latest_refused:
        words = f"{call.name} failed {failures} times in a row; do something else"
        return Decision(Verdict.DENY, words, "repeated_failure")
    return None


RULE = Rule("repeats", 2, frozenset({"tool"}), decide)
