"""What filters find, what they leave alone, and what a text becomes that comes in pieces."""

import random
import time
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import Filters
from penstock.adapters.filters.presidio import PresidioClassifier
from penstock.ports.classifiers import Finding
from penstock.rules.filters import cards, iban, national, phone, secrets
from penstock.rules.filters.custom import PatternUnsafe, compiled
from penstock.rules.filters.filters import read_filters
from penstock.rules.filters.finding import apart
from penstock.rules.filters.sift import Sifted, sift_text, sift_value
from penstock.rules.filters.stream import HELD_MAX, StreamSifter

ALL = Filters({"all": "redact"}).places["output"]
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"


def clean(text: str) -> str:
    return sift_text(ALL, text, None, Sifted())


@pytest.mark.parametrize(
    ("text", "released"),
    [
        # Published test numbers of the brands.
        ("4111111111111111", "[card]"),
        ("4111 1111 1111 1111.", "[card]."),
        ("5555-5555-5555-4444", "[card]"),
        ("378282246310005", "[card]"),
        ("3782 822463 10005", "[card]"),
        ("6011111111111117", "[card]"),
        ("30569309025904", "[card]"),
        ("3530111333300000", "[card]"),
        ("card 4111 1111 1111 1111 2026", "card [card] 2026"),
        ("４１１１１１１１１１１１１１１１", "[card]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[card]"),
        ("4111111111111112", "4111111111111112"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("0000000000000000", "0000000000000000"),
        # From the IBAN registry's examples.
        ("GB29 NWBK 6016 1331 9268 19", "[iban]"),
        ("gb29nwbk60161331926819", "[iban]"),
        ("DE89370400440532013000,", "[iban],"),
        ("FR14 2004 1010 0505 0001 3M02 606", "[iban]"),
        ("DE89370400440532013001", "DE89370400440532013001"),
        ("ada.l+x@mail.acme.co.uk!", "[email]!"),
        ("<ada@acme.example>", "<[email]>"),
        ("ada@localhost, @ada, a@b", "ada@localhost, @ada, a@b"),
        ("+44 20 7946 0958", "[phone]"),
        ("+1 (212) 555-0123 ext. 4", "[phone]"),
        ("(212) 555-0123", "[phone]"),
        ("call me on 030 901820", "call me on [phone]"),
        ("2026-11-22 14:30, 22.11.2026, 192.168.1.254", "2026-11-22 14:30, 22.11.2026, 192.168.1.254"),
        ("order 5551234567, invoice 20261122", "order 5551234567, invoice 20261122"),
        ("1 000 000 of 12 345 678", "1 000 000 of 12 345 678"),
        ("10115-1234 and 3.14159265", "10115-1234 and 3.14159265"),
        ("078-05-1120", "[national_id]"),
        ("666-05-1120 or 078-00-1120", "666-05-1120 or 078-00-1120"),
        ("his SSN 078051120", "his SSN [national_id]"),
        ("AB 12 34 56 C", "[national_id]"),
        ("Steuer-ID 86095742719", "Steuer-ID [national_id]"),
        ("Steuer-ID 86095742718", "Steuer-ID 86095742718"),
        ("12345678Z and X1234567L", "[national_id] and [national_id]"),
        ("12345678A", "12345678A"),
        ("BSN 111222333", "BSN [national_id]"),
        ("RSSMRA85T10A562S", "[national_id]"),
        ("44051401359", "[national_id]"),
        ("756.9217.0769.85", "[national_id]"),
        ("529.982.247-25", "[national_id]"),
        ("1 84 12 76 451 089 46", "[national_id]"),
        ("sk-proj-" + "aB3" * 10, "[secret]"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("ghp_" + "a1B2" * 9, "[secret]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "[secret]"),
        ("postgres://app:s3cr3t!@db/x", "postgres://app:[secret]@db/x"),
        ("password=hunter22!", "password=[secret]"),
        ("the password is hunter22!", "the password is [secret]"),
        ('{"api_key": "9f8Kx2Lq0PzR7mTw"}', '{"api_key": "[secret]"}'),
        ("I forgot my password again", "I forgot my password again"),
        ("password: required, token: none", "password: required, token: none"),
        (
            "a secret recipe, a token of thanks, the key question",
            "a secret recipe, a token of thanks, the key question",
        ),
        (f"x {KEY} y", "x [secret] y"),
        ("x -----BEGIN PRIVATE KEY-----\nMII", "x [secret]"),
        ("tok_email_abcdefgh234567ab [card]", "tok_email_abcdefgh234567ab [card]"),
    ],
)
def test_what_is_found_and_what_is_left_alone(text: str, released: str) -> None:
    assert clean(text) == released
    assert clean(released) == released  # what stands in its place is not found again


@pytest.mark.parametrize("digits", ["4111111111111111", "30569309025904", "6304939304310009610"])
def test_any_wrong_digit_of_a_card_is_no_card(digits: str) -> None:
    for place, digit in enumerate(digits):
        for other in "0123456789":
            changed = digits[:place] + other + digits[place + 1 :]
            assert cards.luhn(changed) == (other == digit)


def test_check_digits_of_ibans_find_each_single_change() -> None:
    number = "GB29NWBK60161331926819"
    assert iban.is_valid(number)
    for place in range(4, len(number)):
        changed = number[:place] + ("1" if number[place] != "1" else "2") + number[place + 1 :]
        assert not iban.is_valid(changed)


def test_verhoeffs_scheme_agrees_with_its_published_example() -> None:
    # 236 has the check digit 3 (Verhoeff 1969, as quoted by Wagner and Putter, CACM 32/1).
    assert national._is_aadhaar("2363")
    assert not any(national._is_aadhaar(f"236{digit}") for digit in "012456789")


def test_a_telephone_number_of_a_country_that_is_not_named_needs_its_code() -> None:
    assert list(phone.find("06 12 34 56 78", ("US",))) == []
    assert [one.kind for one in phone.find("06 12 34 56 78", ("FR",))] == ["phone"]
    assert [one.kind for one in phone.find("+33 6 12 34 56 78", ("US",))] == ["phone"]


def test_values_are_read_with_their_fields_names_and_numbers_as_text() -> None:
    value = {
        "card": 4111111111111111,
        "password": "hunter22!",
        "phone": "5551234567",
        "count": 5551234567,
        "ada@acme.example": [None, True, 1.5, "x"],
    }
    sifted = Sifted()
    released = sift_value(ALL, value, None, sifted)
    assert released == {
        "card": "[card]",
        "password": "[secret]",
        "phone": "[phone]",
        "count": 5551234567,
        "[email]": [None, True, 1.5, "x"],
    }
    assert sifted.counts == {(kind, "redact"): 1 for kind in ("card", "secret", "phone", "email")}


def test_of_findings_that_overlap_the_strictest_then_the_surest_counts() -> None:
    found = [Finding(0, 10, "a", 0.9), Finding(5, 20, "b", 0.5), Finding(20, 22, "a", 0.1)]
    assert [one.kind for one in apart(found)] == ["a", "a"]
    assert [one.kind for one in apart(found, {"a": 1, "b": 3})] == ["b", "a"]


SENTENCES = (
    "Please charge 4111 1111 1111 1111 for the stay",
    "my number is (212) 555-0123, ext. 4 in the office",
    "write to ada.l@acme.example or bob@mail.example now",
    "GB29 NWBK 6016 1331 9268 19 is where it goes",
    "the password is hunter22! and nobody else has it",
    "we met on 2026-11-22 at 14:30 and paid 1 000 000 for 12 of them",
    f"here: {KEY} that was all of it",
    "- - -- --- ---- dashes and 1 2 3 4 5 6 7 8 9 figures",
    "his ssn 078051120 was on file; the steuer-id 86095742719 too",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N came by post",
    "an ordinary sentence with nothing in it at all",
    "sk-proj-aB3aB3aB3aB3aB3aB3aB3aB3 and AKIAIOSFODNN7EXAMPLE",
)


@pytest.mark.parametrize("seed", range(60))
def test_pieces_of_any_size_come_to_the_same_as_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    text = " ".join(chance.choice(SENTENCES) for _ in range(chance.randint(1, 8)))
    stream, at, said = StreamSifter(ALL, None), 0, ""
    while at < len(text):
        size = chance.choice((1, 1, 2, 3, 5, 20))
        said += stream.feed(text[at : at + size])
        at += size
        assert clean(text).startswith(said)  # also so far: nothing is said that the whole has not
    said += stream.end()
    whole = Sifted()
    assert said == sift_text(ALL, text, None, whole)
    assert stream.sifted.counts == whole.counts


def test_an_ordinary_text_is_held_back_by_a_few_words_only() -> None:
    text, stream, said = "an ordinary sentence with nothing much in it " * 20, StreamSifter(ALL, None), 0
    for at, letter in enumerate(text):
        said += len(stream.feed(letter))
        assert at - said < 32


def test_an_own_pattern_is_found_across_pieces() -> None:
    place = Filters({"order": "redact"}, patterns={"order": r"order called \d{4}"}).places["output"]
    for size in range(1, 9):
        stream = StreamSifter(place, None, place.widest)
        text = "please look at order called 1234 and tell them when it will be with them at last"
        said = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.end()
        assert said == text.replace("order called 1234", "[order]")


@pytest.mark.parametrize("endless", ["-----BEGIN PRIVATE KEY-----\n" + "MIIE " * 5000, "1 2 3 " * 5000, "x" * 30_000])
def test_what_is_held_has_a_bound_and_a_key_without_end_is_never_said(endless: str) -> None:
    stream, said, most = StreamSifter(ALL, None), "", 0
    for at in range(0, len(endless), 7):
        said += stream.feed(endless[at : at + 7])
        most = max(most, len(stream._held))
    said += stream.end()
    assert most <= HELD_MAX * 5 // 4 + 7
    assert said == ("[secret]" if "PRIVATE" in endless else endless)


def test_after_a_key_that_was_too_long_the_text_goes_on() -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{'MIIEowIBAA' * 900}\n-----END PRIVATE KEY----- and then it was over"
    stream = StreamSifter(ALL, None)
    said = "".join(stream.feed(text[at : at + 11]) for at in range(0, len(text), 11)) + stream.end()
    assert said == "[secret] and then it was over"


def test_a_stream_stops_at_what_is_blocked() -> None:
    stream = StreamSifter(Filters({"card": "block"}).places["output"], None)
    said = "".join(map(stream.feed, "all of it goes to the card 4111111111111111 and more words here")) + stream.end()
    assert said == "all of it goes to the card "
    assert stream.blocked


@pytest.mark.parametrize(
    "pattern",
    [r"(a+)+b", r"a*", r"(a|a)*b", r".{1,300}", r"(\w{1,50}){1,50}", r"(a)\1", "(", r"(?:a{0,200}){0,3}b{0,200}", ""],
)
def test_patterns_that_could_run_away_are_refused(pattern: str) -> None:
    with pytest.raises(PatternUnsafe):
        compiled("mine", pattern)


@pytest.mark.parametrize(
    "pattern", [r"ORD-\d{8}", r"\b[A-Z]{2,4}-\d{1,6}\b", r"(?:de|fr)\d{3}", r"x(?=y)", r"(?i)acct \w{1,12}"]
)
def test_patterns_with_bounds_are_taken(pattern: str) -> None:
    assert compiled("mine", pattern).pattern == pattern


@pytest.mark.parametrize(
    "text",
    ["1" * 60_000, "1 " * 30_000, "a@" * 30_000, "+1-" * 20_000, "GB29 " * 12_000, "password " * 6000, "(" * 60_000,
     "-----BEGIN " * 5000, "eyJ" * 20_000, "a." * 30_000 + "@x.de", "http://" + "a:" * 30_000, "078-05-1120 " * 5000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    sift_text(ALL, text, None, Sifted())
    assert time.process_time() - began < 3  # some 60 kB; what it takes grows as the text does


def test_filters_as_a_setting_writes_them() -> None:
    filters = read_filters("pii=redact secret,card=block untrusted=hold")
    assert filters is not None
    assert filters.places["output"].actions["card"] == "block"
    assert filters.places["output"].actions["email"] == "redact"
    assert filters.places["arguments"].actions == {"card": "block", "secret": "block"}
    assert filters.after_untrusted == "hold"
    assert read_filters("  ") is None


async def test_presidios_findings_are_taken_as_they_are() -> None:
    class Analyzer:
        def analyze(self, text: str, language: str, entities: list[str] | None = None) -> Any:
            assert (language, entities) == ("en", ["PERSON"])
            return [SimpleNamespace(entity_type="PERSON", start=0, end=3, score=0.85)]

    found = await PresidioClassifier(Analyzer(), entities=["PERSON"]).classify("Ada was here")
    assert found == [Finding(0, 3, "person", 0.85)]


def test_words_have_less_entropy_than_secrets() -> None:
    assert secrets.entropy("correcthorse") < secrets.entropy("9f8Kx2Lq0PzR")
    assert secrets.entropy("") == 0
