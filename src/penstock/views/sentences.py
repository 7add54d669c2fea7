"""What happened, in one sentence that a stranger understands: of a run, and of one call. No content is in them."""

from penstock.kernel.money import show_usd
from penstock.views.lines import DECISIONS, duration, verdict_words
from penstock.views.skeleton import Skeleton
from penstock.views.spans import ApprovalSpan, Span
from penstock.views.standing import ENDS, UNFINISHED

_ACTS = {
    "model": "asked {}",
    "tool": "called {}",
    "child": "delegated to {}",
    "timer": "waited for a timer",
    "wait": "waited for {}",
    "message": "sent {}",
    "note": "recorded {}",
    "decision": "decided {}",
    "patch": "took a branch of changed code, {}",
    "stage": "went through the stage {}",
    "gather": "did {} side by side",
    "document": "used the {}",
}
_STATES = {
    "open": "it has not ended",
    "waiting": "it waits",
    "in_doubt": "whether it happened is not known",
    "denied": "it was not made",
    "lost": "its answer was lost",
    "not_started": "it did not start in time",
    "timed_out": "its time was over",
    "happened": "it had happened, as was found out later",
    "did_not_happen": "it had not happened, as was found out later",
}


def span_sentence(span: Span) -> str:
    """One call."""
    if span.kind == "timer" and span.name == "timeout":
        return "Limited the time of what came next." if span.status != "error" else "The time was over."
    said = [_act(span)]
    if span.approvals:
        said += [_question(span, approval) for approval in span.approvals]
    elif span.status == "denied":
        said.append(_denied(span))
    tries = len({attempt.number for attempt in span.attempts})
    if tries > 1:
        said.append(f"it took {tries} attempts")
    if span.status not in ("ok", "denied"):
        state = _STATES.get(span.status, f"it ended as {span.status.replace('_', ' ')}")
        said.append(f"{state}: {span.error}" if span.error else state)
    elif span.ended_at and span.kind in ("model", "tool", "child", "wait"):
        said.append(f"{duration(span.duration)}{_money(span.used.nano)}")
    sentence = "; ".join(said)
    return sentence[:1].upper() + sentence[1:] + "."


def run_sentence(skeleton: Skeleton, outcome: str = "", reason: str = "", status: str = "") -> str:
    """A whole run: how it stands, by which call when one stands out, and where its time went.

    Args:
        outcome, reason: of its end, when it has ended.
        status: of its row, when it has not.
    """
    spans = skeleton.spans
    how = ENDS.get(outcome, f"It ended as {outcome}") if outcome else f"It is {status or 'running'}"
    if outcome and outcome != "succeeded" and reason:
        how += f": {reason}"
    said = [how]
    held = [index for index, verdict in enumerate(spans.verdict) if verdict == 2]
    denied = [index for index, verdict in enumerate(spans.verdict) if verdict == 3]
    doubted = [index for index in range(len(spans.path)) if skeleton.statuses[spans.status[index]] == "in_doubt"]
    if doubted:
        said.append(f"whether {_name(skeleton, doubted[0])} happened is not known")
    if held:
        index = held[-1]
        state = skeleton.statuses[spans.status[index]]
        waited = sum(part.duration for part in skeleton.critical if part.span == index and part.part == "approval")
        verb = "waits" if state in UNFINISHED else "waited"
        long = f" for {duration(waited)}" if waited else ""
        said.append(f"{_name(skeleton, index)} {verb}{long} for a person")
    if denied:
        more = f" and {len(denied) - 1} more" if len(denied) > 1 else ""
        said.append(f"rules refused {_name(skeleton, denied[0])}{more}")
    if skeleton.loops:
        said.append(skeleton.loops[-1].said)
    part, share = max(skeleton.critical_share.items(), key=lambda item: item[1])
    if share >= 0.5 and skeleton.total > 0 and len(said) < 3:
        said.append(f"{share:.0%} of {duration(skeleton.total)} went to {_PART_WORDS[part]}")
    return "; ".join(said) + "."


_PART_WORDS = {
    "queue": "waiting in the queue",
    "model": "models",
    "tool": "tools",
    "approval": "waiting for a person",
    "wait": "waiting",
    "engine": "the agent's own code",
}


def _name(skeleton: Skeleton, index: int) -> str:
    return skeleton.names[skeleton.spans.name[index]] or skeleton.kinds[skeleton.spans.kind[index]]


def _act(span: Span) -> str:
    act = _ACTS.get(span.kind, f"{span.kind.replace('.', ' ')} {{}}")
    if span.status == "denied" or (span.approvals and not span.attempts):
        act = {"model": "wanted to ask {}", "tool": "wanted to call {}", "child": "wanted to delegate to {}"}.get(
            span.kind, act
        )
    return act.format(span.name or "something").strip()


def _question(span: Span, approval: ApprovalSpan) -> str:
    holders = [verdict.rule for verdict in span.verdicts if verdict.verdict == "hold"]
    by = f" by rule {holders[0]}" if holders and approval.question == "may_run" else ""
    asked = f"held{by}" if approval.question == "may_run" else "a person was asked whether it had happened"
    if not approval.decision:
        return f"{asked}, nobody has decided yet"
    decided = DECISIONS.get(approval.decision, approval.decision)
    return f"{asked}; {approval.actor or 'nobody'} decided after {duration(approval.waited)}: {decided}"


def _denied(span: Span) -> str:
    denying = [verdict for verdict in span.verdicts if verdict.verdict == "deny"]
    return f"refused by {verdict_words(denying[0])}" if denying else "refused"


def _money(nano: int) -> str:
    return f", {show_usd(nano)}" if nano else ""
