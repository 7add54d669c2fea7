"""A trace as a tree on a terminal, with rich. Everything recorded passes `safe` first."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from penstock.cli.output import width
from penstock.cli.text import brief, plural, safe, whole
from penstock.events import Amount
from penstock.events.messages import Message, Part, Text, Thinking, ToolCall, ToolResult
from penstock.kernel.money import show_usd
from penstock.views.contents import Missing
from penstock.views.lines import DECISIONS, QUESTIONS, clock_time, duration, verdict_words, waiting_words
from penstock.views.spans import ApprovalSpan, Attempt, Mark, Span
from penstock.views.trace import Trace

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as Line
    from rich.tree import Tree

_GOOD = frozenset({"ok", "succeeded", "cached", "happened"})
_WAITING = frozenset({"open", "waiting", "in_doubt", "parked", "queued", "running", "hold", "flag"})
_ANSWERED_BY = {"may_run": "approve", "did_it_happen": "happened", "help": "answer"}
"""The command that answers a question."""
_QUIET_MARKS = frozenset({"run.parked", "run.claimed"})
_LABEL = 9  # columns of the words before a detail
_INDENT_PER_LEVEL = 4


def console() -> "Console":
    """The terminal, or plain text without colours where the output goes elsewhere. NO_COLOR is respected."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else 100_000,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not sys.stdout.isatty(),
    )


def draw(trace: Trace, *, full: bool = False) -> "Tree":
    """The tree of a run. ``full``: inputs and outputs whole instead of on one line."""
    from rich.tree import Tree

    tree = Tree(_lines(_heading(trace), _details_of_run(trace), full, 0))
    _grow(tree, trace, full, 1)
    return tree


def draw_span(span: Span, *, full: bool = False) -> "Tree":
    """One call, as in the tree of its run."""
    from rich.tree import Tree

    return Tree(_lines(_span_heading(span), _details(span), full, 0))


def _grow(tree: "Tree", trace: Trace, full: bool, level: int) -> None:
    items: list[Span | Mark] = [*trace.spans, *(mark for mark in trace.marks if full or mark.kind not in _QUIET_MARKS)]
    for item in sorted(items, key=lambda item: item.seq):
        if isinstance(item, Mark):
            tree.add(_mark_line(item, full, level))
        else:
            _add(tree, item, full, level)
    for line in _end(trace, full, level):
        tree.add(line)


def _add(tree: "Tree", span: Span, full: bool, level: int) -> None:
    node = tree.add(_lines(_span_heading(span), _details(span), full, level))
    for inner in span.spans:
        _add(node, inner, full, level + 1)
    if span.trace is not None:
        child = node.add(_lines(_heading(span.trace), _details_of_run(span.trace), full, level + 1))
        _grow(child, span.trace, full, level + 2)


def _heading(trace: Trace) -> list[tuple[str, str]]:
    status = trace.outcome or trace.status
    totals = trace.totals
    parts = [
        plural(totals.steps, "step"),
        plural(totals.tool_calls, "tool call"),
        f"{totals.tokens_in:,}+{totals.tokens_out:,} tokens",
        _money(totals.nano, trace.simulated),
    ]
    if trace.ended_at:
        parts.append(duration(trace.ended_at - trace.submitted_at))
    code = f" [{trace.code}]" if trace.code and trace.code != status else ""
    return [
        (f"run {trace.run}  ", "bold"),
        (f"{safe(trace.agent)}  ", "bold"),
        (f"{status}{code}", _style(status)),
        (f"  {' · '.join(parts)}", ""),
    ]


