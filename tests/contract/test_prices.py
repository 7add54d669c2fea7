"""Prices: the built-in list, the user's file, and what is said of a broken file."""

from pathlib import Path

import pytest

from penstock.adapters.prices import PriceList, read_prices
from penstock.events import Amount
from penstock.kernel.errors import SettingInvalid
from penstock.ports.price import Price, TieredPrice

NOVEMBER_2026_US = 1_795_000_000_000_000


class Calendar:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now_us: int = NOVEMBER_2026_US) -> None:
        self.now = now_us

    def now_us(self) -> int:
        return self.now

    def boot_ns(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


@pytest.mark.parametrize(
    ("name", "dollars_per_million"),
    [
        # Input, output, cached input, cache write: the providers' published prices.
        ("openai:gpt-4o", (2.50, 10.00, 1.25, None)),
        ("openai-chat:gpt-4o", (2.50, 10.00, 1.25, None)),
        ("openai-responses:gpt-4o", (2.50, 10.00, 1.25, None)),
        ("gateway/openai:gpt-4o", (2.50, 10.00, 1.25, None)),
        ("openai:gpt-5-mini", (0.25, 2.00, 0.025, None)),
        ("anthropic:claude-haiku-4-5", (1.00, 5.00, 0.10, 1.25)),
        ("bedrock:anthropic.claude-3-5-sonnet-20240620-v1:0", (3.00, 15.00, 0.30, 3.75)),
    ],
)
def test_known_prices(name: str, dollars_per_million: tuple[float | None, ...]) -> None:
    price = PriceList(clock=Calendar()).price_of(name)
    assert price is not None
    nano = tuple(None if dollars is None else dollars * 1000 for dollars in dollars_per_million)
    assert (price.input, price.output, price.cached_input, price.cache_write) == pytest.approx(nano)
    assert price.source.startswith("genai-prices ")
    assert price.source.endswith("on 2026-11-18")


@pytest.mark.parametrize(
    "name",
    [
        "openai:gpt-unheard-of",
        "nobody:gpt-4o",
        "ollama:llama3",  # runs on the user's own machine; another host's price would be wrong
        "perplexity:sonar",  # has a fee for each request besides
        "openai:text-embedding-3-small",  # no output
        "gpt-4o",
        "openai:",
        "",
    ],
)
def test_unknown_is_none_not_a_guess(name: str) -> None:
    assert PriceList(clock=Calendar()).price_of(name) is None


def test_a_usage_is_priced_in_its_parts_and_rounded_up() -> None:
    price = PriceList(clock=Calendar()).price_of("anthropic:claude-haiku-4-5")
    assert price is not None
    assert price.of(Amount(1000, 10, cached=700, written=200)) == 100 * 1000 + 700 * 100 + 200 * 1250 + 10 * 5000
    assert Price(0.4, 0.4).of(Amount(1, 0)) == 1


def test_a_long_prompt_costs_its_own_tier() -> None:
    price = PriceList(clock=Calendar()).price_of("anthropic:claude-sonnet-4-5")
    assert isinstance(price, TieredPrice)
    assert price.of(Amount(200_000, 10)) == 200_000 * 3000 + 10 * 15_000
    assert price.of(Amount(200_001, 10)) == 200_001 * 6000 + 10 * 22_500
    for tokens_in in (0, 1, 199_999, 200_000, 200_001, 1_000_000):
        used = Amount(tokens_in, 500, written=tokens_in)
        assert price.of(used) <= price.at_most(tokens_in, 500)
    assert price.at_most(200_000, 0) < price.at_most(200_001, 0)


def test_a_price_is_kept_for_a_day_and_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from genai_prices.data_snapshot import DataSnapshot

    looked_up: list[str] = []
    original = DataSnapshot.find_provider_model

    def counted(self: DataSnapshot, model: str, *rest: None) -> object:
        looked_up.append(model)
        return original(self, model, *rest)

    monkeypatch.setattr(DataSnapshot, "find_provider_model", counted)
    calendar = Calendar()
    prices = PriceList(clock=calendar)
    first = prices.price_of("openai:gpt-4o")
    assert prices.price_of("openai:gpt-4o") is first
    assert prices.price_of("openai:nope") is prices.price_of("openai:nope") is None
    assert looked_up == ["gpt-4o", "nope"]
    calendar.now += 86_400_000_000
    again = prices.price_of("openai:gpt-4o")
    assert again is not None
    assert again.source.endswith("on 2026-11-19")
    assert looked_up == ["gpt-4o", "nope", "gpt-4o"]


JSON_FILE = """{
  "openai:gpt-4o": {"input_per_million": 2, "output_per_million": 8.5},
  "inhouse:llama": {
    "input_per_million": 0.1,
    "output_per_million": 0.2,
    "cached_input_per_million": 0.01,
    "cache_write_per_million": 0.125
  }
}
"""
TOML_FILE = """["openai:gpt-4o"]
input_per_million = 2
output_per_million = 8.5

["inhouse:llama"]
input_per_million = 0.1
output_per_million = 0.2
cached_input_per_million = 0.01
cache_write_per_million = 0.125
"""


@pytest.mark.parametrize(("file", "text"), [("prices.json", JSON_FILE), ("prices.toml", TOML_FILE)])
def test_the_users_file_comes_first(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.write_text(text)
    prices = PriceList.from_file(path, Calendar())
    assert prices.price_of("openai:gpt-4o") == Price(2000.0, 8500.0, source=f"{file}, openai:gpt-4o")
    assert prices.price_of("inhouse:llama") == Price(100.0, 200.0, 10.0, 125.0, f"{file}, inhouse:llama")
    listed = prices.price_of("openai:gpt-5-mini")
    assert listed is not None
    assert listed.source.startswith("genai-prices")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("a.json", '{\n  "openai:x": {"input_per_million": 1,}\n}', "line 2, column 39"),
        ("a.json", "", "line 1, column 1"),
        ("a.json", "[]", "line 1"),
        ("a.json", '{\n\n"openai:x": 3}', "line 3: 'openai:x' must be a table"),
        ("a.json", '{\n"openai:x": {"input_per_million": 1}}', "line 2: 'openai:x' has no output_per_million"),
        (
            "a.json",
            '{"openai:x": {"input_per_million": 1, "output_per_million": 2, "output": 3}}',
            "line 1: 'openai:x' has a field 'output'",
        ),
        (
            "a.json",
            '{"openai:x": {"input_per_million": "1", "output_per_million": 2}}',
            "line 1: 'openai:x', input_per_million is '1'",
        ),
        ("a.json", '{"openai:x": {"input_per_million": true, "output_per_million": 2}}', "input_per_million is True"),
        ("a.json", '{"openai:x": {"input_per_million": -1, "output_per_million": 2}}', "input_per_million is -1"),
        ("a.json", '{"openai:x": {"input_per_million": NaN, "output_per_million": 2}}', "input_per_million is nan"),
        (
            "a.json",
            '{"openai:x": {"input_per_million": 1, "output_per_million": 1e999}}',
            "output_per_million is 1E+999",
        ),
        (
            "a.json",
            '{"openai:x": {"input_per_million": 1, "output_per_million": 2},\n"openai:x": {}}',
            "line 2: 'openai:x' stands there twice",
        ),
        ("a.toml", '["openai:x"]\ninput_per_million = \n', "line 2"),
        ("a.toml", '["openai:x"]\ninput_per_million = inf\noutput_per_million = 1\n', "input_per_million is Infinity"),
        ("a.toml", '["openai:x"]\ninput_per_million = 1\n["openai:x"]\n', "line 3"),
    ],
)
def test_a_broken_file_is_named_with_line_or_field(tmp_path: Path, file: str, text: str, said: str) -> None:
    path = tmp_path / file
    path.write_text(text)
    with pytest.raises(SettingInvalid) as caught:
        PriceList.from_file(path)
    assert said in caught.value.what
    assert file in caught.value.what
    assert caught.value.fields["setting"] == "prices_file"


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="No such file"):
        read_prices(tmp_path / "absent.json")
    (tmp_path / "odd.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(SettingInvalid, match="not UTF-8"):
        read_prices(tmp_path / "odd.json")
    with pytest.raises(SettingInvalid):
        read_prices(tmp_path)
