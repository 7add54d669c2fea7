"""What a model's tokens cost: the user's own file first, then the dated price list in the genai-prices package.

A look-up in that list takes some 67 microseconds; a price is therefore kept for the day it was looked up on, which is
also how long a price with a starting date may be late. Nothing is downloaded.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import SettingInvalid
from penstock.ports.price import Price, TieredPrice

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_NANO_PER_TOKEN = 1000  # one dollar per million tokens is 10**9 / 10**6 nano-dollars per token
_MAX_PER_MILLION = 1_000_000  # a dollar a token: whatever is dearer is a slip of the pen
_US_PER_DAY = 86_400_000_000
_FIELDS = {
    "input_per_million": "input",
    "output_per_million": "output",
    "cached_input_per_million": "cached_input",
    "cache_write_per_million": "cache_write",
    "cache_write_hour_per_million": "cache_write_hour",
    "reasoning_per_million": "reasoning",
    "audio_input_per_million": "audio_input",
    "cached_audio_per_million": "audio_cached",
    "audio_output_per_million": "audio_output",
    "image_input_per_million": "image_input",
    "image_output_per_million": "image_output",
}
_REQUIRED = ("input_per_million", "output_per_million")

# Names that pydantic-ai uses for a provider, where genai-prices uses another.
_PROVIDER_IDS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "azure-responses": "azure",
    "bedrock": "aws",
    "bedrock-mantle": "aws",
    "google-cloud": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "xai": "x-ai",
    "grok": "x-ai",
}

_LISTED = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_hour": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_input": "input_audio_mtok",
    "audio_cached": "cache_audio_read_mtok",
    "audio_output": "output_audio_mtok",
    "image_input": "input_image_mtok",
    "image_output": "output_image_mtok",
}

# Charges that a text call can cause and that no price per token can express: such a model's price counts as unknown.
_INEXPRESSIBLE = ("requests_kcount", "output_citation_mtok")


class PriceList:
    """Prices by model name (``provider:model``)."""

    def __init__(self, own: Mapping[str, Price] | None = None, clock: Clock | None = None) -> None:
        """``own`` comes before the package's list. ``clock`` decides which of several dated prices holds."""
        self._own = dict(own or {})
        self._clock: Clock = clock or SystemClock()
        self._kept: dict[tuple[str, bool], tuple[int, Price | None]] = {}

    @classmethod
    def from_file(cls, path: Path | None, clock: Clock | None = None) -> "PriceList":
        """The list with the prices of a JSON or TOML file in front; see `read_prices`.

        Raises:
            SettingInvalid: the file cannot be read; the message names the line or the field.
        """
        return cls(read_prices(path) if path else None, clock)

    def price_of(self, name: str) -> Price | None:
        """The price of ``provider:model`` today; None when it is not known."""
        return self._price_of(name, embeds=False)

    def embedding_price_of(self, name: str) -> Price | None:
        """The price of a model that makes embeddings; None when it is not known, or the model puts out words."""
        return self._price_of(name, embeds=True)

    def _price_of(self, name: str, *, embeds: bool) -> Price | None:
        own = self._own.get(name)
        if own is not None:
            return own
        day = self._clock.now_us() // _US_PER_DAY
        kept = self._kept.get((name, embeds))
        if kept is None or kept[0] != day:
            kept = self._kept[name, embeds] = day, _listed(name, day, embeds=embeds)
        return kept[1]