def _details_of_run(trace: Trace) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if trace.reason:
        found.append(("why", trace.reason))
    release = f"release {trace.release} · {trace.env}" + (f" · tenant {trace.tenant}" if trace.tenant else "")
    found.append(("of", release))
    who = f"{clock_time(trace.submitted_at)} by {trace.actor or 'unknown'}"
    found.append(("since", who + (f" for {trace.behalf}" if trace.behalf else "")))
    if trace.tags:
        found.append(("tags", " ".join(f"{name}={value}" for name, value in sorted(trace.tags.items()))))
    if budget := _budget(trace):
        found.append(("budget", budget))
    if trace.workers:
        found.append(("workers", ", ".join(trace.workers)))
    if trace.stop:
        found.append(("stop", f"a {trace.stop} is upon it"))
    if trace.absent:
        found.append(("note", f"{plural(trace.absent, 'payload')} erased or lost"))
    found.append(("goal", trace.input))
    found += [("waits", f"for {waiting_words(waiting)}") for waiting in trace.waiting]
    return found


def _end(trace: Trace, full: bool, level: int) -> Iterator["Line"]:
    if not trace.outcome:
        return
    label = "partial output" if trace.partial else "output"
    found: list[tuple[str, Any]] = []
    if trace.output is not None:
        found.append(("out", trace.output))
    found += [("missing", "; ".join(trace.missing))] if trace.missing else []
    found += [("needed", "; ".join(trace.needed))] if trace.needed else []
    yield _lines([(f"{label}  ", "bold"), (trace.outcome, _style(trace.outcome))], found, full, level)


def _span_heading(span: Span) -> list[tuple[str, str]]:
    if span.kind == "gather":
        return [(f"{span.path}  ", "dim"), (f"side by side, {span.name}", "bold"), (_took(span), "")]
    about = [span.about[name] for name in ("effect", "purpose") if span.about.get(name) not in (None, "step")]
    risk = f"{span.about['risk']} risk" if "risk" in span.about else ""
    words = [(f"{span.path}  ", "dim"), (f"{span.kind} ", ""), (safe(span.name), "bold")]
    if "confidence" in span.about:
        about.append(f"confidence {span.about['confidence']}")
    if about or risk:
        words.append((f"  {' · '.join([*about, *([risk] if risk else [])])}", "dim"))
    words.append((f"  {span.status.replace('_', ' ')}", _style(span.status)))
    words.append((_took(span), ""))
    if span.kind == "model" or span.used.tokens or span.used.nano:
        words.append((f"  {_amount(span.used)}  {_money(span.used.nano, span.simulated)}", ""))
    if span.passed:
        words.append((f"  {plural(len(span.passed), 'rule')} passed", "dim"))
    return words


def _details(span: Span) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if span.input is not None:
        found.append(("in", span.input))
    found += [("thinks", words) for words in span.reasoning]
    found += [("verdict", verdict_words(v) + (f" [{v.code}]" if v.code else "")) for v in span.verdicts]
    found += [("approval", _approval_words(approval)) for approval in span.approvals]
    if len(span.attempts) > 1 or any(attempt.doubt or attempt.settled_by for attempt in span.attempts):
        found += [(f"try {attempt.number}", _attempt_words(attempt)) for attempt in span.attempts]
    elif any(attempt.at_maximum for attempt in span.attempts):
        found.append(("charged", "at the maximum: what it really used is not known"))
    if span.kind == "model" and span.output is not None:
        found.append(("says", span.output))
    elif span.output is not None:
        found.append(("out", span.output))
    found += [("asks", f"{ask['name']}({ask['args']})") for ask in span.asks]
    if span.error:
        found.append(("error", span.error))
    found += [(name, span.about[name]) for name in ("bound to", "facts", "prompt", "to") if name in span.about]
    if span.child is not None and span.trace is None:
        found.append(("run", str(span.child)))
    return found


def _approval_words(approval: ApprovalSpan) -> str:
    question = QUESTIONS[approval.question]
    if not approval.decision:
        until = f", until {clock_time(approval.expires)}" if approval.expires else ""
        answer = _ANSWERED_BY[approval.question]
        return (
            f"{question} waits since {clock_time(approval.asked_at)}{until}: penstock approvals {answer} {approval.id}"
        )
    words = DECISIONS.get(approval.decision, approval.decision)
    reason = f": {approval.reason}" if isinstance(approval.reason, str) else ""
    return f"{question} {words} by {approval.actor} after {duration(approval.waited)}{reason}"


