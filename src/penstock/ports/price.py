"""What a model's tokens cost, class by class, and how a usage is rated."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from penstock.events import Amount

AudioOrImage = Literal["audio_in", "audio_out", "image_in", "image_out", "written_hour"]
"""What a call of words alone does not use: whoever sends more says so when the most is reserved."""
SOURCE_MAX = 60
"""Characters of a price's source that a record keeps."""

_PARTS = 1_000_000  # of a nano-dollar: rates are exact to that, sums of them are integers


@dataclass(slots=True, frozen=True)
class Price:
    """Nano-dollars per token. ``source`` says where it was looked up, in which version or of which date.

    A class without a rate of its own costs what its whole costs (``None``: cached and image input as input, reasoning
    as output); but audio, images that a model makes, and what is written to a cache for an hour cost more than their
    whole everywhere: without a rate of their own they cannot be rated.
    """

    input: float
    output: float
    cached_input: float | None = None  # None = as input
    cache_write: float | None = None  # None = as input
    source: str = ""
    cache_write_hour: float | None = None  # None = cannot be rated
    reasoning: float | None = None  # None = as output
    audio_input: float | None = None  # None = cannot be rated
    audio_cached: float | None = None  # None = as audio_input
    audio_output: float | None = None  # None = cannot be rated
    image_input: float | None = None  # None = as input
    image_output: float | None = None  # None = cannot be rated
    # Parts of a nano-dollar: what a token of words costs, and at most, so that no call has to work them out again.
    _plain_in: int = field(init=False, repr=False, compare=False, default=0)
    _plain_out: int = field(init=False, repr=False, compare=False, default=0)
    _most_in: int = field(init=False, repr=False, compare=False, default=0)
    _most_out: int = field(init=False, repr=False, compare=False, default=0)
    _words: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        rates_in = (self.input, self.cached_input, self.cache_write)
        keep = object.__setattr__
        keep(self, "_plain_in", round(self.input * _PARTS))
        keep(self, "_plain_out", round(self.output * _PARTS))
        keep(self, "_most_in", _dearest(rates_in))
        keep(self, "_most_out", _dearest((self.output, self.reasoning)))

    def of(self, used: Amount) -> int:
        """Nano-dollars of a usage, rounded up: an account never shows less than was spent.

        Where a cached token may have been an image, both are charged for it.

        Raises:
            ValueError: it holds tokens of a class that has no rate; see `rate`.
        """
        nano = self.rate(used)
        if nano is None:
            raise ValueError("tokens of a class that has no price")
        return nano

    def rate(self, used: Amount) -> int | None:
        """The same; None when it holds tokens of a class that has no rate: no price is not a price of nothing."""
        # Of words alone, nothing cached, as most usages are:
        if used.tokens_in >= 0 <= used.tokens_out and used == Amount(used.tokens_in, used.tokens_out, used.nano):
            return -(-(used.tokens_in * self._plain_in + used.tokens_out * self._plain_out) // _PARTS)
        spoken = used.audio_in - used.audio_cached
        plain = used.tokens_in - used.cached - used.written - spoken - used.image_in
        words_out = used.tokens_out - used.audio_out - used.image_out
        reasoned = min(used.reasoning, words_out)
        counted = (
            (max(0, plain), self.input),
            (used.cached - used.audio_cached, _or(self.cached_input, self.input)),
            (used.written - used.written_hour, _or(self.cache_write, self.input)),
            (used.written_hour, self.cache_write_hour),
            (spoken, self.audio_input),
            (used.audio_cached, self.audio_input if self.audio_cached is None else self.audio_cached),
            (used.image_in, _or(self.image_input, self.input)),
            (words_out - reasoned, self.output),
            (reasoned, _or(self.reasoning, self.output)),
            (used.audio_out, self.audio_output),
            (used.image_out, self.image_output),
        )
        total = 0
        for tokens, rate in counted:
            if tokens:
                if rate is None:
                    return None
                total += tokens * round(rate * _PARTS)
        return -(-total // _PARTS)

    def at_most(self, tokens_in: int, tokens_out: int, also: Iterable[AudioOrImage] = ()) -> int:
        """Nano-dollars no call of that size can exceed: every token at the dearest rate.

        Args:
            also: what beyond words the call may use; a class without a rate in it counts as what its whole costs, so
                ask `covers` first.
        """
        most_in, most_out = self._most_in, self._most_out
        if also:
            wanted = set(also)
            if "written_hour" in wanted:
                most_in = max(most_in, _dearest((self.cache_write_hour,)))
            if "audio_in" in wanted:
                most_in = max(most_in, _dearest((self.audio_input, self.audio_cached)))
            if "image_in" in wanted:
                # A cached image may be charged twice, see `of`.
                twice = _or(self.image_input, self.input) + _or(self.cached_input, self.input)
                most_in = max(most_in, _dearest((twice,)))
            if "audio_out" in wanted:
                most_out = max(most_out, _dearest((self.audio_output,)))
            if "image_out" in wanted:
                most_out = max(most_out, _dearest((self.image_output,)))
        return -(-(tokens_in * most_in + tokens_out * most_out) // _PARTS)

    def covers(self, classes: Iterable[AudioOrImage]) -> bool:
        """Whether calls that use these can be rated."""
        rates = {
            "written_hour": self.cache_write_hour,
            "audio_in": self.audio_input,
            "audio_out": self.audio_output,
            "image_in": _or(self.image_input, self.input),
            "image_out": self.image_output,
        }
        return all(rates[name] is not None for name in classes)

    @property
    def text(self) -> str:
        """All its rates and its source, as a settled call records them: ``in=2500 out=10000 cached=1250 @my list``."""
        if not self._words:
            object.__setattr__(self, "_words", _text(self))
        return self._words

    def _rates(self) -> str:
        found = [(name, getattr(self, field)) for name, field in _NAMES.items()]
        return " ".join(f"{name}={rate:.15g}" for name, rate in found if rate is not None)


_NAMES = {
    "in": "input",
    "out": "output",
    "cached": "cached_input",
    "written": "cache_write",
    "written_hour": "cache_write_hour",
    "reasoning": "reasoning",
    "audio_in": "audio_input",
    "audio_cached": "audio_cached",
    "audio_out": "audio_output",
    "image_in": "image_input",
    "image_out": "image_output",
}


@dataclass(slots=True, frozen=True)
class TieredPrice(Price):
    """A price that changes for the whole call when its input passes a threshold (long prompts cost more per token).

    ``tiers`` are (input tokens that must be exceeded, the price from there on), ascending.
    """

    tiers: tuple[tuple[int, Price], ...] = ()

    def rate(self, used: Amount) -> int | None:
        """Nano-dollars of a usage at the tier its input reached, rounded up; None as for any price."""
        for above, price in reversed(self.tiers):
            if used.tokens_in > above:
                return price.rate(used)
        return Price.rate(self, used)

    def at_most(self, tokens_in: int, tokens_out: int, also: Iterable[AudioOrImage] = ()) -> int:
        """Nano-dollars no call of that size can exceed: the dearest of all tiers it can reach."""
        wanted = tuple(also)
        reachable = [price.at_most(tokens_in, tokens_out, wanted) for above, price in self.tiers if tokens_in > above]
        return max([Price.at_most(self, tokens_in, tokens_out, wanted), *reachable])


def price_of_text(text: str) -> Price | None:
    """The price that a settled call records; None when it records none, or what is none."""
    rates, _, source = text.partition(" @")
    flat: list[tuple[int, dict[str, float]]] = [(-1, {})]
    try:
        for word in rates.split():
            if word.startswith(">"):
                flat.append((int(word[1:]), {}))
            else:
                name, _, rate = word.partition("=")
                flat[-1][1][_NAMES[name]] = float(rate)
        base, *tiers = [(above, {"source": source, **fields}) for above, fields in flat]
        if not tiers:
            return Price(**base[1])  # type: ignore[arg-type]
        return TieredPrice(**base[1], tiers=tuple((above, Price(**fields)) for above, fields in tiers))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _dearest(rates: Iterable[float | None]) -> int:
    """Parts of a nano-dollar of the dearest of some rates; 0 where there is none."""
    return max([round(rate * _PARTS) for rate in rates if rate is not None], default=0)


def _or(rate: float | None, whole: float) -> float:
    return whole if rate is None else rate


def _text(price: Price) -> str:
    parts = [price._rates()]  # noqa: SLF001 - this module's own
    for above, tier in price.tiers if isinstance(price, TieredPrice) else ():
        parts += [f">{above}", tier._rates()]  # noqa: SLF001
    return f"{' '.join(parts)} @{price.source[:SOURCE_MAX]}"
