"""Tags as a header says them: ``customer=acme,feature=inbox``, whoever reads it."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from penstock.kernel.errors import InputInvalid

_WRONG_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HINT = "write them as customer=acme,feature=inbox; percent-encode (UTF-8) what is a comma, a percent sign or not ASCII"


def read_tags(values: Iterable[str]) -> dict[str, str]:
    """The tags of a request's ``Penstock-Tags`` headers, several of which count as one list (RFC 9110, 5.3).

    Names and values are percent-encoded UTF-8; white space around them does not count.

    Raises:
        InputInvalid: they are written otherwise, or one is there twice.
    """
    tags: dict[str, str] = {}
    for item in filter(None, (part.strip() for value in values for part in value.split(","))):
        raw_name, equals, raw_value = item.partition("=")
        if not equals or not item.isascii() or not item.isprintable() or _WRONG_PERCENT.search(item):
            raise InputInvalid(f"{item[:80]!a} is not a tag", hint=_HINT)
        try:
            name, value = (unquote(text.strip(), errors="strict") for text in (raw_name, raw_value))
        except UnicodeDecodeError:
            raise InputInvalid(f"{item[:80]!a} is not a tag in UTF-8", hint=_HINT) from None
        if not name:
            raise InputInvalid(f"{item[:80]!a} has no name", hint=_HINT)
        if name in tags:
            raise InputInvalid(f"the tag {name[:80]!a} is there twice", hint=_HINT)
        tags[name] = value
    return tags
