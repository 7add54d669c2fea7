"""International bank account numbers: a country's length and the check digits (ISO 13616-1; ISO 7064 MOD 97-10)."""

import re
from collections.abc import Iterator

from penstock.ports.classifiers import Finding

_BEGIN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[ -]?\d{2}[ -]?(?=[A-Za-z0-9])")
_LENGTHS_TEXT = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24
FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32
LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24
RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"""
LENGTHS = {entry[:2]: int(entry[2:]) for entry in _LENGTHS_TEXT.split()}
"""Characters by country, of the registry that SWIFT keeps (release 99)."""


def find(text: str) -> Iterator[Finding]:
    """Account numbers, in one piece or in groups with single spaces or dashes between them."""
    for begin in _BEGIN.finditer(text):
        size = LENGTHS.get(begin[0][:2].upper())
        if size is None:
            continue
        end, characters = _taken(text, begin.start(), size)
        if len(characters) == size and not text[end : end + 1].isalnum() and is_valid(characters):
            yield Finding(begin.start(), end, "iban", 0.99)


def _taken(text: str, at: int, size: int) -> tuple[int, str]:
    """So many letters and digits from there, and where they end."""
    characters: list[str] = []
    while at < len(text) and len(characters) < size:
        character = text[at]
        if character.isascii() and character.isalnum():
            characters.append(character)
        elif character not in " -" or text[at - 1] in " -":
            break
        at += 1
    return at, "".join(characters).upper()


def is_valid(characters: str) -> bool:
    """Whether the check digits fit: the number with its first four characters last is 1 modulo 97, letters being 10 to
    35."""
    moved = characters[4:] + characters[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
