"""Telephone numbers: looked for by shape, held against the numbering plans that come with `phonenumbers`."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from penstock.ports.classifiers import Finding

if TYPE_CHECKING:
    import phonenumbers

REGIONS = (
    "US", "GB", "DE", "FR", "ES", "IT", "NL", "BE", "CH", "AT", "DK", "SE", "NO", "FI", "PL", "PT", "IE", "CZ", "HU",
    "AU", "NZ", "IN", "BR", "MX", "JP",
)  # fmt: skip
"""Countries whose numbers are known without their country code, unless others are named."""
NEARBY = 40
"""Characters before a number in which a word may say what it is."""
DIGITS_MIN, DIGITS_MAX = 7, 15
"""E.164 allows 15; shorter than seven are local numbers and services, which look like any other figure."""

_CANDIDATE = re.compile(
    r"(?<![\w@#$€£/.-])(?<!\d[ ,:])(?:\+ ?|00)?(?:\(\+?\d{1,5}\)|\d)[\d .()/-]{5,24}(?<=\d)"
    r"(?:[ ,]{0,2}(?:x|ext\.?|extension|#) ?\d{1,6})?(?![\w@%€£$])(?![-.,:/]\d)"
)
_FIGURES = re.compile(r"\d[\d .()/-]{5,}")
_EXTENSION = re.compile(r"(?:x|ext\.?|extension|#) ?\d{1,6}\Z")
_SAID = re.compile(
    r"(?i)\bphone|telephone|\btel\b|\bcall\b|\bcalling\b|\bdial|\bmobile|\bcell|\bfax\b|\bwhats ?app|\bsms\b|\btext me"
    r"|\breach\b|\bring\b|\bcontact\b|answering|\bhotline|\bt[ée]l[ée]|\btelefon|\bhandy\b|\bm[óo]vil|\bportable\b"
    r"|\bmob\b|\bph\b"
)
_SAID_AFTER = re.compile(r"(?i)[ ,-]{0,2}\(?(?:office|fax|phone|mobile|cell|home|work|tel)\b")
_OTHER = re.compile(r"(?i)licen[sc]e|account|\border|invoice|ticket|reference|\bref\b|tracking|\bid\b|serial|version")
_NOT_ONE = re.compile(
    r"(?:19|20)\d{2}[-./ ]\d{1,2}[-./ ]\d{1,2}.*|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d{2}.*"  # dates
    r"|\d{1,3}(?:\.\d{1,3}){3}|\d{5}-\d{4}|\d{3}-\d{2}-\d{4}"  # addresses of hosts, postal codes, US social security
    r"|(?:19|20)\d{2} ?[-/] ?(?:19|20)\d{2}|(?:\d \D*){5,}\d?"  # spans of years, lists
)
_SUM = re.compile(r"\d{1,3}(?:[ .]\d{3})+")
_GROUPS = re.compile(r"\d+")


def find(text: str, regions: Sequence[str] = REGIONS) -> Iterator[Finding]:
    """Numbers with a country code from anywhere, and those of some countries without."""
    for match in _candidates(text):
        words = match[0]
        extension = _EXTENSION.search(words)
        body = words[: extension.start()].rstrip(" ,") if extension else words
        groups = _GROUPS.findall(body)
        digits = "".join(groups)
        if not DIGITS_MIN <= len(digits) <= DIGITS_MAX + 2 or _NOT_ONE.fullmatch(body):
            continue
        score = _score(text, match.span(), body, groups, digits, extension is not None, tuple(regions))
        if score:
            yield Finding(match.start(), match.end(), "phone", score)


def _candidates(text: str) -> Iterator[re.Match[str]]:
    """Runs of figures that are written like a telephone number."""
    at = 0
    for figures in _FIGURES.finditer(text):
        low, high = max(at, figures.start() - 3), figures.end() + 20
        for match in _CANDIDATE.finditer(text, low, high):
            if match.end() <= high - 3 or high >= len(text):
                yield match
                at = match.end()


def _score(
    text: str,
    span: tuple[int, int],
    body: str,
    groups: list[str],
    digits: str,
    has_extension: bool,
    regions: tuple[str, ...],
) -> float:
    """How sure it is that this is a telephone number; 0 = it is none."""
    start, end = span
    if body[0] == "+" or body.startswith(("(+", "00")):
        if is_international("+" + (digits if not body.startswith("00") else digits[2:])):
            return 0.85
        if body[0] == "+" or has_extension:
            return 0.6 if len(digits) >= 9 else 0.0
    if len(digits) > 12:
        return 0.0
    if len(groups) > 6 or max(map(len, groups)) > 10 or (len(groups) > 1 and min(map(len, groups[1:])) < 2):
        return 0.0
    known = is_known(digits, regions)
    if _is_said(text, start, end):
        return 0.75 if known else 0.55
    if len(groups) == 1 or max(map(len, groups)) > 8 or _SUM.fullmatch(body):
        return 0.0
    shaped = body[0] in "(0" or has_extension or _is_telephonic(groups)
    if (known and shaped) or _is_north_american(groups):
        return 0.7
    return 0.5 if has_extension else 0.0


def _is_said(text: str, start: int, end: int) -> bool:
    """Whether a word says that it is a telephone number, and none after it that it is something else."""
    if _SAID_AFTER.match(text, end):
        return True
    words = list(_SAID.finditer(text, max(0, start - NEARBY), start))
    return bool(words) and _OTHER.search(text, words[-1].end(), start) is None


def _is_telephonic(groups: list[str]) -> bool:
    """Whether the groups have the sizes that telephone numbers are written in."""
    sizes = [len(group) for group in groups]
    return sizes[-1] in (2, 3, 4) and all(2 <= size <= 5 for size in sizes[1:]) and sizes[0] <= 4 and len(sizes) >= 3


def _is_north_american(groups: list[str]) -> bool:
    """3-3-4, with or without a 1: whoever writes that means a telephone, though the area is not given out."""
    sizes = [len(group) for group in groups]
    return sizes == [3, 3, 4] or (sizes == [1, 3, 3, 4] and groups[0] == "1")


def is_international(number: str) -> bool:
    """Whether ``+`` and digits are a number of the plan of their country."""
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, None)))
    except phonenumbers.NumberParseException:
        return False


def is_known(digits: str, regions: tuple[str, ...] = REGIONS) -> bool:
    """Whether the digits are a number of the plan of one of the regions, with or without its trunk prefix."""
    return any(plan is not None and _fits(plan, digits) for plan in map(_plan, regions))


class _Plan:
    """A region's numbering plan, as far as it says which digits are a number."""

    def __init__(self, region: str, metadata: "phonenumbers.PhoneMetadata") -> None:
        self.region = region
        self.prefix = metadata.national_prefix or ""
        described = [
            getattr(metadata, kind)
            for kind in ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "uan")
        ]
        patterns = {one.national_number_pattern for one in described if one is not None}
        self.pattern = re.compile("|".join(f"(?:{pattern})" for pattern in sorted(filter(None, patterns))) or r"(?!)")


@lru_cache(maxsize=256)
def _plan(region: str) -> _Plan | None:
    import phonenumbers

    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    return None if metadata is None else _Plan(region, metadata)


def _fits(plan: _Plan, digits: str) -> bool:
    if plan.prefix and digits.startswith(plan.prefix) and plan.pattern.fullmatch(digits, len(plan.prefix)):
        return True
    return plan.pattern.fullmatch(digits) is not None and (not plan.prefix or plan.prefix == "1")


def is_region(region: str) -> bool:
    """Whether it is the code of a country whose numbering plan is known."""
    return _plan(region) is not None
