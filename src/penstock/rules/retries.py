"""Retry budget: tries again are a small part of all calls, over a whole family of runs, so that they cannot multiply.

Three tries at each of four levels would make one failing call 81 calls, just when what is called is in trouble. So a
run may try again once for every ten calls it has made, and beyond that draws on a base that its family shares: it is
handed down in halves, and what a child does not use comes back. A family makes at most base + calls / 10 tries again.

Source: the retry budgets of Finagle (`RetryBudget`: a share of requests, and a minimum reserve) and of gRPC (retry
throttling, gRFC A6); why: Google, "Site Reliability Engineering", ch. 22, "Addressing Cascading Failures".
"""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def earned(run: RunFacts) -> int:
    """Tries again that the run's own first attempts allow."""
    return int((run.attempts - run.retries) * run.retry_percent / 100)


def drawn(run: RunFacts) -> int:
    """How much of the base is used up, children that have ended included."""
    return run.retries_below + max(0, run.retries - earned(run))


def in_base(run: RunFacts) -> int:
    """What is left of the base, and not set aside for a child."""
    return max(0, run.retry_base - drawn(run) - run.retries_held)


def allows_another(run: RunFacts) -> bool:
    """Whether the run may try something again now."""
    return run.retries < earned(run) or in_base(run) > 0


def is_retry(run: RunFacts, agent: str, digest: str) -> bool:
    """Whether starting this child is trying again: it failed before in this run, with the same input."""
    return (agent, digest) in run.failed_children


def share_of_child(run: RunFacts, asked: int, *, again: bool = False) -> int:
    """The part of the base that a child gets: half of what is left, no more than it asks for (0 = does not say).

    ``again``: starting it is itself a try again, which comes out of what is left first.
    """
    left = in_base(run) - (again and run.retries >= earned(run))
    share = -(-max(0, left) // 2)
    return share if asked == 0 else min(share, max(0, asked))


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny a child that failed before in this run with the same input, when the budget allows no more tries."""
    if not is_retry(run, call.name, call.digest) or allows_another(run):
        return None
    words = f"{call.name} failed before with this input, and the retry budget of this family of runs is used up"
    return Decision(Verdict.DENY, words, "over_retries")


RULE = Rule("retries", 1, frozenset({"child"}), decide)
