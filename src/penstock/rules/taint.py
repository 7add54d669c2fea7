"""Writes after the run has read something that anybody may have written: only with what was asked for by its own words.

What such a text says to a model may be an instruction, and no filter knows all of those. So the question is not what it
says but where the arguments come from: a write goes ahead when those that its tool declares ``grounded`` (whom it goes
to, what it changes) are words of whoever asked, and when no address or link in the others is news. Else a person is
asked. This stops an instruction that was planted from choosing where something goes. It does not stop one that changes
what is said, or picks the wrong one of the things that were named: see docs/explanation/prompt-injection.md.
"""

import re
import unicodedata
from typing import Any

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict

NUMBER_MIN_DIGITS = 4
"""Shorter numbers are in most texts by chance."""
_NO_WORD = re.compile(r"[\W_]+")
_ADDRESS = re.compile(
    r"(?i)\b(?:https?://|www\.)[^\s<>\"']{3,256}|[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,100}|\b[a-z]{2}\d{2}[a-z0-9]{8,30}\b"
)


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Hold, or deny, a write whose arguments may have been chosen by what was read."""
    filters, tool = run.filters, call.tool
    if filters is None or filters.after_untrusted == "allow" or not run.taint or tool is None:
        return None
    if tool.effect != "write" or call.approved:
        return None
    strange = ungrounded(call.args, tool.grounded, run.asked)
    if not strange:
        return None
    verdict = Verdict.DENY if filters.after_untrusted == "deny" else Verdict.HOLD
    source = ", ".join(sorted(run.taint))[:100]
    return Decision(verdict, f"{tool.name} after reading {source}: nobody asked for this {strange}", "untrusted_source")


def ungrounded(args: Any, grounded: tuple[str, ...] | None, asked: str) -> str:
    """The first argument that is not in the words of whoever asked; '' = all are. ``grounded``: those that must be;
    None = all of them."""
    if not isinstance(args, dict):
        return "call"
    words = f" {_plain(asked)} "
    for name, value in args.items():
        if grounded is None or name in grounded:
            if not _is_said(value, words):
                return str(name)
        elif any(not _is_said(address, words) for text in _texts(value) for address in _ADDRESS.findall(text)):
            return f"address in {name}"
    return ""


def _is_said(value: Any, words: str) -> bool:
    """Whether a value, or each part of it, stands in the words as whole words. Nothing and yes and no always do."""
    if value is None or isinstance(value, bool) or value == "":
        return True
    if isinstance(value, list):
        return all(_is_said(item, words) for item in value)
    if isinstance(value, dict):
        return all(_is_said(item, words) for item in value.values())
    said = _plain(str(value))
    if not said or (said.isdigit() and len(said) < NUMBER_MIN_DIGITS):
        return False
    return f" {said} " in words


def words_of(value: Any) -> str:
    """The words of a plain value, one beside the other."""
    if isinstance(value, dict):
        return " / ".join(map(words_of, value.values()))
    if isinstance(value, list):
        return " / ".join(map(words_of, value))
    return "" if value is None else str(value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inside for text in _texts(item)]


def _plain(text: str) -> str:
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


RULE = Rule("taint", 1, frozenset({"tool"}), decide)
