"""A provider's own usage file beside what was recorded: per day and model ours, theirs, and what explains a difference.

Read are the files that providers let one download, by their columns' names; further columns are passed over, and lines
of other keys count with all others.

========= =============================================================================================================
openai    the usage export of completions or embeddings, with the field names of its Usage API: ``start_time`` (seconds
          since the epoch) or ``start_time_iso``, ``model``, ``num_model_requests``, ``input_tokens``,
          ``output_tokens``, ``input_cached_tokens``
anthropic the usage export of the Console: ``usage_date_utc``, ``model_version``, ``usage_input_tokens_no_cache``,
          ``usage_input_tokens_cache_write_5m``, ``usage_input_tokens_cache_write_1h``,
          ``usage_input_tokens_cache_read``, ``usage_output_tokens``
========= =============================================================================================================

A file without these columns is refused. Money is compared where the file has ``cost_usd``; else theirs is rated at the
price given.
"""

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

from penstock.events import Amount
from penstock.journal.calls import PaidCall
from penstock.kernel.errors import InputInvalid
from penstock.ports.journal import Journal
from penstock.ports.price import Price
from penstock.ports.usage import HOUR
from penstock.views.paid_calls import Looked, paid_calls

Provider = Literal["openai", "anthropic"]
LINES_MAX = 1_000_000
_DAY = 24 * HOUR
# Providers name the snapshot that answered (gpt-4o-2024-08-06, claude-haiku-4-5-20251001), callers often its alias.
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$", re.ASCII)


@dataclass(slots=True)
class Side:
    """One side's figures of a day and a model. ``nano``: 0 when not known."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    nano: int = 0


@dataclass(slots=True)
class Line:
    """A day (its start, microseconds) and a model. Of ``ours``: what was charged at the maximum is in ``nano_lost`` and
    ``tokens_lost``, not in the tokens, for the real figure is the provider's to tell."""

    day: int
    model: str
    ours: Side = field(default_factory=Side)
    theirs: Side = field(default_factory=Side)
    lost: int = 0
    tokens_lost: int = 0
    nano_lost: int = 0

    @property
    def difference(self) -> int:
        """Tokens theirs less ours, both ways together."""
        theirs, ours = self.theirs, self.ours
        return theirs.tokens_in + theirs.tokens_out - ours.tokens_in - ours.tokens_out

    @property
    def words(self) -> str:
        """What explains the difference."""
        return _explained(self)


@dataclass(slots=True)
class Reconciled:
    """All lines, by day and model."""

    provider: str
    since: int
    until: int
    lines: list[Line]
    partial: bool = False
    unread: int = 0  # lines of the file that name no model


async def reconcile(
    journal: Journal,
    tenant: str,
    provider: Provider,
    text: Iterable[str],
    *,
    price_of: Callable[[str], Price | None] = lambda name: None,
) -> Reconciled:
    """Compare a provider's usage file with the calls that were settled on its days (UTC).

    Args:
        text: the file's lines.
        price_of: the price of ``provider:model``, for files without money.

    Raises:
        InputInvalid: the file has not the columns of such a file, a line of it cannot be read, or it is too long.
    """
    theirs, unread = read_file(provider, text)
    if not theirs:
        raise InputInvalid("the file holds no usage", hint="export the days that you want to compare")
    days = [day for day, _ in theirs]
    since, until = min(days), max(days) + _DAY
    lines = {key: Line(*key, theirs=side) for key, side in theirs.items()}
    looked = Looked()
    async for found in paid_calls(journal, tenant, since, until, looked):
        for call in found.calls:
            if call.kind == "cached" or not _is_of(provider, call.model):
                continue
            key = call.at - call.at % _DAY, plain_model(call.model)
            _count(lines.setdefault(key, Line(*key)), call)
    for line in lines.values():
        price = price_of(f"{provider}:{line.model}")
        if line.theirs.nano == 0 and price is not None:
            side = line.theirs
            line.theirs.nano = price.rate(Amount(side.tokens_in, side.tokens_out, cached=side.cached)) or 0
    ordered = sorted(lines.values(), key=lambda line: (line.day, line.model))
    return Reconciled(provider, since, until, ordered, looked.partial, unread)


