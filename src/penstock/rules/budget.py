"""Money and tokens: a call is allowed only when the most it can use still fits."""

from penstock.kernel.money import NANO, show_usd
from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict

WRAP_UP = 70
MUST_ANSWER = 90
EXHAUSTED = 100


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny a call whose reservation does not fit beside what is spent, held, and set aside for the final answer."""
    budget = run.budget
    if budget.nano and call.gate == "model" and call.price is None:
        return Decision(Verdict.DENY, f"the price of {call.name} is not known", "price_unknown", ends_run=True)
    aside_tokens, aside_nano = (0, 0) if call.final else (run.aside_tokens, run.aside_nano)
    if budget.tokens:
        room = budget.tokens - run.tokens - run.held_tokens - aside_tokens
        if call.reserved.tokens > room:
            words = f"the call may use {call.reserved.tokens:,} tokens; {max(room, 0):,} of {budget.tokens:,} are free"
            return Decision(Verdict.DENY, words, "over_tokens", ends_run=call.gate == "model")
    if budget.nano:
        room = budget.nano - run.nano - run.held_nano - aside_nano
        if call.reserved.nano > room:
            words = f"the call may cost {show_usd(call.reserved.nano)}; {show_usd(max(room, 0))} are free"
            return Decision(Verdict.DENY, words, "over_usd", ends_run=call.gate == "model")
    return None


def fits(call: CallFacts, run: RunFacts) -> bool:
    """Whether the budget would allow the call."""
    return decide(call, run) is None


def level(run: RunFacts) -> int:
    """The highest threshold reached by any limit: 0, 70, 90 or 100.

    The next step must answer when after it no further one would be possible, whatever the percentage.
    """
    _, used, of = dominant_limit(run)
    percent = 100 * used / of if of else 0.0
    if run.budget.steps and run.steps == run.budget.steps - 1:
        percent = max(percent, MUST_ANSWER)
    for mark in (EXHAUSTED, MUST_ANSWER, WRAP_UP):
        if percent >= mark:
            return mark
    return 0


def dominant_limit(run: RunFacts) -> tuple[str, float, float]:
    """The limit that is used up furthest: its name, what is used, and of how much; a limit of 0 is none."""
    budget = run.budget
    shares = (
        ("tokens", run.tokens, budget.tokens),
        ("usd", run.nano / NANO, budget.nano / NANO),
        ("steps", run.steps, budget.steps),
        ("calls", run.tool_calls, budget.calls),
        ("seconds", run.seconds, budget.seconds),
    )
    furthest: tuple[str, float, float] = shares[0]
    most = -1.0
    for share in shares:
        _, used, of = share
        if of and used / of > most:
            furthest, most = share, used / of
    return furthest


RULE = Rule("budget", 1, frozenset({"model", "child"}), decide)
