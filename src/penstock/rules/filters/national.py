"""Numbers that states give to people, by their form and check digits. Where those leave one number in ten, a word
nearby has to say what it is."""

import re
from collections.abc import Callable, Iterator
from datetime import date

from penstock.ports.classifiers import Finding
from penstock.rules.filters.cards import luhn

NEARBY = 48
"""Characters before a number in which a word may say what it is."""
_B, _E = r"(?<![A-Za-z0-9])(?<!\d[.,-])", r"(?![A-Za-z0-9])(?![.,-]\d)"


def _pattern(body: str) -> re.Pattern[str]:
    return re.compile(_B + body + _E)


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdigit()]


def _weighed(digits: list[int], weights: tuple[int, ...]) -> int:
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=False))


def _is_ssn(text: str) -> bool:
    """US: no area 000, 666 or 900 to 999, no group 00, no serial 0000 (SSA, since 2011)."""
    plain = text.replace("-", "").replace(" ", "")
    area, group, serial = plain[:3], plain[3:5], plain[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_nino(text: str) -> bool:
    """UK: prefixes that are not given out (HMRC, NIM39110)."""
    prefix = text[:2].upper()
    return prefix not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _is_steuer_id(text: str) -> bool:
    """DE: one digit of the first ten comes two or three times; check digit by ISO 7064 MOD 11,10."""
    digits = _digits(text)
    if digits[0] == 0 or max(digits[:10].count(digit) for digit in digits[:10]) not in (2, 3):
        return False
    product = 10
    for digit in digits[:10]:
        total = (digit + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == digits[10]


def _is_nir(text: str) -> bool:
    """FR: sex, year, month, department (2A and 2B are Corsica); the key is 97 less the rest modulo 97."""
    plain = text.replace(" ", "").upper()
    number = int(plain[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(plain[13:])


def _is_dni(text: str) -> bool:
    """ES: the letter is the number modulo 23; of a foreigner's X, Y, Z stand for 0, 1, 2."""
    plain = text.replace("-", "").replace(".", "").replace(" ", "").upper()
    number = int(plain[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == plain[-1]


def _is_bsn(text: str) -> bool:
    """NL: weights 9 to 2, and -1 for the last; the sum is divisible by 11."""
    digits = _digits(text)
    return any(digits) and _weighed(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _is_codice_fiscale(text: str) -> bool:
    """IT: the last letter is the sum of the others, those at odd places by a table (D.M. 23/12/1976)."""
    plain = text.upper()
    total = 0
    for place, character in enumerate(plain[:15]):
        value = int(character) if character.isdigit() else ord(character) - ord("A")
        total += value if place % 2 else _ODD[value]
    return chr(total % 26 + ord("A")) == plain[15]


def _is_pesel(text: str) -> bool:
    """PL: a date of birth with the century in the month; weights 1 3 7 9."""
    digits = _digits(text)
    month = digits[2] * 10 + digits[3]
    century = {0: 1900, 20: 2000, 40: 2100, 60: 2200, 80: 1800}.get(month // 20 * 20, 0)
    if not _is_date(century + digits[0] * 10 + digits[1], month % 20, digits[4] * 10 + digits[5]):
        return False
    return (_weighed(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) + digits[10]) % 10 == 0


def _is_rijksregister(text: str) -> bool:
    """BE: 97 less the first nine digits modulo 97, with a 2 before them for births from 2000 on."""
    plain = "".join(map(str, _digits(text)))
    month = int(plain[2:4])
    if month % 20 > 12 or int(plain[4:6]) > 31:
        return False
    return int(plain[9:]) in (97 - int(plain[:9]) % 97, 97 - int("2" + plain[:9]) % 97)


def _is_personnummer(text: str) -> bool:
    """SE: a date of birth, and Luhn over the last ten digits."""
    plain = "".join(map(str, _digits(text)))[-10:]
    month, day = int(plain[2:4]), int(plain[4:6])
    return 1 <= month <= 12 and 1 <= (day - 60 if day > 60 else day) <= 31 and luhn(plain)


def _is_ahv(text: str) -> bool:
    """CH: 756 and an EAN-13 check digit."""
    return _weighed(_digits(text), (1, 3) * 6 + (1,)) % 10 == 0


def _is_cpf(text: str) -> bool:
    """BR: two check digits modulo 11, weights 10 to 2 and 11 to 2."""
    digits = _digits(text)
    if len(set(digits)) == 1:
        return False
    for size in (9, 10):
        rest = sum(digit * (size + 1 - place) for place, digit in enumerate(digits[:size])) * 10 % 11 % 10
        if rest != digits[size]:
            return False
    return True


_VERHOEFF = [[0] * 10 for _ in range(10)]
for _i in range(10):
    for _j in range(10):
        _a, _b = _i % 5, _j % 5
        _VERHOEFF[_i][_j] = (_a + _b) % 5 + 5 * (_j >= 5) if _i < 5 else (_a - _b) % 5 + 5 * (_j < 5)
_TURNED = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
while len(_TURNED) < 8:
    _TURNED.append([_TURNED[-1][_TURNED[1][_i]] for _i in range(10)])


def _is_aadhaar(text: str) -> bool:
    """IN: check digit by Verhoeff's scheme (1969)."""
    check = 0
    for place, digit in enumerate(reversed(_digits(text))):
        check = _VERHOEFF[check][_TURNED[place % 8][digit]]
    return check == 0


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


_SSN_WORDS = r"ssn|social[ -]security|soc\.? sec"
_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], bool], str, float], ...] = (
    (_pattern(r"\d{3}-\d{2}-\d{4}"), _is_ssn, "", 0.9),
    (_pattern(r"\d{3} ?\d{2} ?\d{4}"), _is_ssn, _SSN_WORDS, 0.9),
    (_pattern(r"[A-CEGHJ-PR-TW-Za-z][A-CEGHJ-NPR-TW-Za-z] ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]"), _is_nino, "", 0.9),
    (_pattern(r"\d{2} ?\d{3} ?\d{3} ?\d{3}"), _is_steuer_id, r"steuer|tax[ -]id|\btin\b|idnr|id-?nr", 0.9),
    (
        _pattern(r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}"),
        _is_nir,
        "",
        0.97,
    ),
    (_pattern(r"(?:\d{8}|\d{2}\.\d{3}\.\d{3})[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]"), _is_dni, "", 0.9),
    (_pattern(r"[XYZxyz][ -]?\d{7}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]"), _is_dni, "", 0.9),
    (_pattern(r"\d{4}[. ]?\d{2}[. ]?\d{3}"), _is_bsn, r"\bbsn\b|burgerservice|sofi", 0.9),
    (
        _pattern(r"[A-Za-z]{6}\d{2}[A-EHLMPR-Ta-ehlmpr-t]\d{2}[A-Za-z]\d{3}[A-Za-z]"),
        _is_codice_fiscale,
        "",
        0.97,
    ),
    (_pattern(r"\d{11}"), _is_pesel, "", 0.9),
    (_pattern(r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}"), _is_rijksregister, "", 0.9),
    (_pattern(r"(?:19|20)?\d{6}[-+]\d{4}"), _is_personnummer, "", 0.9),
    (_pattern(r"756\.?\d{4}\.?\d{4}\.?\d{2}"), _is_ahv, "", 0.97),
    (_pattern(r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}"), _is_cpf, "", 0.9),
    (_pattern(r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}"), _is_aadhaar, r"aadhaar|aadhar|uidai", 0.9),
)
_WORDS = {words: re.compile(f"(?i){words}") for _, _, words, _ in _FORMS if words}
_FIGURES = re.compile(
    r"\d(?:(?<!\d\d)(?<!\d[.-]\d)(?!\d{3}-\d\d-\d\d(?!\d))(?:[ .-]?\d){5}|\d[A-Za-z]\d{2})"  # dates are none
)
_AROUND = 24
"""Characters around figures that a number may take, and more than any does."""


def find(text: str) -> Iterator[Finding]:
    """Numbers of people in the United States, the United Kingdom, Germany, France, Spain, the Netherlands, Italy,
    Poland, Belgium, Sweden, Switzerland, Brazil and India."""
    places = list(_places(text))
    if not places:
        return
    for pattern, is_valid, words, score in _FORMS:
        if words and _WORDS[words].search(text) is None:
            continue
        for low, high in places:
            for match in pattern.finditer(text, low, high):
                if is_valid(match[0]) and (not words or _is_said(text, match.start(), words)):
                    yield Finding(match.start(), match.end(), "national_id", score)


def _places(text: str) -> Iterator[tuple[int, int]]:
    """The parts of a text in which there are figures enough, apart from each other."""
    low = high = -1
    for figures in _FIGURES.finditer(text):
        if figures.start() - _AROUND > high:
            if high >= 0:
                yield low, high
            low = max(0, figures.start() - _AROUND)
        high = figures.end() + _AROUND
    if high >= 0:
        yield low, high


def _is_said(text: str, start: int, words: str) -> bool:
    return _WORDS[words].search(text, max(0, start - NEARBY), start) is not None
