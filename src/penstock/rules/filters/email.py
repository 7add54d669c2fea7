"""E-mail addresses: the dot-atom form of RFC 5322 §3.4.1, with a domain that has a dot in it."""

import re
from collections.abc import Iterator

from penstock.ports.classifiers import Finding

_DOMAIN = re.compile(r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}\Z")
_LEADING = "'`.{|/=*?&"


def find(text: str) -> Iterator[Finding]:
    """Addresses. The part before the @ is looked for from there, so that long words cost nothing."""
    if "@" not in text:
        return
    for domain in _DOMAIN.finditer(text):
        at = domain.start()
        local = _LOCAL.search(text, max(0, at - 64), at)
        if local is None:
            continue
        words = local[0].lstrip(_LEADING)
        if words and not words.endswith("."):
            yield Finding(at - len(words), domain.end(), "email", 0.95)
