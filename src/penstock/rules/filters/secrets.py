"""Secrets: keys by their issuers' prefixes, private keys, signed tokens, passwords in links and settings."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from penstock.ports.classifiers import Finding

_B = r"(?<![A-Za-z0-9_-])"
_PREFIXED: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (mark, re.compile(_B + pattern))
    for mark, pattern in (
        ("sk-", r"sk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,200}"),  # OpenAI, Anthropic, OpenRouter
        ("k_live_", r"[rs]k_live_[A-Za-z0-9]{16,200}"),  # Stripe
        ("k_test_", r"[rs]k_test_[A-Za-z0-9]{16,200}"),
        ("whsec_", r"whsec_[A-Za-z0-9+/=]{20,100}"),
        ("AKIA", r"AKIA[A-Z2-7]{16}(?![A-Za-z0-9])"),  # AWS
        ("ASIA", r"ASIA[A-Z2-7]{16}(?![A-Za-z0-9])"),
        ("gh", r"gh[pousr]_[A-Za-z0-9]{36,255}"),  # GitHub
        ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
        ("glpat-", r"glpat-[A-Za-z0-9_-]{20,100}"),  # GitLab
        ("xox", r"xox[abeprs]-[A-Za-z0-9-]{10,250}"),  # Slack
        ("hooks.slack.com", r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,100}"),
        ("AIza", r"AIza[A-Za-z0-9_-]{35}"),  # Google
        ("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
        ("SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),  # SendGrid
        ("npm_", r"npm_[A-Za-z0-9]{36}"),
        ("pypi-", r"pypi-[A-Za-z0-9_-]{50,250}"),
        ("hf_", r"hf_[A-Za-z0-9]{30,60}"),  # Hugging Face
        ("dop_v1_", r"dop_v1_[a-f0-9]{64}"),  # DigitalOcean
        ("shpat_", r"shpat_[a-fA-F0-9]{32}"),  # Shopify
        ("hvs.", r"hvs\.[A-Za-z0-9_-]{24,200}"),  # Vault
        ("AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
        ("eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),  # RFC 7519
    )
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_IN_LINK = re.compile(r"://[^\s/:@]{1,64}:([^\s/:@]{3,128})@")
_NAMED = re.compile(
    r"(?i)(pass(?:word|wd|phrase|code)|pwd|secret|api[ _-]?key|access[ _-]?key|private[ _-]?key|credential|bearer"
    r"|(?:auth|access|api|refresh|session|id)[ _-]?token)s?\b"
    r"[\"']?(?:\s{0,3}(?:[:=]{1,2}|=>|is:?)\s{0,3}|\s{1,3})([\"'`]?)([^\s\"'`,;<>(){}\[\]]{6,256})"
)
_NAMES = (
    *("pass", "pwd", "secret", "api", "access", "private", "credential", "bearer", "auth", "refresh", "session"),
    *("id token", "id_token", "id-token"),
)
"""How what `_NAMED` looks for begins: found a hundred times as fast as by trying it at each character."""
_PLAIN = re.compile(r"(?i)tok_[a-z_]+_[a-z2-7]{16}|[*•x.]+|none|null|true|false|required|changeme|\$.*|%.*")
ENTROPY_MIN = 3.0
"""Bits a character (Shannon, of the value's own letters): words of six letters and more have 2 to 2.8."""


def find(text: str) -> Iterator[Finding]:
    """Secrets. Only their values are found, not what they are called."""
    for mark, pattern in _PREFIXED:
        if mark in text:
            for match in pattern.finditer(text):
                yield Finding(match.start(), match.end(), "secret", 1.0)
    if "-----BEGIN" in text:
        for begin in _PEM.finditer(text):
            end = _PEM_END.search(text, begin.end())
            yield Finding(begin.start(), end.end() if end else len(text), "secret", 1.0)
    if "://" in text and "@" in text:
        for match in _IN_LINK.finditer(text):
            yield Finding(*match.span(1), "secret", 0.99)
    for match in _named(text):
        if _is_secret(match):
            yield Finding(*match.span(3), "secret", 0.98)


def _named(text: str) -> Iterator[re.Match[str]]:
    """Values that a name stands before."""
    lower = text.lower()
    if len(lower) != len(text):  # letters of some alphabets become two
        yield from _NAMED.finditer(text)
        return
    for name in _NAMES:
        at = lower.find(name)
        while at >= 0:
            match = _NAMED.match(text, at)
            if match is not None:
                yield match
            at = lower.find(name, at + 1)


def _is_secret(match: re.Match[str]) -> bool:
    """Whether what a name stands before is a value and not a word: mixed, or long and without a pattern."""
    name, value = match[1].lower(), match[3].rstrip(".!?:")
    if _PLAIN.fullmatch(value) or value.startswith("["):
        return False
    is_assigned = any(sign in match[0][len(match[1]) : match.start(3) - match.start()] for sign in ":=")
    is_mixed = any(map(str.isdigit, value)) or any(not character.isalnum() for character in value.strip("-_/."))
    if name.startswith(("pass", "pwd")):
        return is_mixed and (is_assigned or " is" in match[0].lower() or not value.isdigit())
    if len(value) < 12:
        return is_assigned and is_mixed and len(value) >= 8 and entropy(value) >= ENTROPY_MIN - 0.25
    return is_mixed and entropy(value) >= ENTROPY_MIN


def entropy(value: str) -> float:
    """Shannon's entropy of the characters of a value, in bits a character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values()) if size else 0.0


def open_from(text: str) -> int | None:
    """Where a private key begins whose end has not come yet, or what may become the head of one; None = nowhere."""
    begin = text.rfind("-----BEGIN")
    if begin >= 0:
        if _PEM_END.search(text, begin):
            return None
        head = text[begin : begin + 80]
        return begin if _PEM.match(head) or "\n" not in head else None
    for size in range(min(9, len(text)), 0, -1):
        if "-----BEGIN".startswith(text[-size:]):
            return len(text) - size
    return None


def end_of_key(text: str) -> int | None:
    """Where the last line of a private key ends; None = it has not come."""
    end = _PEM_END.search(text)
    return None if end is None else end.end()
