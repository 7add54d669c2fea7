"""What the simulated agent says. All of it is made up by rule; every reply ends with the mark."""

from collections.abc import Sequence
from typing import Any

from penstock.adapters.simulated.examples import Guess
from penstock.kernel.randomness import seeded

MARK = "(simulated)"

_DOUBTS = (
    "Something about this does not add up, so I should look at the data again before I answer.",
    "On reflection the figures could be read another way; I will fetch them once more to be certain.",
    "My last draft may have been too hasty. Let me start it again from the facts.",
    "I want to rule out that the record has changed since I last looked.",
    "The tone of the draft is not right yet, and a detail is missing. I will reconsider it from the beginning.",
    "There may be a second cause that I have overlooked. I will check everything again, step by step.",
    "Before I commit to this, let me verify the account and compare it with the customer's words again.",
)
_ANGLES = ("fees", "limits", "delays", "status", "identity", "cards", "currency", "merchant", "reversal", "timing")


def topic(intent: str) -> str:
    """An intent as words: ``card_about_to_expire`` → ``card about to expire``."""
    return intent.replace("_", " ").strip("?").lower()


def opening_thought(guess: Guess) -> str:
    """The first thing the agent writes: what it takes the question for."""
    return f"Category: {guess.category} (confidence {guess.confidence:.2f}). I will look up what I need."


def rephrased(question: str, intent: str, step: int) -> str:
    """A help search that differs a little from all before."""
    angle = _ANGLES[step % len(_ANGLES)]
    words = question.split()
    start = step % max(1, len(words) - 3)
    return f"{topic(intent)} {angle} {' '.join(words[start : start + 4])}"[:200]


def doubt(seed: int, question: str, intent: str, step: int, facts: str) -> str:
    """One round of a spiral: a doubt and the whole draft again, so that the context grows with every round."""
    draw = seeded("doubt", seed, question, step)
    first, second = draw.sample(_DOUBTS, 2)
    draft = (
        f"Draft {step + 2}: Thank you for writing to us about {topic(intent)}. You asked: “{question[:300]}” "
        f"Here is what I can see at the moment: {facts[:400]} Please give us a little time while we look into it; "
        "we will come back to you as soon as we know more."
    )
    return f"{first} {second}\n\n{draft}"


def reply_text(opening: str, help_text: str, done: Sequence[str], undone: Sequence[str]) -> str:
    """The reply to the customer: opening, what the help pages say, what was done, what was not."""
    parts = [opening]
    if help_text:
        parts.append(help_text)
    parts.extend(done)
    parts.extend(undone)
    parts.append(f"If anything is still unclear, just answer this message. {MARK}")
    return " ".join(parts)


def help_sentences(result: Any, limit: int = 420) -> str:
    """The text of the first help page of a search result, cut at a sentence; empty when there is none."""
    pages = result.get("articles") if isinstance(result, dict) else None
    if not isinstance(pages, list) or not pages or not isinstance(pages[0], dict):
        return ""
    text = str(pages[0].get("text", ""))
    if len(text) <= limit:
        return text
    cut = text.rfind(". ", 0, limit)
    return text[: cut + 1] if cut > 0 else text[:limit]


def cents(amount: int) -> str:
    """An amount for people, such as ``12.50``."""
    return f"{abs(amount) // 100}.{abs(amount) % 100:02d}"