def read_file(provider: Provider, text: Iterable[str]) -> tuple[dict[tuple[int, str], Side], int]:
    """A file's figures by day and model; and how many of its lines name no model.

    Raises:
        InputInvalid: see `reconcile`.
    """
    reader = csv.DictReader(text)
    columns = {name.strip().lstrip("\ufeff") for name in reader.fieldnames or ()}
    needed = _COLUMNS[provider]
    if missing := sorted(needed - columns):
        raise InputInvalid(
            f"the file is no usage export of {provider}: it has no {', '.join(missing)}",
            hint="see the columns in docs/how-to/chargeback.md",
        )
    found: dict[tuple[int, str], Side] = {}
    unread = 0
    for number, fields in enumerate(reader, 2):
        if number > LINES_MAX:
            raise InputInvalid(f"the file has more than {LINES_MAX:,} lines", hint="export fewer days at a time")
        line = {(name or "").strip().lstrip("\ufeff"): (value or "") for name, value in fields.items() if name}
        try:
            day, model, side = _openai(line) if provider == "openai" else _anthropic(line)
        except (ValueError, InvalidOperation) as error:
            raise InputInvalid(f"line {number} of the file cannot be read: {error}") from error
        if not model:
            unread += 1
            continue
        total = found.setdefault((day, plain_model(model)), Side())
        for name in ("requests", "tokens_in", "tokens_out", "cached", "nano"):
            setattr(total, name, getattr(total, name) + getattr(side, name))
    return found, unread


def plain_model(name: str) -> str:
    """A model without its provider and without the date of its snapshot."""
    return _SNAPSHOT.sub("", name.rpartition(":")[2])


_COLUMNS: dict[Provider, set[str]] = {
    "openai": {"model", "input_tokens", "output_tokens", "num_model_requests"},
    "anthropic": {
        "usage_date_utc",
        "model_version",
        "usage_input_tokens_no_cache",
        "usage_input_tokens_cache_read",
        "usage_output_tokens",
    },
}


def _openai(line: dict[str, str]) -> tuple[int, str, Side]:
    iso, start = line.get("start_time_iso", ""), line.get("start_time", "")
    if not iso and not start:
        raise ValueError("it has neither start_time nor start_time_iso")
    at = _moment(iso) if iso else _number(line, "start_time") * 1_000_000
    return (
        at - at % _DAY,
        line["model"].strip(),
        Side(
            _number(line, "num_model_requests"),
            _number(line, "input_tokens"),
            _number(line, "output_tokens"),
            _number(line, "input_cached_tokens"),
            _nano(line),
        ),
    )


def _anthropic(line: dict[str, str]) -> tuple[int, str, Side]:
    at = _moment(line["usage_date_utc"])
    cached = _number(line, "usage_input_tokens_cache_read")
    written = _number(line, "usage_input_tokens_cache_write_5m") + _number(line, "usage_input_tokens_cache_write_1h")
    tokens_in = _number(line, "usage_input_tokens_no_cache") + cached + written
    return (
        at - at % _DAY,
        line["model_version"].strip(),
        Side(0, tokens_in, _number(line, "usage_output_tokens"), cached, _nano(line)),
    )


def _moment(text: str) -> int:
    at = datetime.fromisoformat(text.strip())
    return int((at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp()) * 1_000_000


def _number(line: dict[str, str], name: str) -> int:
    text = line.get(name, "").strip()
    value = Decimal(text) if text else Decimal(0)
    if not value.is_finite() or value < 0 or value != int(value) or value > 2**53:
        raise ValueError(f"{name} is {text!r}")
    return int(value)


def _nano(line: dict[str, str]) -> int:
    text = line.get("cost_usd", "").strip()
    return int(Decimal(text) * 10**9) if text else 0


def _is_of(provider: str, model: str) -> bool:
    return model.partition(":")[0].partition("-")[0] == provider


def _count(line: Line, call: PaidCall) -> None:
    line.ours.requests += 1
    line.ours.nano += call.used.nano
    if call.at_maximum:
        line.lost += 1
        line.tokens_lost += call.used.tokens
        line.nano_lost += call.used.nano
        return
    line.ours.tokens_in += call.used.tokens_in
    line.ours.tokens_out += call.used.tokens_out
    line.ours.cached += call.used.cached


def _explained(line: Line) -> str:
    ours, theirs, difference = line.ours, line.theirs, line.difference
    has_ours = bool(ours.requests)
    if not has_ours:
        return "theirs only: calls that did not pass a gate, or another tenant's"
    if not (theirs.tokens_in or theirs.tokens_out or theirs.requests):
        return "ours only: another account's key, or a file that does not go as far"
    lost = f"{line.lost} lost calls, charged at no more than {line.tokens_lost:,} tokens" if line.lost else ""
    if difference == 0:
        return f"equal; beside it {lost}, which they did not bill" if lost else "equal"
    if 0 < difference <= line.tokens_lost:
        return f"{difference:,} tokens of {lost}"
    if difference > 0:
        rest = difference - line.tokens_lost
        words = f"{rest:,} tokens of theirs did not pass a gate, or are another tenant's"
        return f"{words}; the rest may be {lost}" if lost else words
    return f"{-difference:,} tokens of ours are not in their file yet, or were made with another account's key"