def read_prices(path: Path) -> dict[str, Price]:
    """The prices of a file: by model name a table of dollars per million tokens.

    The fields are ``input_per_million`` and ``output_per_million``, and optionally ``cached_input_per_million``,
    ``cache_write_per_million``, ``image_input_per_million`` (without them such tokens cost what other input costs) and
    ``reasoning_per_million`` (what other output costs); and ``cache_write_hour_per_million``,
    ``audio_input_per_million``, ``cached_audio_per_million``, ``audio_output_per_million`` and
    ``image_output_per_million``, without which such tokens have no price. A file whose name ends in ``.toml`` is
    read as TOML, any other as JSON.

    Raises:
        SettingInvalid: the file is missing or broken; the message names the line or the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _invalid(path, f"cannot be read: {reason}") from error
    try:
        if path.suffix == ".toml":
            models = tomllib.loads(text, parse_float=Decimal)
        else:
            models = json.loads(text, parse_float=Decimal, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise _invalid(path, f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, str(error)) from error
    except _DoubleKeyError as error:
        raise _invalid(
            path, f"line {_line_of(text, error.key, last=True)}: {error.key!r} stands there twice"
        ) from error
    if not isinstance(models, dict):
        raise _invalid(path, "line 1: the file must hold one object of models")
    return {name: _own_price(path, text, name, fields) for name, fields in models.items()}


class _DoubleKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DoubleKeyError(key)
        found[key] = value
    return found


def _own_price(path: Path, text: str, name: str, fields: object) -> Price:
    where = f"line {_line_of(text, name)}: {name!r}"
    if not isinstance(fields, dict):
        raise _invalid(path, f"{where} must be a table of prices")
    for field in fields:
        if field not in _FIELDS:
            raise _invalid(path, f"{where} has a field {field!r}; the fields are {', '.join(_FIELDS)}")
    for field in _REQUIRED:
        if field not in fields:
            raise _invalid(path, f"{where} has no {field}")
    rates = {_FIELDS[field]: _rate(path, f"{where}, {field}", value) for field, value in fields.items()}
    return Price(**rates, source=f"{path.name}, {name}")


def _rate(path: Path, where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _invalid(path, f"{where} is {value!r}, which is not a number of dollars")
    if not Decimal(value).is_finite() or not 0 <= value <= _MAX_PER_MILLION:
        raise _invalid(path, f"{where} is {value}; a price is between 0 and {_MAX_PER_MILLION:,} dollars")
    return float(value * _NANO_PER_TOKEN)


def _invalid(path: Path, what: str) -> SettingInvalid:
    return SettingInvalid(
        f"the prices file {path}: {what}",
        hint='write it as {"provider:model": {"input_per_million": 2.5, "output_per_million": 10}}, in dollars',
        setting="prices_file",
    )


def _line_of(text: str, key: str, *, last: bool = False) -> int:
    """The line on which a key stands, from 1; the parsers of the standard library do not tell."""
    places = [match.start() for match in re.finditer(re.escape(key), text)]
    return text.count("\n", 0, places[-1 if last else 0]) + 1 if places else 1


def _listed(name: str, day: int, *, embeds: bool = False) -> Price | None:
    provider, _, model = name.partition(":")
    if not model:
        return None
    # Importing the list takes a third of a second, so only processes that meet a real model pay for it.
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    provider = provider.removeprefix("gateway/")
    try:
        found, info = get_snapshot().find_provider_model(model, None, _PROVIDER_IDS.get(provider, provider), None)
    except LookupError:
        return None
    when = datetime.fromtimestamp(day * 86_400, UTC)
    source = f"genai-prices {genai_prices.__version__}, {found.id}/{info.id}, on {when:%Y-%m-%d}"
    return _converted(_in_force(info, when), source, embeds=embeds)


def _in_force(info: "ModelInfo", when: datetime) -> "list[ModelPrice]":
    """The price of that day, and those that hold at some hour of any day: the dearest of them is the safe one."""
    from genai_prices.types import TimeOfDateConstraint

    listed = info.prices
    hourly = (
        [] if not isinstance(listed, list) else [p for p in listed if isinstance(p.constraint, TimeOfDateConstraint)]
    )
    return [info.get_prices(when), *(entry.prices for entry in hourly)]


def _converted(prices: "list[ModelPrice]", source: str, *, embeds: bool) -> Price | None:
    from genai_prices.types import TieredPrices

    for price in prices:
        if price.input_mtok is None or (price.output_mtok is None) is not embeds:
            return None
        if any(getattr(price, key) is not None for key in _INEXPRESSIBLE):
            return None
    starts = {
        tier.start
        for price in prices
        for rate in vars(price).values()
        if isinstance(rate, TieredPrices)
        for tier in rate.tiers
    }
    base = _at(prices, 0, source)
    if not starts:
        return Price(**base)
    tiers = tuple((start, Price(**_at(prices, start + 1, source))) for start in sorted(starts))
    return TieredPrice(**base, tiers=tiers)


def _at(prices: "list[ModelPrice]", tokens_in: int, source: str) -> dict[str, Any]:
    """The fields of the flat price of a call with that much input."""

    def dearest(key: str) -> float | None:
        rates = [_reached(getattr(price, key, None), tokens_in) for price in prices]
        known = [rate for rate in rates if rate is not None]
        return max(known) if known else None

    rates = {field: dearest(key) for field, key in _LISTED.items()}
    assert rates["input"] is not None
    # What an embedding call can put out is nothing.
    return {**rates, "output": rates["output"] or 0.0, "source": source}


def _reached(rate: object, tokens_in: int) -> float | None:
    """Nano-dollars per token of a rate in dollars per million, at the tier that so much input reaches."""
    from genai_prices.types import TieredPrices

    if isinstance(rate, TieredPrices):
        reached = [tier.price for tier in rate.tiers if tokens_in > tier.start]
        rate = reached[-1] if reached else rate.base
    return float(rate * _NANO_PER_TOKEN) if isinstance(rate, Decimal) else None


@lru_cache(maxsize=1000)
def context_of(name: str) -> int | None:
    """How many tokens of context the list says that ``provider:model`` has; None when it does not know."""
    provider, _, model = name.partition(":")
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, info = get_snapshot().find_provider_model(model, None, _PROVIDER_IDS.get(provider, provider), None)
    except LookupError:
        return None
    return info.context_window