def _attempt_words(attempt: Attempt) -> str:
    words = [attempt.status.replace("_", " ") + (f": {attempt.failure}" if attempt.failure else "")]
    if attempt.because:
        words.insert(0, f"({attempt.because})")
    if attempt.doubt:
        words.append(f"in doubt after a {attempt.doubt}")
    if attempt.settled_by:
        words.append(f"settled by {attempt.settled_by}")
    if attempt.at_maximum:
        words.append("charged at the maximum")
    return f"{' '.join(words)}  {duration(attempt.latency)}" if attempt.latency else " ".join(words)


def _lines(heading: list[tuple[str, str]], details: list[tuple[str, Any]], full: bool, level: int) -> "Line":
    """A heading and, below it, one labelled line for each detail."""
    from rich.text import Text as Line

    line = Line()
    for words, style in heading:
        line.append(words, style or None)
    room = max(24, width() - level * _INDENT_PER_LEVEL - _LABEL - 2)
    for label, value in details:
        line.append(f"\n{label:<{_LABEL - 1}} ", "dim")
        text = _whole(value) if full else brief(_short(value), room)
        line.append(text.replace("\n", "\n" + " " * _LABEL), "italic" if label == "thinks" else None)
    return line


def _mark_line(mark: Mark, full: bool, level: int) -> "Line":
    """What happened between calls; of a run that was handed back also the two calls that differ."""
    first, *rest = mark.words.splitlines() or [""]
    style = "yellow" if mark.kind == "limit.reached" else "red" if mark.kind == "run.handed_back" else "dim"
    found: list[tuple[str, Any]] = [("", words.strip()) for words in rest]
    if full or mark.kind == "run.handed_back":
        found += [("now" if name == "attempted" else "then", value) for name, value in mark.payloads.items()]
    return _lines([("— ", "dim"), (safe(first), style)], found, full, level)


def _short(value: Any) -> Any:
    """A value fit for one line: of messages, the newest."""
    if isinstance(value, Missing):
        return f"({value.missing})"
    if isinstance(value, list) and value and isinstance(value[-1], Message | Missing):
        return f"{plural(len(value), 'new message')}, the last: {_message_words(value[-1])}"
    return value


def _whole(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(item, Message | Missing) for item in value):
        return "\n".join(safe(_message_words(item), lines=True) for item in value)
    return whole(_short(value))


def _message_words(message: Message | Missing) -> str:
    if isinstance(message, Missing):
        return f"({message.missing})"
    return f"{message.role}: " + " ".join(_part_words(part) for part in message.parts)


def _part_words(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Thinking():
            return f"(thinks) {part.text}"
        case ToolCall():
            return f"{part.name}({part.args})"
        case ToolResult():
            return f"{part.name} → {part.text}"


def _took(span: Span) -> str:
    return f"  {duration(span.duration)}" if span.duration else ""


def _amount(amount: Amount) -> str:
    extra = f" ({amount.cached:,} from cache)" if amount.cached else ""
    return f"{amount.tokens_in:,}+{amount.tokens_out:,} tokens{extra}"


def _money(nano: int, simulated: bool) -> str:
    return show_usd(nano) + (" (simulated)" if simulated else "")


def _budget(trace: Trace) -> str:
    budget = trace.budget
    parts = [f"{budget.tokens:,} tokens"] if budget.tokens else []
    parts += [show_usd(budget.nano)] if budget.nano else []
    parts += [
        f"{getattr(budget, name):g} {name}"
        for name in ("steps", "calls", "attempts", "seconds", "depth", "fanout")
        if getattr(budget, name)
    ]
    return ", ".join(parts)


def _style(status: str) -> str:
    if status in _GOOD:
        return "green"
    return "yellow" if status in _WAITING or status == "escalated" else "red"
