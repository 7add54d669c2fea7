"""Sentences that a stranger understands."""

from typing import Any

from penstock.events import Event
from penstock.gates.order.tape import Identity
from penstock.kernel.errors import Divergence

NOTE_70 = (
    "Wrap up: most of this task's budget is used, or the last calls brought nothing new. Finish with what you have, "
    "and fetch only what you cannot answer without."
)
NOTE_SPIRAL = (
    "Your last calls brought nothing new: they repeat earlier ones, fail, or are refused. Use what you have, do "
    "something different, or answer now."
)
NOTE_SPIRAL_LAST = "Answer now with what you know: your calls bring nothing new, and tools are no longer open."
NOTE_90 = "Answer now with what you know: this task's room is almost used up, and tools can no longer be called."


_BUDGET_LEFT = "[budget left: "


def divergence(path: str, recorded: Event, known: Identity, made: Identity, shown: Any = None) -> Divergence:
    """The error for a call that is not the one the tape holds at its place."""
    if (known.kind, known.name) != (made.kind, made.name):
        difference = "another call stands here"
    else:
        difference = "the same call, with other arguments"
    lines = [
        f"the agent's code did not repeat its tape: at call {path} (seq {recorded.seq}), {difference}",
        f"  recorded:  {known.kind} {known.name}  arguments {known.digest[:12] or '-'}",
        f"  attempted: {made.kind} {made.name}  arguments {made.digest[:12] or '-'}",
    ]
    return Divergence(
        "\n".join(lines),
        path=path,
        seq=recorded.seq,
        recorded=f"{known.kind} {known.name}",
        attempted=f"{made.kind} {made.name}",
        recorded_payloads=recorded.payloads,
        attempted_args=shown,
    )


def budget_line(tokens: tuple[int, int], nano: tuple[int, int], steps: tuple[int, int], show: Any) -> str:
    """What remains, for the model: each pair is (used, limit); a limit of 0 is left out."""
    parts = []
    if tokens[1]:
        parts.append(f"{max(0, tokens[1] - tokens[0]):,} of {tokens[1]:,} tokens")
    if nano[1]:
        parts.append(f"{show(max(0, nano[1] - nano[0]))} of {show(nano[1])}")
    if steps[1]:
        parts.append(f"{max(0, steps[1] - steps[0])} of {steps[1]} steps")
    return f"{_BUDGET_LEFT}{', '.join(parts)}]" if parts else ""


def is_budget_line(text: str) -> bool:
    """Whether words are those of `budget_line`."""
    return text.startswith(_BUDGET_LEFT) and text.endswith("]") and "\n" not in text
